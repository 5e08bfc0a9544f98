// SPDX-License-Identifier: Apache-2.0
//! Groups of APIs, and which of them need a key (C044, C065, C100-C109).

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use crate::{Error, Result};

/// A group of APIs that an operator restricts as a whole; every route and method is in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApiGroup {
    /// Liveness and readiness of server and models (C100).
    Health,
    /// Server and model metadata (C101).
    Metadata,
    /// Inference, streaming and generation included (C102).
    Inference,
    /// System and CUDA shared memory (C103).
    SharedMemory,
    /// Model configuration (C104).
    ModelConfig,
    /// Index, load and unload (C105).
    ModelRepository,
    /// Statistics (C106).
    Statistics,
    /// Trace settings (C107).
    Trace,
    /// Log settings (C108).
    Logging,
}

impl ApiGroup {
    /// Every group.
    pub const ALL: [Self; 9] = [
        Self::Health,
        Self::Metadata,
        Self::Inference,
        Self::SharedMemory,
        Self::ModelConfig,
        Self::ModelRepository,
        Self::Statistics,
        Self::Trace,
        Self::Logging,
    ];

    /// Returns the name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Metadata => "metadata",
            Self::Inference => "inference",
            Self::SharedMemory => "shared-memory",
            Self::ModelConfig => "model-config",
            Self::ModelRepository => "model-repository",
            Self::Statistics => "statistics",
            Self::Trace => "trace",
            Self::Logging => "logging",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.as_str() == name)
    }
}

/// A header and the value that opens a group; the value is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    header: String,
    value: Vec<u8>,
}

impl ApiKey {
    /// Returns the name of the header, as it was given.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// Returns whether this is the value, in a time that does not tell how much of it is right.
    pub fn opens_with(&self, presented: &[u8]) -> bool {
        self.value.ct_eq(presented).into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// Which groups need which key; by default none needs one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestrictedApis {
    keys: [Option<Arc<ApiKey>>; ApiGroup::ALL.len()],
}

impl RestrictedApis {
    /// Reads restrictions of the form `<group>,…:<header>=<value>`. The headers are looked for
    /// with `header_prefix` before their names.
    ///
    /// # Errors
    /// `InvalidArg` if a text has another form, names an unknown group, or one that is restricted
    /// already (C109). Errors do not hold the value.
    pub fn parse<'a>(
        restrictions: impl IntoIterator<Item = &'a str>,
        header_prefix: &str,
    ) -> Result<Self> {
        let mut parsed = Self::default();
        for restriction in restrictions {
            parsed.restrict(restriction, header_prefix)?;
        }
        Ok(parsed)
    }

    /// Returns the key of a group, `None` if it is open to all.
    pub fn key(&self, group: ApiGroup) -> Option<&ApiKey> {
        self.keys[group as usize].as_deref()
    }

    /// Returns whether any group needs a key.
    pub fn is_empty(&self) -> bool {
        self.keys.iter().all(Option::is_none)
    }

    fn restrict(&mut self, restriction: &str, header_prefix: &str) -> Result<()> {
        let (groups, key) = restriction.split_once(':').ok_or_else(malformed)?;
        let (header, value) = key.split_once('=').ok_or_else(malformed)?;
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if header.is_empty() || value.is_empty() || !header.bytes().all(is_token) {
            return Err(malformed());
        }
        let key = Arc::new(ApiKey {
            header: format!("{header_prefix}{header}"),
            value: value.as_bytes().to_vec(),
        });
        for name in groups.split(',') {
            let group = ApiGroup::from_name(name)
                .ok_or_else(|| Error::invalid_arg(format!("unknown restricted api '{name}'")))?;
            let place = &mut self.keys[group as usize];
            if place.is_some() {
                return Err(Error::invalid_arg(format!(
                    "restricted api '{name}' can not be specified in multiple config groups"
                )));
            }
            *place = Some(Arc::clone(&key));
        }
        Ok(())
    }
}

fn malformed() -> Error {
    Error::invalid_arg("a restriction must be of the form '<api>,<api>,...:<header>=<value>'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(restrictions: &[&str]) -> Result<RestrictedApis, String> {
        RestrictedApis::parse(restrictions.iter().copied(), "x-")
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn each_group_has_the_key_of_its_restriction() {
        let apis = parse(&[
            "health,model-config:admin=a=b",
            "shared-memory:other=secret",
        ]);
        let apis = apis.expect("two restrictions");
        let header = |group| apis.key(group).map(ApiKey::header);
        assert_eq!(header(ApiGroup::Health), Some("x-admin"));
        assert_eq!(header(ApiGroup::ModelConfig), Some("x-admin"));
        assert_eq!(header(ApiGroup::SharedMemory), Some("x-other"));
        assert_eq!(header(ApiGroup::Inference), None);
        let key = apis.key(ApiGroup::Health).expect("restricted");
        assert!(key.opens_with(b"a=b"));
        for wrong in [&b""[..], b"a=", b"a=c", b"a=bb"] {
            assert!(!key.opens_with(wrong));
        }
    }

    #[test]
    fn every_group_can_be_named() {
        for group in ApiGroup::ALL {
            let apis = parse(&[&format!("{}:k=v", group.as_str())]).expect("a restriction");
            for other in ApiGroup::ALL {
                assert_eq!(apis.key(other).is_some(), other == group);
            }
        }
    }

    #[test]
    fn unknown_and_repeated_groups_are_refused() {
        let unknown = parse(&["health,nope:k=v"]).expect_err("unknown");
        assert_eq!(unknown, "unknown restricted api 'nope'");
        for twice in [
            &["health,health:k=v"][..],
            &["health:k=v", "trace,health:l=w"],
        ] {
            let message = "restricted api 'health' can not be specified in multiple config groups";
            assert_eq!(parse(twice), Err(message.to_owned()));
        }
    }

    #[test]
    fn other_forms_are_refused_without_showing_the_value() {
        for text in [
            "",
            "health",
            "health:secret",
            "health:=secret",
            "health:k=",
            "health:a b=secret",
        ] {
            let message = parse(&[text]).expect_err(text);
            assert!(!message.contains("secret"), "{message}");
        }
        let apis = parse(&["health:k=secret"]).expect("a restriction");
        assert!(!format!("{apis:?}").contains("secret"));
    }
}
