// SPDX-License-Identifier: Apache-2.0
use std::error::Error as StdError;
use std::fmt;

/// The eight codes a client can see; numbers are those of `TRITONSERVER_Error_Code`.
///
/// Each door maps them once: [`ErrorCode::http_status`], [`ErrorCode::grpc_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ErrorCode {
    /// Nothing more is known.
    Unknown = 0,
    /// The server or a backend is at fault.
    Internal = 1,
    /// What was named does not exist.
    NotFound = 2,
    /// The request is at fault.
    InvalidArg = 3,
    /// Not now: overload, not ready, shutting down.
    Unavailable = 4,
    /// The server does not offer this.
    Unsupported = 5,
    /// What was to be made exists already.
    AlreadyExists = 6,
    /// The client took the request back.
    Cancelled = 7,
}

impl ErrorCode {
    /// Every code, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Internal,
        Self::NotFound,
        Self::InvalidArg,
        Self::Unavailable,
        Self::Unsupported,
        Self::AlreadyExists,
        Self::Cancelled,
    ];

    /// Returns the HTTP status (Triton: `HttpCodeFromError` in `http_server.cc`; P029-P036).
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Internal => 500,
            Self::NotFound => 404,
            Self::Unavailable => 503,
            Self::Unsupported => 501,
            Self::Unknown | Self::InvalidArg | Self::AlreadyExists | Self::Cancelled => 400,
        }
    }

    /// Returns the gRPC status code (Triton: `GrpcStatusUtil` in `grpc_utils.cc`; P029-P036).
    pub const fn grpc_code(self) -> u8 {
        match self {
            Self::Unknown => 2,
            Self::Internal => 13,
            Self::NotFound => 5,
            Self::InvalidArg => 3,
            Self::Unavailable => 14,
            Self::Unsupported => 12,
            Self::AlreadyExists => 6,
            Self::Cancelled => 1,
        }
    }

    /// Returns the words Triton puts before a message in logs and load errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Internal => "Internal",
            Self::NotFound => "Not found",
            Self::InvalidArg => "Invalid argument",
            Self::Unavailable => "Unavailable",
            Self::Unsupported => "Unsupported",
            Self::AlreadyExists => "Already exists",
            Self::Cancelled => "Cancelled",
        }
    }

    /// Returns the code with this number, if there is one.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|c| *c as u32 == number)
    }
}

/// Result whose error is an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The one error that crosses crates: a code, a message a client may see, and the cause.
///
/// One pointer wide, so that `Result<T, Error>` stays small on the hot path.
pub struct Error(Box<Inner>);

struct Inner {
    code: ErrorCode,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error from its code and message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            source: None,
        }))
    }

    /// Makes an [`ErrorCode::InvalidArg`] error.
    pub fn invalid_arg(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArg, message)
    }

    /// Makes an [`ErrorCode::Internal`] error.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    /// Makes an [`ErrorCode::NotFound`] error.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// Makes an [`ErrorCode::Unavailable`] error.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unavailable, message)
    }

    /// Makes an [`ErrorCode::Unsupported`] error.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unsupported, message)
    }

    /// Adds the cause, kept until the outermost edge.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Returns the same error with its message rewritten, code and cause kept.
    #[must_use]
    pub fn map_message(mut self, rewrite: impl FnOnce(&str) -> String) -> Self {
        self.0.message = rewrite(&self.0.message);
        self
    }

    /// Returns the code.
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// Returns the message without code or cause; this is what a client sees.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

/// Clones code and message; the cause stays with the original and is kept as text.
impl Clone for Error {
    fn clone(&self) -> Self {
        let source = self
            .0
            .source
            .as_ref()
            .map(|source| source.to_string().into());
        Self(Box::new(Inner {
            code: self.0.code,
            message: self.0.message.clone(),
            source,
        }))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.0.code)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

/// Prints `<code>: <message>`, the form of Triton's log lines and load errors.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.as_str(), self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every cell of the table in rows P029-P036.
    #[test]
    fn codes_map_to_http_and_grpc() {
        let table = [
            (ErrorCode::Unknown, 0, 400, 2),
            (ErrorCode::Internal, 1, 500, 13),
            (ErrorCode::NotFound, 2, 404, 5),
            (ErrorCode::InvalidArg, 3, 400, 3),
            (ErrorCode::Unavailable, 4, 503, 14),
            (ErrorCode::Unsupported, 5, 501, 12),
            (ErrorCode::AlreadyExists, 6, 400, 6),
            (ErrorCode::Cancelled, 7, 400, 1),
        ];
        for (code, number, http, grpc) in table {
            assert_eq!(code as u32, number);
            assert_eq!(code.http_status(), http, "{code:?}");
            assert_eq!(code.grpc_code(), grpc, "{code:?}");
            assert_eq!(ErrorCode::from_number(number), Some(code));
        }
    }

    #[test]
    fn an_error_is_one_pointer_and_keeps_its_cause() {
        assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
        let error = Error::internal("cannot read").with_source("disk on fire");
        assert_eq!(error.to_string(), "Internal: cannot read");
        assert_eq!(
            error.source().expect("a cause was given").to_string(),
            "disk on fire"
        );
        let copy = error.clone();
        assert_eq!(
            copy.source().expect("kept as text").to_string(),
            "disk on fire"
        );
        assert_eq!(
            (copy.code(), copy.message()),
            (error.code(), error.message())
        );
    }
}
