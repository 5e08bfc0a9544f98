// SPDX-License-Identifier: Apache-2.0
use super::error::Fault;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Identifier,
    Number,
    /// In quotes; the escapes are still in it.
    String,
    Symbol,
    End,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind,
    pub(super) text: &'a str,
    /// First byte in the whole text.
    pub(super) offset: usize,
}

impl Token<'_> {
    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == TokenKind::Symbol && self.text == symbol
    }

    /// How the token is called in a message.
    pub(super) fn describe(&self) -> String {
        match self.kind {
            TokenKind::End => "the end of the file".to_owned(),
            TokenKind::String => self.text.to_owned(),
            _ => format!("'{}'", self.text),
        }
    }
}

/// Cuts a text into tokens; blanks and comments are between them.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    offset: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let offset = if text.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        };
        Self { text, offset }
    }

    pub(super) fn next_token(&mut self) -> Result<Token<'a>, Fault> {
        self.skip_blanks();
        let rest = &self.text[self.offset..];
        let Some(first) = rest.chars().next() else {
            return Ok(Token {
                kind: TokenKind::End,
                text: "",
                offset: self.offset,
            });
        };
        let second_is_digit = rest[first.len_utf8()..].starts_with(|c: char| c.is_ascii_digit());
        let (kind, length) = match first {
            'a'..='z' | 'A'..='Z' | '_' => (TokenKind::Identifier, identifier_length(rest)),
            '0'..='9' => (TokenKind::Number, self.number_length(rest)?),
            '.' if second_is_digit => (TokenKind::Number, self.number_length(rest)?),
            '"' | '\'' => (TokenKind::String, self.string_length(rest, first)?),
            '{' | '}' | '<' | '>' | '[' | ']' | ':' | ',' | ';' | '-' | '.' | '/' => {
                (TokenKind::Symbol, first.len_utf8())
            }
            _ => {
                let message = format!("unexpected character {first:?}");
                return Err(Fault::new(self.offset, message));
            }
        };
        let token = Token {
            kind,
            text: &rest[..length],
            offset: self.offset,
        };
        self.offset += length;
        Ok(token)
    }

    fn skip_blanks(&mut self) {
        let is_blank = |c| matches!(c, ' ' | '\t' | '\r' | '\n' | '\x0b' | '\x0c');
        loop {
            let rest = self.text[self.offset..].trim_start_matches(is_blank);
            let rest = match rest.strip_prefix('#') {
                Some(comment) => &comment[comment.find('\n').unwrap_or(comment.len())..],
                None => rest,
            };
            let offset = self.text.len() - rest.len();
            if offset == self.offset {
                return;
            }
            self.offset = offset;
        }
    }

    /// Measures a number, which no letter, digit or point may follow.
    fn number_length(&self, rest: &str) -> Result<usize, Fault> {
        let length = match rest.as_bytes() {
            [b'0', b'x' | b'X', ..] => hexadecimal_length(rest),
            _ => decimal_length(rest),
        };
        let follows = |c: char| c == '_' || c == '.' || c.is_ascii_alphanumeric();
        length
            .filter(|length| !rest[*length..].starts_with(follows))
            .ok_or_else(|| {
                let word = rest.split(|c| !follows(c)).next().unwrap_or(rest);
                Fault::new(self.offset, format!("'{word}' is no number"))
            })
    }

    /// Measures a string up to its closing quote, which must be on the same line.
    fn string_length(&self, rest: &str, quote: char) -> Result<usize, Fault> {
        let mut chars = rest.char_indices().skip(1);
        while let Some((index, c)) = chars.next() {
            match c {
                '\n' => break,
                '\\' => {
                    chars.next();
                }
                _ if c == quote => return Ok(index + 1),
                _ => {}
            }
        }
        Err(Fault::new(
            self.offset,
            "the string has no closing quote on its line",
        ))
    }
}

fn identifier_length(rest: &str) -> usize {
    rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric())
        .unwrap_or(rest.len())
}

fn hexadecimal_length(rest: &str) -> Option<usize> {
    let digits = rest[2..].bytes().take_while(u8::is_ascii_hexdigit).count();
    (digits > 0).then_some(2 + digits)
}

/// Measures an integer or a float; the latter may end in `f`.
fn decimal_length(rest: &str) -> Option<usize> {
    let digits = |from: usize| rest[from..].bytes().take_while(u8::is_ascii_digit).count();
    let mut length = digits(0);
    if rest[length..].starts_with('.') {
        length += 1 + digits(length + 1);
    }
    if rest[length..].starts_with(['e', 'E']) {
        length += 1;
        length += usize::from(rest[length..].starts_with(['+', '-']));
        let exponent = digits(length);
        if exponent == 0 {
            return None;
        }
        length += exponent;
    }
    Some(length + usize::from(rest[length..].starts_with(['f', 'F'])))
}
