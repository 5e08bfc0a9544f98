// SPDX-License-Identifier: Apache-2.0
use std::borrow::Cow;

use super::number::Number;
use super::{SyntaxError, SyntaxErrorKind};

/// Values that may stand inside one another (P058).
pub(crate) const MAX_DEPTH: u32 = 100;

/// What a value is, told by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueKind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
    /// No value begins with this byte.
    Invalid,
}

/// Reads a JSON text from front to back, without a tree.
///
/// Accepts what RapidJSON accepts with `kParseNanAndInfFlag`: RFC 8259 plus `NaN`, `Inf` and
/// `Infinity`; strings need not be UTF-8. Like RapidJSON it takes a NUL byte for the end.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
    depth: u32,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
        }
    }

    /// Reads a document that is one value.
    pub(crate) fn read_document<E: From<SyntaxError>>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.skip_whitespace();
        if self.peek() == 0 {
            return Err(self.error(SyntaxErrorKind::Empty).into());
        }
        read(self)?;
        self.skip_whitespace();
        if self.peek() != 0 {
            return Err(self.error(SyntaxErrorKind::TrailingText).into());
        }
        Ok(())
    }

    /// Returns the kind of the value that comes next.
    pub(crate) fn kind(&mut self) -> ValueKind {
        self.skip_whitespace();
        match self.peek() {
            b'{' => ValueKind::Object,
            b'[' => ValueKind::Array,
            b'"' => ValueKind::String,
            b'-' | b'0'..=b'9' | b'N' | b'I' => ValueKind::Number,
            b't' | b'f' => ValueKind::Bool,
            b'n' => ValueKind::Null,
            _ => ValueKind::Invalid,
        }
    }

    /// Reads an object; `member` is given each name and must read the value behind it.
    pub(crate) fn read_object<E: From<SyntaxError>>(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'{')?;
        self.skip_whitespace();
        if self.eat(b'}') {
            self.close();
            return Ok(());
        }
        loop {
            if self.peek() != b'"' {
                return Err(self.error(SyntaxErrorKind::MissingName).into());
            }
            let name = self.read_string()?;
            self.skip_whitespace();
            if !self.eat(b':') {
                return Err(self.error(SyntaxErrorKind::MissingColon).into());
            }
            self.skip_whitespace();
            member(self, &String::from_utf8_lossy(&name))?;
            self.skip_whitespace();
            if self.eat(b'}') {
                self.close();
                return Ok(());
            }
            if !self.eat(b',') {
                return Err(self.error(SyntaxErrorKind::MissingCommaInObject).into());
            }
            self.skip_whitespace();
        }
    }

    /// Reads an array; `element` must read one value each time.
    pub(crate) fn read_array<E: From<SyntaxError>>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'[')?;
        self.skip_whitespace();
        if self.eat(b']') {
            self.close();
            return Ok(());
        }
        loop {
            element(self)?;
            if !self.next_element()? {
                self.close();
                return Ok(());
            }
        }
    }

    /// Reads an array of scalars, however nested, row by row; never recurses.
    ///
    /// `scalar` is called at the first byte of each value that is no array.
    pub(crate) fn read_flattened<E: From<SyntaxError>>(
        &mut self,
        mut scalar: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let outside = self.depth;
        self.open(b'[')?;
        self.skip_whitespace();
        // Whether the array at hand may still turn out to be empty.
        let mut is_first = true;
        while self.depth > outside {
            if is_first && self.eat(b']') {
                self.close();
            } else if self.peek() == b'[' {
                self.open(b'[')?;
                self.skip_whitespace();
                is_first = true;
                continue;
            } else {
                scalar(self)?;
            }
            is_first = false;
            while self.depth > outside && !self.next_element()? {
                self.close();
            }
        }
        Ok(())
    }

    /// Reads `true` or `false`.
    pub(crate) fn read_bool(&mut self) -> Result<bool, SyntaxError> {
        let value = self.peek() == b't';
        self.read_literal(if value { b"true" } else { b"false" })?;
        Ok(value)
    }

    /// Reads a number.
    pub(crate) fn read_number(&mut self) -> Result<Number, SyntaxError> {
        super::number::read(self)
    }

    /// Reads a string; borrowed where it holds no escape. Not necessarily UTF-8.
    pub(crate) fn read_string(&mut self) -> Result<Cow<'a, [u8]>, SyntaxError> {
        super::string::read(self)
    }

    /// Reads any value and forgets it.
    pub(crate) fn skip_value(&mut self) -> Result<(), SyntaxError> {
        match self.kind() {
            // Recursion ends at MAX_DEPTH.
            ValueKind::Object => self.read_object(|reader, _| reader.skip_value()),
            ValueKind::Array => self.read_array(Self::skip_value),
            ValueKind::String => self.read_string().map(drop),
            ValueKind::Number => self.read_number().map(drop),
            ValueKind::Bool => self.read_bool().map(drop),
            ValueKind::Null => self.read_literal(b"null"),
            ValueKind::Invalid => Err(self.error(SyntaxErrorKind::InvalidValue)),
        }
    }

    /// Returns the bytes not yet read.
    pub(crate) fn remaining(&self) -> usize {
        self.text.len() - self.at
    }

    pub(super) fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == byte;
        self.at += usize::from(is_there);
        is_there
    }

    pub(super) fn error(&self, kind: SyntaxErrorKind) -> SyntaxError {
        SyntaxError {
            kind,
            offset: self.at,
        }
    }

    pub(super) fn read_literal(&mut self, literal: &[u8]) -> Result<(), SyntaxError> {
        for &byte in literal {
            if !self.eat(byte) {
                return Err(self.error(SyntaxErrorKind::InvalidValue));
            }
        }
        Ok(())
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// Steps over what follows an element; false at the end of its array.
    fn next_element(&mut self) -> Result<bool, SyntaxError> {
        self.skip_whitespace();
        if self.eat(b',') {
            self.skip_whitespace();
            return Ok(true);
        }
        if self.eat(b']') {
            return Ok(false);
        }
        Err(self.error(SyntaxErrorKind::MissingCommaInArray))
    }

    fn open(&mut self, bracket: u8) -> Result<(), SyntaxError> {
        self.skip_whitespace();
        if self.depth == MAX_DEPTH {
            return Err(self.error(SyntaxErrorKind::TooDeep));
        }
        if !self.eat(bracket) {
            return Err(self.error(SyntaxErrorKind::InvalidValue));
        }
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
    }
}
