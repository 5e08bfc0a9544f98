// SPDX-License-Identifier: Apache-2.0
//! Floating-point numbers as Triton prints them: written by protobuf with as few digits as lead
//! back to the value (C's `%g`), read again, and written by RapidJSON.

/// Formats a `float` field.
pub(super) fn from_f32(value: f32) -> String {
    let reads_back = |text: &str| text.parse::<f32>().is_ok_and(|parsed| parsed == value);
    format(f64::from(value), 6, 9, reads_back)
}

/// Formats a `double` field.
pub(super) fn from_f64(value: f64) -> String {
    let reads_back = |text: &str| text.parse::<f64>().is_ok_and(|parsed| parsed == value);
    format(value, 15, 17, reads_back)
}

fn format(value: f64, few: usize, many: usize, reads_back: impl Fn(&str) -> bool) -> String {
    if value.is_nan() {
        return "\"NaN\"".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 {
            "\"Infinity\""
        } else {
            "\"-Infinity\""
        }
        .to_owned();
    }
    let rounded = |digits: usize| format!("{value:.*e}", digits - 1);
    let (precision, text) = match rounded(few) {
        text if reads_back(&text) => (few, text),
        _ => (many, rounded(many)),
    };
    let decimal: f64 = text.parse().unwrap_or(value);
    let (_, exponent) = digits_and_exponent(&text);
    let is_written_as_integer = decimal.fract() == 0.0
        && usize::try_from(exponent).is_ok_and(|exponent| exponent < precision);
    // RapidJSON reads "-0" as the integer 0.
    match decimal {
        0.0 => "0".to_owned(),
        _ if is_written_as_integer => format!("{decimal:.0}"),
        _ => prettify(decimal),
    }
}

/// Splits `-1.25e-3` into its significant digits `125` and the exponent of the first, -3.
fn digits_and_exponent(text: &str) -> (String, i32) {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let digits = mantissa.chars().filter(char::is_ascii_digit).collect();
    (digits, exponent.parse().unwrap_or(0))
}

/// Writes a number with the fewest digits that identify it, in RapidJSON's layout.
fn prettify(value: f64) -> String {
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let (digits, exponent) = digits_and_exponent(&format!("{value:e}"));
    let point = exponent + 1;
    let length = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    let body = match point {
        _ if length <= point && point <= 21 => format!("{digits}{}.0", zeros(point - length)),
        1..=21 => {
            let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
            format!("{whole}.{fraction}")
        }
        -5..=0 => format!("0.{}{digits}", zeros(-point)),
        _ => match digits.split_at(1) {
            (first, "") => format!("{first}e{exponent}"),
            (first, rest) => format!("{first}.{rest}e{exponent}"),
        },
    };
    format!("{sign}{body}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_have_no_point_up_to_the_precision_of_their_type() {
        assert_eq!(from_f32(0.0), "0");
        assert_eq!(from_f64(-0.0), "0");
        assert_eq!(from_f32(1.0), "1");
        assert_eq!(from_f32(-250.0), "-250");
        assert_eq!(from_f32(999_999.0), "999999");
        assert_eq!(from_f32(1e6), "1000000.0");
        assert_eq!(from_f64(1e6), "1000000");
        assert_eq!(from_f64(1e15), "1000000000000000.0");
    }

    #[test]
    fn fractions_have_the_fewest_digits() {
        assert_eq!(from_f32(0.1), "0.1");
        assert_eq!(from_f32(0.75), "0.75");
        assert_eq!(from_f32(16_777_217.0), "16777216");
        assert_eq!(from_f64(0.1 + 0.2), "0.30000000000000004");
        assert_eq!(from_f64(123.456), "123.456");
    }

    #[test]
    fn far_from_one_there_is_an_exponent() {
        assert_eq!(from_f64(1e-6), "0.000001");
        assert_eq!(from_f64(1e-7), "1e-7");
        assert_eq!(from_f64(1.5e-9), "1.5e-9");
        assert_eq!(from_f64(1e21), "1e21");
        assert_eq!(from_f64(1e20), "100000000000000000000.0");
        assert_eq!(from_f64(-2.5e300), "-2.5e300");
    }

    #[test]
    fn what_json_has_no_number_for_is_a_string() {
        assert_eq!(from_f64(f64::NAN), "\"NaN\"");
        assert_eq!(from_f32(f32::INFINITY), "\"Infinity\"");
        assert_eq!(from_f32(f32::NEG_INFINITY), "\"-Infinity\"");
    }
}
