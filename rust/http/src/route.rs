// SPDX-License-Identifier: Apache-2.0
//! The routes of triton.md 4.1: exact paths, no slash at the end, versions in digits.

use std::borrow::Cow;

use hyper::Method;
use smallvec::SmallVec;
use tritongw_types::{ApiGroup, Error, Result};

/// Which of the two shared memory extensions a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SharedMemoryKind {
    System,
    Cuda,
}

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    ServerMetadata,
    ServerLive,
    ServerReady,
    ModelMetadata,
    ModelReady,
    ModelConfig,
    ModelStatistics,
    AllStatistics,
    Infer,
    Generate,
    GenerateStream,
    TraceSetting,
    Logging,
    RepositoryIndex,
    RepositoryLoad,
    RepositoryUnload,
    /// Load or unload in one repository of several (R048).
    NamedRepository,
    SharedMemoryStatus(SharedMemoryKind),
    SharedMemoryRegister(SharedMemoryKind),
    SharedMemoryUnregister(SharedMemoryKind),
}

impl Endpoint {
    #[cfg(test)]
    const ALL: [Self; 23] = [
        Self::ServerMetadata,
        Self::ServerLive,
        Self::ServerReady,
        Self::ModelMetadata,
        Self::ModelReady,
        Self::ModelConfig,
        Self::ModelStatistics,
        Self::AllStatistics,
        Self::Infer,
        Self::Generate,
        Self::GenerateStream,
        Self::TraceSetting,
        Self::Logging,
        Self::RepositoryIndex,
        Self::RepositoryLoad,
        Self::RepositoryUnload,
        Self::NamedRepository,
        Self::SharedMemoryStatus(SharedMemoryKind::System),
        Self::SharedMemoryStatus(SharedMemoryKind::Cuda),
        Self::SharedMemoryRegister(SharedMemoryKind::System),
        Self::SharedMemoryRegister(SharedMemoryKind::Cuda),
        Self::SharedMemoryUnregister(SharedMemoryKind::System),
        Self::SharedMemoryUnregister(SharedMemoryKind::Cuda),
    ];

    /// Returns the verbs it answers to, and its group.
    pub(crate) fn rules(self) -> (&'static [Method], ApiGroup) {
        const GET: &[Method] = &[Method::GET];
        const POST: &[Method] = &[Method::POST];
        const BOTH: &[Method] = &[Method::GET, Method::POST];
        match self {
            Self::ServerLive | Self::ServerReady | Self::ModelReady => (GET, ApiGroup::Health),
            Self::ServerMetadata | Self::ModelMetadata => (GET, ApiGroup::Metadata),
            Self::ModelConfig => (GET, ApiGroup::ModelConfig),
            Self::ModelStatistics | Self::AllStatistics => (GET, ApiGroup::Statistics),
            Self::Infer | Self::Generate | Self::GenerateStream => (POST, ApiGroup::Inference),
            Self::TraceSetting => (BOTH, ApiGroup::Trace),
            Self::Logging => (BOTH, ApiGroup::Logging),
            Self::RepositoryIndex
            | Self::RepositoryLoad
            | Self::RepositoryUnload
            | Self::NamedRepository => (POST, ApiGroup::ModelRepository),
            Self::SharedMemoryStatus(_) => (GET, ApiGroup::SharedMemory),
            Self::SharedMemoryRegister(_) | Self::SharedMemoryUnregister(_) => {
                (POST, ApiGroup::SharedMemory)
            }
        }
    }
}

/// A path that was understood; names are still percent-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route<'a> {
    pub(crate) endpoint: Endpoint,
    model: &'a str,
    version: Option<&'a str>,
    region: Option<&'a str>,
}

impl<'a> Route<'a> {
    /// Finds the route of a path.
    pub(crate) fn find(path: &'a str) -> Option<Self> {
        let segments: SmallVec<[&str; 8]> = path.strip_prefix('/')?.split('/').collect();
        let ["v2", rest @ ..] = segments.as_slice() else {
            return None;
        };
        let endpoint = match rest {
            ["models", "stats"] => Endpoint::AllStatistics,
            ["models", model, rest @ ..] => return Self::find_model(model, rest),
            [] => Endpoint::ServerMetadata,
            ["health", "live"] => Endpoint::ServerLive,
            ["health", "ready"] => Endpoint::ServerReady,
            ["trace", "setting"] => Endpoint::TraceSetting,
            ["logging"] => Endpoint::Logging,
            ["repository", "index"] => Endpoint::RepositoryIndex,
            ["repository", name, "index"] if !name.is_empty() => Endpoint::RepositoryIndex,
            ["repository", "models", model, action] if !model.is_empty() => {
                return Self::find_control(model, action);
            }
            ["repository", name, "models", model, "load" | "unload"]
                if !name.is_empty() && !model.is_empty() =>
            {
                Endpoint::NamedRepository
            }
            ["systemsharedmemory", rest @ ..] => {
                return Self::find_region(SharedMemoryKind::System, rest);
            }
            ["cudasharedmemory", rest @ ..] => {
                return Self::find_region(SharedMemoryKind::Cuda, rest);
            }
            _ => return None,
        };
        Some(Self {
            endpoint,
            model: "",
            version: None,
            region: None,
        })
    }

    fn find_control(model: &'a str, action: &str) -> Option<Self> {
        let endpoint = match action {
            "load" => Endpoint::RepositoryLoad,
            "unload" => Endpoint::RepositoryUnload,
            _ => return None,
        };
        Some(Self {
            endpoint,
            model,
            version: None,
            region: None,
        })
    }

    fn find_model(model: &'a str, rest: &[&'a str]) -> Option<Self> {
        let (version, action) = match rest {
            ["versions", version, action @ ..] => (Some(*version), action),
            action => (None, action),
        };
        let is_version = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if model.is_empty() || !version.is_none_or(is_version) {
            return None;
        }
        let endpoint = match action {
            [] => Endpoint::ModelMetadata,
            ["ready"] => Endpoint::ModelReady,
            ["config"] => Endpoint::ModelConfig,
            ["stats"] => Endpoint::ModelStatistics,
            ["infer"] => Endpoint::Infer,
            ["generate"] => Endpoint::Generate,
            ["generate_stream"] => Endpoint::GenerateStream,
            ["trace", "setting"] if version.is_none() => Endpoint::TraceSetting,
            _ => return None,
        };
        Some(Self {
            endpoint,
            model,
            version,
            region: None,
        })
    }

    fn find_region(kind: SharedMemoryKind, rest: &[&'a str]) -> Option<Self> {
        let (region, action) = match rest {
            ["region", region, action] if !region.is_empty() => (Some(*region), action),
            [action] => (None, action),
            _ => return None,
        };
        let endpoint = match *action {
            "status" => Endpoint::SharedMemoryStatus(kind),
            "register" if region.is_some() => Endpoint::SharedMemoryRegister(kind),
            "unregister" => Endpoint::SharedMemoryUnregister(kind),
            _ => return None,
        };
        Some(Self {
            endpoint,
            model: "",
            version: None,
            region,
        })
    }

    /// Returns the shared memory region, if the path names one.
    pub(crate) fn region(&self) -> Option<Cow<'a, str>> {
        self.region.map(percent_decode)
    }

    /// Returns the model's name.
    pub(crate) fn model(&self) -> Cow<'a, str> {
        percent_decode(self.model)
    }

    /// Returns the version, if the path names one.
    ///
    /// # Errors
    /// `InvalidArg` if it is too large; no model has a version 0, but Triton looks for it.
    pub(crate) fn version(&self) -> Result<Option<i64>> {
        let Some(text) = self.version else {
            return Ok(None);
        };
        match text.parse::<i64>() {
            Ok(version) => Ok(Some(version)),
            Err(source) => Err(Error::invalid_arg(format!(
                "failed to get model version from specified version string '{text}' (details: \
                 stol), version should be an integral value > 0"
            ))
            .with_source(source)),
        }
    }
}

/// Returns the path of what can be done with a model.
pub(crate) fn model_path(model: &str, action: &str) -> String {
    let mut path = "/v2/models/".to_owned();
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(byte.into());
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path.push('/');
    path.push_str(action);
    path
}

/// Decodes `%xx`; what is no such escape stays as it is.
pub(crate) fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                rest = &tail[2..];
            }
            None => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests;
