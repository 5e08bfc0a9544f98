// SPDX-License-Identifier: Apache-2.0
//! Headers that become request parameters (C041, P057).

use hyper::HeaderMap;
use regex::Regex;
use tritongw_engine::{InferenceRequest, parameters};
use tritongw_types::{CName, Error, ParameterValue, Result};

/// Chooses headers by name.
#[derive(Debug)]
pub(crate) struct HeaderForward(Regex);

impl HeaderForward {
    /// Compiles a pattern that a whole name must match, whatever its case unless it says `(?-i)`.
    ///
    /// # Errors
    /// `InvalidArg` if it is no regular expression.
    pub(crate) fn new(pattern: &str) -> Result<Self> {
        let whole = format!("(?i)^(?:{pattern})$");
        Regex::new(&whole).map(Self).map_err(|source| {
            Error::invalid_arg(format!("invalid header forward pattern '{pattern}'"))
                .with_source(source)
        })
    }

    /// Adds the headers that match as string parameters. Names come in lower case, as hyper keeps
    /// them: HTTP gives their case no meaning.
    ///
    /// # Errors
    /// `InvalidArg` if a matching header has the name of a parameter that is the server's own.
    pub(crate) fn apply(&self, headers: &HeaderMap, request: &mut InferenceRequest) -> Result<()> {
        for (name, value) in headers {
            let name = name.as_str();
            if !self.0.is_match(name) {
                continue;
            }
            if parameters::is_reserved(name) {
                return Err(Error::invalid_arg(format!(
                    "Header '{name}' is reserved and cannot be forwarded as a request parameter"
                )));
            }
            let text = String::from_utf8_lossy(value.as_bytes());
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
