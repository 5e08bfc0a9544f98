// SPDX-License-Identifier: Apache-2.0
use super::float;

/// Appends JSON to a buffer, without blanks, as RapidJSON writes it.
///
/// Commas are the writer's business: every key and every element outside a key is preceded by one
/// where it needs one.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
    needs_comma: bool,
}

impl Writer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            out: Vec::with_capacity(capacity),
            needs_comma: false,
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(crate) fn begin_object(&mut self) {
        self.begin(b'{');
    }

    pub(crate) fn end_object(&mut self) {
        self.end(b'}');
    }

    pub(crate) fn begin_array(&mut self) {
        self.begin(b'[');
    }

    pub(crate) fn end_array(&mut self) {
        self.end(b']');
    }

    /// Writes a member's name; its value must follow.
    pub(crate) fn key(&mut self, name: &str) {
        self.separate();
        self.write_quoted(name);
        self.out.push(b':');
        self.needs_comma = false;
    }

    pub(crate) fn string(&mut self, text: &str) {
        self.separate();
        self.write_quoted(text);
    }

    pub(crate) fn integer(&mut self, value: impl itoa::Integer) {
        self.separate();
        self.out
            .extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    pub(crate) fn double(&mut self, value: f64) {
        self.separate();
        float::write(&mut self.out, value);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.separate();
        self.out
            .extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Writes an integer as a string (G4.04).
    pub(crate) fn quoted_integer(&mut self, value: i64) {
        self.string(itoa::Buffer::new().format(value));
    }

    fn begin(&mut self, bracket: u8) {
        self.separate();
        self.out.push(bracket);
        self.needs_comma = false;
    }

    fn end(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.needs_comma = true;
    }

    fn separate(&mut self) {
        if self.needs_comma {
            self.out.push(b',');
        }
        self.needs_comma = true;
    }

    fn write_quoted(&mut self, text: &str) {
        self.out.push(b'"');
        let mut rest = text.as_bytes();
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
        while let Some(length) = rest.iter().position(is_special) {
            self.out.extend_from_slice(&rest[..length]);
            self.write_escape(rest[length]);
            rest = &rest[length + 1..];
        }
        self.out.extend_from_slice(rest);
        self.out.push(b'"');
    }

    fn write_escape(&mut self, byte: u8) {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        let short = match byte {
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            b'"' | b'\\' => byte,
            _ => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                self.out.extend_from_slice(b"\\u00");
                self.out.extend_from_slice(&digits);
                return;
            }
        };
        self.out.extend_from_slice(&[b'\\', short]);
    }
}
