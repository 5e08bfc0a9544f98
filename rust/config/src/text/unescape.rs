// SPDX-License-Identifier: Apache-2.0
use super::error::Fault;
use super::lexer::Token;

/// Appends what a string token stands for.
pub(super) fn unescape(token: &Token<'_>, bytes: &mut Vec<u8>) -> Result<(), Fault> {
    let content = &token.text[1..token.text.len() - 1];
    let mut rest = content;
    while let Some(index) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..index]);
        let escape = &rest[index + 1..];
        let Some(after) = append(escape, bytes) else {
            let offset = token.offset + 1 + (content.len() - rest.len()) + index;
            let shown: String = escape.chars().take(1).collect();
            return Err(Fault::new(
                offset,
                format!("'\\{shown}' is no valid escape"),
            ));
        };
        rest = after;
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(())
}

/// Appends what the escape stands for, and returns what follows it.
fn append<'a>(escape: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let kind = escape.chars().next()?;
    let rest = &escape[kind.len_utf8()..];
    let byte = match kind {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '?' | '\\' | '\'' | '"' => kind as u8,
        '0'..='7' => {
            let (value, rest) = number(escape, 8, 1..=3)?;
            bytes.push(u8::try_from(value).ok()?);
            return Some(rest);
        }
        'x' | 'X' => {
            let (value, rest) = number(rest, 16, 1..=2)?;
            bytes.push(u8::try_from(value).ok()?);
            return Some(rest);
        }
        'u' => return append_utf16(rest, bytes),
        'U' => {
            let (value, rest) = number(rest, 16, 8..=8)?;
            append_char(char::from_u32(value)?, bytes);
            return Some(rest);
        }
        _ => return None,
    };
    bytes.push(byte);
    Some(rest)
}

/// Reads four digits, and the other half where they are a surrogate.
fn append_utf16<'a>(digits: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let (high, rest) = number(digits, 16, 4..=4)?;
    if !(0xd800..0xdc00).contains(&high) {
        append_char(char::from_u32(high)?, bytes);
        return Some(rest);
    }
    let (low, rest) = number(rest.strip_prefix("\\u")?, 16, 4..=4)?;
    if !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    let value = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    append_char(char::from_u32(value)?, bytes);
    Some(rest)
}

fn append_char(c: char, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Reads digits of the radix, as many as there are within `count`.
fn number(text: &str, radix: u32, count: std::ops::RangeInclusive<usize>) -> Option<(u32, &str)> {
    let digits = text
        .chars()
        .take(*count.end())
        .take_while(|c| c.is_digit(radix))
        .count();
    if digits < *count.start() {
        return None;
    }
    let value = u32::from_str_radix(&text[..digits], radix).ok()?;
    Some((value, &text[digits..]))
}
