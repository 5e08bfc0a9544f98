// SPDX-License-Identifier: Apache-2.0
use std::borrow::Borrow;
use std::ffi::CStr;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use smallvec::{SmallVec, smallvec};

/// UTF-8 text followed by one NUL byte, so that C callers can be handed a pointer into it.
///
/// Names of up to 31 bytes are stored inline. Interior NUL bytes end the text, as they would in C:
/// [`CName::new`] cuts there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CName(SmallVec<[u8; 32]>);

impl CName {
    /// Makes a name; the text ends at the first NUL byte, if there is one.
    pub fn new(text: &str) -> Self {
        let text = text.split('\0').next().unwrap_or_default();
        let mut bytes = SmallVec::with_capacity(text.len() + 1);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        Self(bytes)
    }

    /// Returns the text without its NUL byte.
    pub fn as_str(&self) -> &str {
        let text = &self.0[..self.0.len() - 1];
        std::str::from_utf8(text).expect("INVARIANT: made from a str in CName::new")
    }

    /// Returns the text as a C string whose pointer stays valid while the name is not moved.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_with_nul(&self.0).expect("INVARIANT: one NUL byte, at the end")
    }
}

impl Default for CName {
    fn default() -> Self {
        Self(smallvec![0])
    }
}

impl Deref for CName {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for CName {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Hashes as its text does, as [`Borrow`] demands.
impl Hash for CName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for CName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for CName {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for CName {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Debug for CName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for CName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_in_exactly_one_nul() {
        for text in [
            "",
            "INPUT0",
            "a name longer than the thirty-one bytes stored inline",
        ] {
            let name = CName::new(text);
            assert_eq!(name.as_str(), text);
            assert_eq!(name.as_c_str().to_bytes_with_nul().len(), text.len() + 1);
        }
        assert_eq!(CName::default(), CName::new(""));
    }

    #[test]
    fn text_ends_at_an_interior_nul() {
        assert_eq!(CName::new("ab\0cd").as_str(), "ab");
    }
}
