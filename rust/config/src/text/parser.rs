// SPDX-License-Identifier: Apache-2.0
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};

use super::error::Fault;
use super::lexer::{Lexer, Token, TokenKind};
use super::literal::{Literal, enum_hint, expectation};
use super::unescape::unescape;
use crate::suggest;

/// After so many errors a text is given up.
const MAX_FAULTS: usize = 20;

/// Recursive descent over the schema. No message of a model configuration contains itself, so the
/// schema bounds the recursion; what the schema does not know is skipped without recursion.
///
/// A fault of meaning (unknown field, wrong type) is noted and the text is read on; a fault of form
/// ends the reading.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    lexer: Lexer<'a>,
    current: Token<'a>,
    faults: Vec<Fault>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let current = Token {
            kind: TokenKind::End,
            text: "",
            offset: 0,
        };
        Self {
            lexer: Lexer::new(text),
            current,
            faults: Vec::new(),
        }
    }

    /// Reads a whole text as one message.
    pub(super) fn document(
        mut self,
        descriptor: MessageDescriptor,
    ) -> Result<DynamicMessage, Vec<Fault>> {
        let mut message = DynamicMessage::new(descriptor);
        let outcome = self.advance().and_then(|_| self.fields(&mut message, None));
        if let Err(fault) = outcome {
            self.faults.push(fault);
        }
        if self.faults.is_empty() {
            Ok(message)
        } else {
            Err(self.faults)
        }
    }

    /// Reads fields up to and including the closing symbol, or up to the end of the text.
    fn fields(&mut self, message: &mut DynamicMessage, closing: Option<&str>) -> Result<(), Fault> {
        loop {
            match closing {
                Some(symbol) if self.consume(symbol)? => return Ok(()),
                None if self.current.kind == TokenKind::End => return Ok(()),
                _ => self.field(message, closing)?,
            }
            if !self.consume(";")? {
                self.consume(",")?;
            }
        }
    }

    fn field(&mut self, message: &mut DynamicMessage, closing: Option<&str>) -> Result<(), Fault> {
        let name = self.field_name(closing)?;
        let descriptor = message.descriptor();
        let Some(field) = descriptor.get_field_by_name(name.text) else {
            self.note(name.offset, unknown_field(name.text, &descriptor))?;
            return self.skip_value();
        };
        let is_message = matches!(field.kind(), Kind::Message(_));
        if !self.consume(":")? && !is_message {
            return Err(self.unexpected(&format!("':' after '{}'", field.name())));
        }
        let is_repeated = field.is_list() || field.is_map();
        if !is_repeated {
            self.check_first_time(&field, message, name.offset)?;
        }
        if is_repeated && self.consume("[")? {
            return self.list(&field, message);
        }
        self.value(&field, message)
    }

    fn field_name(&mut self, closing: Option<&str>) -> Result<Token<'a>, Fault> {
        if self.current.is_symbol("[") {
            let text = "extensions and Any are not part of a model configuration";
            return Err(Fault::new(self.current.offset, text));
        }
        if self.current.kind == TokenKind::Identifier {
            return self.advance();
        }
        Err(match closing {
            Some(symbol) => self.unexpected(&format!("a field name or '{symbol}'")),
            None => self.unexpected("a field name"),
        })
    }

    /// Notes a field that has a value already, or whose oneof has one. As in protobuf, a value
    /// that equals the default of its type does not count.
    fn check_first_time(
        &mut self,
        field: &FieldDescriptor,
        message: &DynamicMessage,
        offset: usize,
    ) -> Result<(), Fault> {
        let name = field.name();
        if message.has_field(field) {
            return self.note(offset, format!("'{name}' is given more than once"));
        }
        let Some(oneof) = field.containing_oneof() else {
            return Ok(());
        };
        let Some(other) = oneof.fields().find(|other| message.has_field(other)) else {
            return Ok(());
        };
        let (other, oneof) = (other.name(), oneof.name());
        let text = format!("'{name}' is given along with '{other}', only one '{oneof}' is allowed");
        self.note(offset, text)
    }

    fn list(&mut self, field: &FieldDescriptor, message: &mut DynamicMessage) -> Result<(), Fault> {
        if self.consume("]")? {
            return Ok(());
        }
        loop {
            self.value(field, message)?;
            if self.consume("]")? {
                return Ok(());
            }
            if !self.consume(",")? {
                return Err(self.unexpected("',' or ']'"));
            }
        }
    }

    /// Reads one value and adds it to the message.
    fn value(
        &mut self,
        field: &FieldDescriptor,
        message: &mut DynamicMessage,
    ) -> Result<(), Fault> {
        let value = match field.kind() {
            Kind::Message(descriptor) => Some(Value::Message(self.message(field, descriptor)?)),
            kind => self.scalar(field, &kind)?,
        };
        if let Some(value) = value {
            store(field, message, value);
        }
        Ok(())
    }

    fn message(
        &mut self,
        field: &FieldDescriptor,
        descriptor: MessageDescriptor,
    ) -> Result<DynamicMessage, Fault> {
        let closing = if self.consume("{")? {
            "}"
        } else if self.consume("<")? {
            ">"
        } else {
            return Err(self.unexpected(&format!("'{{' to begin '{}'", field.name())));
        };
        let mut message = DynamicMessage::new(descriptor);
        self.fields(&mut message, Some(closing))?;
        Ok(message)
    }

    /// Reads a scalar; `None` where it has been noted as a fault.
    fn scalar(&mut self, field: &FieldDescriptor, kind: &Kind) -> Result<Option<Value>, Fault> {
        let start = self.current;
        if start.kind == TokenKind::String {
            let bytes = self.string()?;
            let value = match kind {
                Kind::String => String::from_utf8(bytes).ok().map(Value::String),
                Kind::Bytes => Some(Value::Bytes(bytes.into())),
                _ => return self.mismatch(field, kind, start.offset, start.text),
            };
            if value.is_none() {
                self.note(
                    start.offset,
                    format!("the string of '{}' is not UTF-8", field.name()),
                )?;
            }
            return Ok(value);
        }
        let is_negative = self.consume("-")?;
        if !matches!(self.current.kind, TokenKind::Identifier | TokenKind::Number) {
            return Err(self.unexpected(&format!("{} for '{}'", expectation(kind), field.name())));
        }
        let token = self.advance()?;
        let is_word = token.kind == TokenKind::Identifier;
        match (Literal {
            is_negative,
            is_word,
            text: token.text,
        })
        .value(kind)
        {
            Some(value) => Ok(Some(value)),
            None => {
                let sign = if is_negative { "-" } else { "" };
                let shown = format!("'{sign}{}'", token.text);
                self.mismatch(field, kind, start.offset, &shown)
            }
        }
    }

    /// Reads adjacent strings as one.
    fn string(&mut self) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        while self.current.kind == TokenKind::String {
            let token = self.advance()?;
            unescape(&token, &mut bytes)?;
        }
        Ok(bytes)
    }

    fn mismatch(
        &mut self,
        field: &FieldDescriptor,
        kind: &Kind,
        offset: usize,
        shown: &str,
    ) -> Result<Option<Value>, Fault> {
        let (expected, hint) = (expectation(kind), enum_hint(kind, shown));
        self.note(
            offset,
            format!(
                "expected {expected} for '{}', got {shown}{hint}",
                field.name()
            ),
        )?;
        Ok(None)
    }

    /// Passes over the value of an unknown field, whatever it is.
    fn skip_value(&mut self) -> Result<(), Fault> {
        self.consume(":")?;
        if self.current.kind == TokenKind::String {
            return self.string().map(drop);
        }
        self.consume("-")?;
        let mut open: Vec<&str> = Vec::new();
        loop {
            let token = self.current;
            match (token.kind, token.text) {
                (TokenKind::End, _) => return Err(self.unexpected("a value")),
                (TokenKind::Symbol, "{") => open.push("}"),
                (TokenKind::Symbol, "<") => open.push(">"),
                (TokenKind::Symbol, "[") => open.push("]"),
                (TokenKind::Symbol, closing @ ("}" | ">" | "]")) if open.pop() != Some(closing) => {
                    return Err(self.unexpected("a value"));
                }
                _ => {}
            }
            self.advance()?;
            if open.is_empty() {
                return Ok(());
            }
        }
    }

    /// Moves on, and returns the token that was left behind.
    fn advance(&mut self) -> Result<Token<'a>, Fault> {
        let next = self.lexer.next_token()?;
        Ok(std::mem::replace(&mut self.current, next))
    }

    fn consume(&mut self, symbol: &str) -> Result<bool, Fault> {
        let is_there = self.current.is_symbol(symbol);
        if is_there {
            self.advance()?;
        }
        Ok(is_there)
    }

    fn note(&mut self, offset: usize, message: String) -> Result<(), Fault> {
        let fault = Fault { offset, message };
        if self.faults.len() + 1 >= MAX_FAULTS {
            return Err(fault);
        }
        self.faults.push(fault);
        Ok(())
    }

    fn unexpected(&self, expected: &str) -> Fault {
        let text = format!("expected {expected}, got {}", self.current.describe());
        Fault::new(self.current.offset, text)
    }
}

fn store(field: &FieldDescriptor, message: &mut DynamicMessage, value: Value) {
    if field.is_map() {
        if let (Value::Message(entry), Kind::Message(descriptor)) = (&value, field.kind()) {
            let key = entry
                .get_field(&descriptor.map_entry_key_field())
                .into_owned();
            let value = entry
                .get_field(&descriptor.map_entry_value_field())
                .into_owned();
            if let (Some(key), Some(map)) = (
                key.into_map_key(),
                message.get_field_mut(field).as_map_mut(),
            ) {
                map.insert(key, value);
            }
        }
    } else if field.is_list() {
        if let Some(list) = message.get_field_mut(field).as_list_mut() {
            list.push(value);
        }
    } else {
        message.set_field(field, value);
    }
}

fn unknown_field(name: &str, descriptor: &MessageDescriptor) -> String {
    let mut names = descriptor.fields().map(|field| field.name().to_owned());
    let hint = suggest::nearest(name, &mut names)
        .map(|nearest| format!(", did you mean '{nearest}'?"))
        .unwrap_or_default();
    format!("unknown field '{name}' in {}{hint}", descriptor.name())
}
