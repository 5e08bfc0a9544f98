// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::ops::Deref;

/// Name that is safe to use as one component of a path and in a log line.
///
/// Not empty, at most 255 bytes, not `.` or `..`, no `/`, `\`, NUL or control characters, and no
/// blank at either end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SafeName(String);

/// Why a text is no [`SafeName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsafeNameError {
    /// Nothing, or blanks only.
    Empty,
    /// More than 255 bytes.
    TooLong,
    /// A path separator, `.` or `..`.
    PathTraversal,
    /// A control character, or a blank at either end.
    Character,
}

impl fmt::Display for UnsafeNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "name must not be empty",
            Self::TooLong => "name must not be longer than 255 bytes",
            Self::PathTraversal => "name must not contain path separators or be '.' or '..'",
            Self::Character => {
                "name must not contain control characters or begin or end with a blank"
            }
        })
    }
}

impl std::error::Error for UnsafeNameError {}

impl SafeName {
    /// Checks `name`.
    pub fn new(name: &str) -> Result<Self, UnsafeNameError> {
        if name.trim().is_empty() {
            return Err(UnsafeNameError::Empty);
        }
        if name.len() > 255 {
            return Err(UnsafeNameError::TooLong);
        }
        if name.contains(['/', '\\', '\0']) || name == "." || name == ".." {
            return Err(UnsafeNameError::PathTraversal);
        }
        if name.contains(char::is_control) || name.trim() != name {
            return Err(UnsafeNameError::Character);
        }
        Ok(Self(name.to_owned()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for SafeName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SafeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_repositories_hold() {
        for name in [
            "simple",
            "resnet-50.v2",
            "modèle",
            "with space",
            "...",
            ".hidden",
        ] {
            assert_eq!(SafeName::new(name).expect(name).as_str(), name);
        }
    }

    #[test]
    fn refuses_what_could_leave_the_repository() {
        let cases = [
            ("", UnsafeNameError::Empty),
            ("  ", UnsafeNameError::Empty),
            ("..", UnsafeNameError::PathTraversal),
            (".", UnsafeNameError::PathTraversal),
            ("a/b", UnsafeNameError::PathTraversal),
            ("..\\x", UnsafeNameError::PathTraversal),
            ("a\0b", UnsafeNameError::PathTraversal),
            (" ..", UnsafeNameError::Character),
            ("a\nb", UnsafeNameError::Character),
        ];
        for (name, expected) in cases {
            assert_eq!(SafeName::new(name), Err(expected), "{name:?}");
        }
        assert_eq!(
            SafeName::new(&"x".repeat(256)),
            Err(UnsafeNameError::TooLong)
        );
    }
}
