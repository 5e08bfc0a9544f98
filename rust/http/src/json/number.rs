// SPDX-License-Identifier: Apache-2.0
use super::reader::Reader;
use super::{SyntaxError, SyntaxErrorKind};

/// A number as it was written: an integer where it looks like one and fits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    /// Integer of the signed range.
    Int(i64),
    /// Integer beyond the signed range.
    UInt(u64),
    /// Anything with a fraction or an exponent, anything larger, NaN and the infinities.
    Double(f64),
}

impl Number {
    /// Returns the value as a signed integer if it was written as one.
    pub(crate) fn as_i64(self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(value),
            Self::UInt(_) | Self::Double(_) => None,
        }
    }

    /// Returns the value as an unsigned integer if it was written as one.
    pub(crate) fn as_u64(self) -> Option<u64> {
        match self {
            Self::Int(value) => u64::try_from(value).ok(),
            Self::UInt(value) => Some(value),
            Self::Double(_) => None,
        }
    }

    /// Returns the value as a double, rounded to the nearest.
    #[expect(
        clippy::cast_precision_loss,
        reason = "Triton widens integers in the same way"
    )]
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::UInt(value) => value as f64,
            Self::Double(value) => value,
        }
    }
}

/// What has been read of a number: its digits and the place of its decimal point.
#[derive(Default)]
struct Decimal {
    is_negative: bool,
    /// All digits as one integer, while they are few enough.
    digits: u64,
    /// How many there are, the first zero of a fraction aside.
    digit_count: usize,
    exponent: i32,
}

/// As many digits always fit in a `u64`.
const MAX_DIGITS: usize = 19;

/// Reads the number that begins at the reader's place.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Number, SyntaxError> {
    let start = reader.at;
    let mut decimal = Decimal {
        is_negative: reader.eat(b'-'),
        ..Decimal::default()
    };
    match reader.peek() {
        b'0' => reader.at += 1,
        b'1'..=b'9' => {
            decimal.read_digits(reader);
        }
        b'N' | b'I' => return read_nan_or_infinity(reader, decimal.is_negative),
        _ => return Err(reader.error(SyntaxErrorKind::InvalidValue)),
    }
    let integer_end = reader.at;
    if reader.eat(b'.') {
        let count = decimal.read_digits(reader);
        if count == 0 {
            return Err(reader.error(SyntaxErrorKind::MissingFraction));
        }
        decimal.exponent = -i32::try_from(count).unwrap_or(i32::MAX);
    }
    if matches!(reader.peek(), b'e' | b'E') {
        read_exponent(reader, &mut decimal)?;
    }
    let text = &reader.text[start..reader.at];
    if reader.at == integer_end
        && let Some(number) = decimal.as_integer(text)
    {
        return Ok(number);
    }
    let value = decimal.exact().unwrap_or_else(|| parse_slowly(text));
    if value.is_infinite() {
        return Err(SyntaxError {
            kind: SyntaxErrorKind::NumberTooBig,
            offset: start,
        });
    }
    Ok(Number::Double(value))
}

impl Decimal {
    /// Reads digits; returns how many there were.
    fn read_digits(&mut self, reader: &mut Reader<'_>) -> usize {
        let text = &reader.text[reader.at..];
        let mut rest = text;
        let mut digits = self.digits;
        while let [byte @ b'0'..=b'9', tail @ ..] = rest {
            digits = digits.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
            rest = tail;
        }
        self.digits = digits;
        let count = text.len() - rest.len();
        self.digit_count += count;
        reader.at += count;
        count
    }

    fn is_truncated(&self) -> bool {
        self.digit_count > MAX_DIGITS
    }

    fn as_integer(&self, text: &[u8]) -> Option<Number> {
        if self.is_truncated() {
            // Twenty digits may still fit.
            return std::str::from_utf8(text)
                .ok()?
                .parse()
                .ok()
                .map(Number::UInt);
        }
        if self.is_negative {
            return 0_i64.checked_sub_unsigned(self.digits).map(Number::Int);
        }
        Some(match i64::try_from(self.digits) {
            Ok(value) => Number::Int(value),
            Err(_) => Number::UInt(self.digits),
        })
    }

    /// Returns the value if one exact operation on two exact doubles gives it (Clinger).
    #[expect(clippy::cast_precision_loss, reason = "digits below 2^53 are exact")]
    fn exact(&self) -> Option<f64> {
        const POWERS: [f64; 23] = [
            1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
            1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
        ];
        if self.is_truncated() || self.digits > 1 << 53 {
            return None;
        }
        let power = *POWERS.get(self.exponent.unsigned_abs() as usize)?;
        let digits = self.digits as f64;
        let value = if self.exponent < 0 {
            digits / power
        } else {
            digits * power
        };
        Some(if self.is_negative { -value } else { value })
    }
}

fn read_exponent(reader: &mut Reader<'_>, decimal: &mut Decimal) -> Result<(), SyntaxError> {
    reader.at += 1;
    let is_negative = reader.peek() == b'-';
    if matches!(reader.peek(), b'+' | b'-') {
        reader.at += 1;
    }
    if !reader.peek().is_ascii_digit() {
        return Err(reader.error(SyntaxErrorKind::MissingExponent));
    }
    let mut exponent = 0_i32;
    while reader.peek().is_ascii_digit() {
        exponent = exponent
            .saturating_mul(10)
            .saturating_add(i32::from(reader.peek() - b'0'));
        reader.at += 1;
    }
    let exponent = if is_negative { -exponent } else { exponent };
    decimal.exponent = decimal.exponent.saturating_add(exponent);
    Ok(())
}

fn read_nan_or_infinity(reader: &mut Reader<'_>, is_negative: bool) -> Result<Number, SyntaxError> {
    let value = if reader.peek() == b'N' {
        reader.read_literal(b"NaN")?;
        f64::NAN
    } else {
        reader.read_literal(b"Inf")?;
        if reader.peek() == b'i' {
            reader.read_literal(b"inity")?;
        }
        f64::INFINITY
    };
    Ok(Number::Double(if is_negative { -value } else { value }))
}

fn parse_slowly(text: &[u8]) -> f64 {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("INVARIANT: JSON's grammar of numbers is part of Rust's")
}
