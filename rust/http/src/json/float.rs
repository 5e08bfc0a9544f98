// SPDX-License-Identifier: Apache-2.0

/// Appends a double as RapidJSON prints it: the shortest digits that read back as the same value;
/// plain from 1e-6 up to below 1e21, else with an exponent; NaN and infinities bare (P066).
pub(super) fn write(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
        return;
    }
    if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 {
            b"Infinity"
        } else {
            b"-Infinity"
        });
        return;
    }
    let mut buffer = zmij::Buffer::new();
    let printed = buffer.format_finite(value);
    let magnitude = value.abs();
    // Here both print the same.
    if magnitude == 0.0 || (1e-4..1e15).contains(&magnitude) {
        out.extend_from_slice(printed.as_bytes());
        return;
    }
    let printed = printed.strip_prefix('-').unwrap_or(printed);
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let (digits, point) = decompose(printed);
    write_digits(out, &digits, point);
}

/// Splits a printed number into digits, without zeros at either end, and a power of ten, so that
/// it equals `0.<digits> * 10^point`.
fn decompose(printed: &str) -> (Vec<u8>, i32) {
    let (mantissa, exponent) = printed.split_once('e').unwrap_or((printed, "0"));
    let exponent: i32 = exponent
        .parse()
        .expect("INVARIANT: an exponent is a small integer");
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits: Vec<u8> = integer.bytes().chain(fraction.bytes()).collect();
    let leading_zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.drain(..leading_zeros);
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    (
        digits,
        exponent + as_place(integer.len()) - as_place(leading_zeros),
    )
}

/// Lays out `0.<digits> * 10^point`.
fn write_digits(out: &mut Vec<u8>, digits: &[u8], point: i32) {
    let length = as_place(digits.len());
    match point {
        // 1234e7 -> 12340000000.0
        _ if (length..=21).contains(&point) => {
            out.extend_from_slice(digits);
            out.extend((length..point).map(|_| b'0'));
            out.extend_from_slice(b".0");
        }
        // 1234e-2 -> 12.34
        1..=21 => {
            let (integer, fraction) = digits.split_at(point.unsigned_abs() as usize);
            out.extend_from_slice(integer);
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
        // 1234e-6 -> 0.001234
        -5..=0 => {
            out.extend_from_slice(b"0.");
            out.extend((point..0).map(|_| b'0'));
            out.extend_from_slice(digits);
        }
        // 1234e30 -> 1.234e33
        _ => {
            out.push(digits[0]);
            if length > 1 {
                out.push(b'.');
                out.extend_from_slice(&digits[1..]);
            }
            out.push(b'e');
            out.extend_from_slice(itoa::Buffer::new().format(point - 1).as_bytes());
        }
    }
}

fn as_place(length: usize) -> i32 {
    i32::try_from(length).expect("INVARIANT: a printed double has a few dozen characters")
}

/// Lays out a positive double from its digits alone, for comparison.
#[cfg(test)]
pub(super) fn lay_out(value: f64) -> String {
    let (digits, point) = decompose(zmij::Buffer::new().format_finite(value));
    let mut out = Vec::new();
    write_digits(&mut out, &digits, point);
    String::from_utf8(out).expect("ASCII")
}
