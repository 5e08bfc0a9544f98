// SPDX-License-Identifier: Apache-2.0
//! Headers and metadata of a call that become request parameters (C041, C049, P057, P148).

use regex::Regex;
use tritongw_types::{CName, Error, ParameterValue, Result};

use crate::parameters::is_reserved;
use crate::request::InferenceRequest;

/// Chooses headers by name.
#[derive(Clone, Debug)]
pub struct HeaderForward(Regex);

impl HeaderForward {
    /// Compiles a pattern that a whole name must match, whatever its case unless it says `(?-i)`.
    ///
    /// # Errors
    /// `InvalidArg` if it is no regular expression.
    pub fn new(pattern: &str) -> Result<Self> {
        let whole = format!("(?i)^(?:{pattern})$");
        Regex::new(&whole).map(Self).map_err(|source| {
            Error::invalid_arg(format!("invalid header forward pattern '{pattern}'"))
                .with_source(source)
        })
    }

    /// Adds the headers that match as string parameters. Names come in lower case, as both
    /// protocols' doors read them: neither gives their case a meaning.
    ///
    /// # Errors
    /// `InvalidArg` if a matching header has the name of a parameter that is the server's own.
    pub fn apply<'a>(
        &self,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        request: &mut InferenceRequest,
    ) -> Result<()> {
        for (name, value) in headers {
            if !self.0.is_match(name) {
                continue;
            }
            if is_reserved(name) {
                return Err(Error::invalid_arg(format!(
                    "Header '{name}' is reserved and cannot be forwarded as a request parameter"
                )));
            }
            let text = String::from_utf8_lossy(value);
            request.add_parameter(name, ParameterValue::String(CName::new(&text)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_name_must_match_in_any_case() {
        let pattern = HeaderForward::new("my-.*|tenant").expect("a pattern");
        for (name, expected) in [
            ("my-x", true),
            ("MY-X", true),
            ("tenant", true),
            ("not-my-x", false),
            ("tenants", false),
        ] {
            assert_eq!(pattern.0.is_match(name), expected, "{name}");
        }
        let exact = HeaderForward::new("(?-i)Tenant").expect("a pattern");
        assert!(!exact.0.is_match("tenant"));
        HeaderForward::new("(").expect_err("no pattern");
    }
}
