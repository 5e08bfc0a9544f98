// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use hyper::HeaderMap;

/// Returns how long the client will wait, from `grpc-timeout`: at most eight digits and a unit.
/// A value of another form is passed over.
pub(crate) fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    parse_timeout(headers.get("grpc-timeout")?.to_str().ok()?)
}

fn parse_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        let cases = [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("10m", Duration::from_millis(10)),
            ("7u", Duration::from_micros(7)),
            ("0n", Duration::ZERO),
        ];
        for (value, expected) in cases {
            assert_eq!(parse_timeout(value), Some(expected), "{value}");
        }
    }

    #[test]
    fn other_forms_are_passed_over() {
        for value in [
            "",
            "S",
            "10",
            "-1S",
            "+1S",
            "123456789S",
            "1s",
            "1.5S",
            "1é",
        ] {
            assert_eq!(parse_timeout(value), None, "{value}");
        }
    }
}
