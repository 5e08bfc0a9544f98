// SPDX-License-Identifier: Apache-2.0
use prost_reflect::{EnumDescriptor, Kind, Value};

use crate::suggest;

/// A number or a word where a value should stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Literal<'a> {
    pub(super) is_negative: bool,
    pub(super) is_word: bool,
    pub(super) text: &'a str,
}

impl Literal<'_> {
    /// Returns the value the literal has for a field of this kind, if it has one.
    pub(super) fn value(&self, kind: &Kind) -> Option<Value> {
        match kind {
            Kind::Bool => self.bool().map(Value::Bool),
            Kind::Float =>
            {
                #[expect(clippy::cast_possible_truncation, reason = "protobuf rounds likewise")]
                self.float().map(|number| Value::F32(number as f32))
            }
            Kind::Double => self.float().map(Value::F64),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                i32::try_from(self.integer()?).ok().map(Value::I32)
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                i64::try_from(self.integer()?).ok().map(Value::I64)
            }
            Kind::Uint32 | Kind::Fixed32 => u32::try_from(self.unsigned()?).ok().map(Value::U32),
            Kind::Uint64 | Kind::Fixed64 => u64::try_from(self.unsigned()?).ok().map(Value::U64),
            Kind::Enum(descriptor) => self.enum_number(descriptor).map(Value::EnumNumber),
            Kind::String | Kind::Bytes | Kind::Message(_) => None,
        }
    }

    fn bool(&self) -> Option<bool> {
        if self.is_negative {
            return None;
        }
        match self.text {
            "true" | "True" | "t" => Some(true),
            "false" | "False" | "f" => Some(false),
            _ => match self.integer()? {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            },
        }
    }

    /// Reads a decimal number; hexadecimal and octal integers are no floats.
    fn float(&self) -> Option<f64> {
        let magnitude = if self.is_word {
            match self.text.to_ascii_lowercase().as_str() {
                "inf" | "infinity" => f64::INFINITY,
                "nan" => f64::NAN,
                _ => return None,
            }
        } else {
            let is_integer = self.text.bytes().all(|b| b.is_ascii_digit());
            if is_integer && self.text.len() > 1 && self.text.starts_with('0') {
                return None;
            }
            self.text.trim_end_matches(['f', 'F']).parse().ok()?
        };
        Some(if self.is_negative {
            -magnitude
        } else {
            magnitude
        })
    }

    fn integer(&self) -> Option<i128> {
        if self.is_word {
            return None;
        }
        let (digits, radix) = match self.text.as_bytes() {
            [b'0', b'x' | b'X', ..] => (&self.text[2..], 16),
            [b'0', _, ..] => (&self.text[1..], 8),
            _ => (self.text, 10),
        };
        let magnitude = i128::from(u64::from_str_radix(digits, radix).ok()?);
        Some(if self.is_negative {
            -magnitude
        } else {
            magnitude
        })
    }

    fn unsigned(&self) -> Option<i128> {
        if self.is_negative {
            None
        } else {
            self.integer()
        }
    }

    fn enum_number(&self, descriptor: &EnumDescriptor) -> Option<i32> {
        if self.is_word {
            let value = descriptor.get_value_by_name(self.text)?;
            return (!self.is_negative).then(|| value.number());
        }
        i32::try_from(self.integer()?).ok()
    }
}

/// How a kind of field is called in a message.
pub(super) fn expectation(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::Float | Kind::Double => "a number".to_owned(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "an integer (int32)".to_owned(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "an integer (int64)".to_owned(),
        Kind::Uint32 | Kind::Fixed32 => "an integer of zero or more (uint32)".to_owned(),
        Kind::Uint64 | Kind::Fixed64 => "an integer of zero or more (uint64)".to_owned(),
        Kind::String | Kind::Bytes => "a string in quotes".to_owned(),
        Kind::Enum(descriptor) => format!("a value of {}", descriptor.name()),
        Kind::Message(descriptor) => format!("a message {} in braces", descriptor.name()),
    }
}

/// Names the value that was meant, or all there are; nothing for a field that is no enum.
pub(super) fn enum_hint(kind: &Kind, shown: &str) -> String {
    let Kind::Enum(descriptor) = kind else {
        return String::new();
    };
    let names: Vec<String> = descriptor
        .values()
        .map(|value| value.name().to_owned())
        .collect();
    match suggest::nearest(shown.trim_matches(['\'', '"']), names.iter().cloned()) {
        Some(name) => format!(", did you mean {name}?"),
        None => format!(", there are {}", names.join(", ")),
    }
}
