// SPDX-License-Identifier: Apache-2.0
use tritongw_types::{Error, Result};

/// Reads the version a client asks for; empty text lets the server choose.
///
/// Triton: `GetModelVersionFromString` in `common.cc`, which reads with C++'s `stol`: blanks may
/// come first and anything may follow the digits.
pub(crate) fn parse_version(text: &str) -> Result<Option<i64>> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let sign_length = usize::from(number.starts_with(['+', '-']));
    let digits = number[sign_length..]
        .bytes()
        .take_while(u8::is_ascii_digit)
        .count();
    match number[..sign_length + digits].parse::<i64>() {
        Ok(version) if version >= 0 => Ok(Some(version)),
        Ok(_) => Err(Error::invalid_arg(format!(
            "invalid model version specified '{text}' , version should be an integral value > 0"
        ))),
        Err(_) => Err(Error::invalid_arg(format!(
            "failed to get model version from specified version string '{text}' (details: stol), \
             version should be an integral value > 0"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_stol_does() {
        for (text, expected) in [
            ("", None),
            ("3", Some(3)),
            (" +7x", Some(7)),
            ("0", Some(0)),
        ] {
            assert_eq!(parse_version(text).expect(text), expected, "{text}");
        }
    }

    #[test]
    fn texts_of_refusals_are_tritons() {
        let error = parse_version("abc").expect_err("no number");
        assert_eq!(
            error.message(),
            "failed to get model version from specified version string 'abc' (details: stol), \
             version should be an integral value > 0"
        );
        let error = parse_version("-1").expect_err("negative");
        assert_eq!(
            error.message(),
            "invalid model version specified '-1' , version should be an integral value > 0"
        );
        assert!(parse_version("99999999999999999999").is_err());
    }
}
