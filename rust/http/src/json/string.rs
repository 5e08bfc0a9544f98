// SPDX-License-Identifier: Apache-2.0
use std::borrow::Cow;

use super::reader::Reader;
use super::{SyntaxError, SyntaxErrorKind};

/// Reads the string that begins at the reader's place.
pub(super) fn read<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, [u8]>, SyntaxError> {
    if !reader.eat(b'"') {
        return Err(reader.error(SyntaxErrorKind::InvalidValue));
    }
    let plain = plain_run(reader);
    if reader.eat(b'"') {
        return Ok(Cow::Borrowed(plain));
    }
    let mut text = plain.to_vec();
    loop {
        match reader.peek() {
            b'"' => {
                reader.at += 1;
                return Ok(Cow::Owned(text));
            }
            b'\\' => unescape(reader, &mut text)?,
            0 => return Err(reader.error(SyntaxErrorKind::MissingQuote)),
            1..0x20 => return Err(reader.error(SyntaxErrorKind::InvalidEscape)),
            _ => text.extend_from_slice(plain_run(reader)),
        }
    }
}

/// Steps over bytes that stand for themselves.
fn plain_run<'a>(reader: &mut Reader<'a>) -> &'a [u8] {
    let rest = &reader.text[reader.at..];
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
    let length = rest.iter().position(is_special).unwrap_or(rest.len());
    reader.at += length;
    &rest[..length]
}

fn unescape(reader: &mut Reader<'_>, text: &mut Vec<u8>) -> Result<(), SyntaxError> {
    // Errors point at the backslash.
    let backslash = reader.at;
    let error = |kind| SyntaxError {
        kind,
        offset: backslash,
    };
    reader.at += 1;
    let byte = match reader.peek() {
        b'u' => {
            reader.at += 1;
            let character = unicode_escape(reader).map_err(error)?;
            text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(());
        }
        byte @ (b'"' | b'\\' | b'/') => byte,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return Err(error(SyntaxErrorKind::InvalidEscape)),
    };
    reader.at += 1;
    text.push(byte);
    Ok(())
}

/// Reads what follows `\u`, and the second half where the first is a surrogate.
fn unicode_escape(reader: &mut Reader<'_>) -> Result<char, SyntaxErrorKind> {
    let high = hex4(reader)?;
    let code = if (0xD800..=0xDBFF).contains(&high) {
        if !(reader.eat(b'\\') && reader.eat(b'u')) {
            return Err(SyntaxErrorKind::InvalidSurrogate);
        }
        let low = hex4(reader)?;
        if !(0xDC00..=0xDFFF).contains(&low) {
            return Err(SyntaxErrorKind::InvalidSurrogate);
        }
        0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00)
    } else {
        high
    };
    char::from_u32(code).ok_or(SyntaxErrorKind::InvalidSurrogate)
}

fn hex4(reader: &mut Reader<'_>) -> Result<u32, SyntaxErrorKind> {
    let mut code = 0;
    for _ in 0..4 {
        let digit = char::from(reader.peek()).to_digit(16);
        code = code * 16 + digit.ok_or(SyntaxErrorKind::InvalidHex)?;
        reader.at += 1;
    }
    Ok(code)
}
