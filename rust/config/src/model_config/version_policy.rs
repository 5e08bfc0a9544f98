// SPDX-License-Identifier: Apache-2.0
use std::num::NonZeroU32;

use tritongw_protocol::pb;
use tritongw_protocol::pb::model_version_policy::PolicyChoice;
use tritongw_types::{Error, Result};

/// Which versions in the model's directory are loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionPolicy {
    /// The highest numbers, so many of them.
    Latest(NonZeroU32),
    /// Every version.
    All,
    /// Those named.
    Specific(Vec<i64>),
}

impl VersionPolicy {
    /// Chooses from the versions that exist; the result is in ascending order, without repeats.
    pub fn select(&self, available: &[i64]) -> Vec<i64> {
        let mut versions = available.to_vec();
        versions.sort_unstable();
        versions.dedup();
        match self {
            Self::Latest(count) => {
                let count = usize::try_from(count.get()).unwrap_or(usize::MAX);
                versions.drain(..versions.len().saturating_sub(count));
            }
            Self::All => {}
            Self::Specific(wanted) => versions.retain(|version| wanted.contains(version)),
        }
        versions
    }

    /// Reads the policy of a normalised message.
    ///
    /// # Errors
    /// There is none.
    pub fn from_message(message: &pb::ModelConfig) -> Result<Self> {
        let Some(policy) = &message.version_policy else {
            let model = &message.name;
            return Err(Error::invalid_arg(format!(
                "must specify 'version policy' for {model}"
            )));
        };
        Ok(match &policy.policy_choice {
            Some(PolicyChoice::Latest(latest)) => {
                Self::Latest(NonZeroU32::new(latest.num_versions).unwrap_or(NonZeroU32::MIN))
            }
            Some(PolicyChoice::Specific(specific)) => Self::Specific(specific.versions.clone()),
            Some(PolicyChoice::All(_)) | None => Self::All,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_takes_the_numerically_highest() {
        let latest = |n| VersionPolicy::Latest(NonZeroU32::new(n).expect("not zero"));
        assert_eq!(latest(1).select(&[2, 10, 9]), [10]);
        assert_eq!(latest(2).select(&[2, 10, 9]), [9, 10]);
        assert_eq!(latest(9).select(&[2, 10, 9]), [2, 9, 10]);
    }

    #[test]
    fn all_takes_every_version() {
        assert_eq!(VersionPolicy::All.select(&[3, 1]), [1, 3]);
    }

    #[test]
    fn specific_takes_those_named_that_exist() {
        assert_eq!(
            VersionPolicy::Specific(vec![3, 7, 1]).select(&[1, 2, 3]),
            [1, 3]
        );
        assert!(
            VersionPolicy::Specific(vec![7])
                .select(&[1, 2, 3])
                .is_empty()
        );
    }
}
