// SPDX-License-Identifier: Apache-2.0
//! `--http-restricted-api` and `--grpc-restricted-protocol` (C044, C065, C109).

use tritongw_types::RestrictedApis;

/// Which of the two options is meant; they differ in their words only.
#[derive(Clone, Copy, Debug)]
pub(super) struct RestrictedOption {
    pub(super) name: &'static str,
    /// What the option calls a group.
    pub(super) noun: &'static str,
    /// What the key of the command line is prefixed with on the wire.
    pub(super) header_prefix: &'static str,
}

impl RestrictedOption {
    /// Checks one `<group,...>:<key>=<value>`.
    pub(super) fn check(&self, text: &str) -> Result<String, String> {
        self.merge([text]).map(|_| text.to_owned())
    }

    /// Merges everything given into one table. A refusal does not hold the value, which is a
    /// secret.
    pub(super) fn merge<'a>(
        &self,
        restrictions: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Result<RestrictedApis, String> {
        let has_form = |text: &str| {
            text.split_once(':')
                .is_some_and(|(groups, key)| !groups.is_empty() && key.contains('='))
        };
        if let Some(malformed) = restrictions
            .clone()
            .into_iter()
            .find(|text| !has_form(text))
        {
            let got = malformed.split('=').next().unwrap_or_default();
            return Err(format!(
                "--{} option format is '<config name>:<setting>=<value>'. Got {got}\n",
                self.name
            ));
        }
        RestrictedApis::parse(restrictions, self.header_prefix).map_err(|error| {
            let message = error.message();
            let noun = format!("restricted {} ", self.noun);
            format!("{}\n", message.replace("restricted api ", &noun))
        })
    }
}

#[cfg(test)]
mod tests {
    use tritongw_types::{ApiGroup, ApiKey};

    use super::*;

    const OPTION: RestrictedOption = RestrictedOption {
        name: "grpc-restricted-protocol",
        noun: "protocol",
        header_prefix: "prefix-",
    };

    #[test]
    fn a_restriction_covers_its_groups() {
        let apis = OPTION
            .merge(["health,trace:key=a=b", "logging:k=v"])
            .expect("every group once");
        let header = |group| apis.key(group).map(ApiKey::header);
        assert_eq!(header(ApiGroup::Trace), Some("prefix-key"));
        assert_eq!(header(ApiGroup::Logging), Some("prefix-k"));
        assert_eq!(header(ApiGroup::Metadata), None);
    }

    #[test]
    fn refusals_are_tritons() {
        let format = "--grpc-restricted-protocol option format is \
                      '<config name>:<setting>=<value>'. Got ";
        for text in ["health", "health:a", ":a=b"] {
            let refusal = OPTION.check(text).expect_err(text);
            assert!(refusal.starts_with(format), "{refusal}");
        }
        assert_eq!(
            OPTION.check("foo:a=b"),
            Err("unknown restricted protocol 'foo'\n".to_owned())
        );
        let twice = "restricted protocol 'health' can not be specified in multiple config groups\n";
        assert_eq!(OPTION.check("health,health:a=b"), Err(twice.to_owned()));
        for text in ["health:=secret", "health:a b=secret"] {
            let refusal = OPTION.check(text).expect_err(text);
            assert!(!refusal.contains("secret"), "{refusal}");
        }
    }
}
