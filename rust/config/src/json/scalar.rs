// SPDX-License-Identifier: Apache-2.0
use prost_reflect::{EnumDescriptor, Kind, Value};

/// A JSON value that is neither an object nor an array.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar<'a> {
    Bool(bool),
    /// A number without fraction that fits in 64 bits.
    Integer(i128),
    Float(f64),
    String(&'a str),
}

impl Scalar<'_> {
    /// Returns what the JSON value means for a field of this kind, if it means anything.
    pub(super) fn value(self, kind: &Kind) -> Option<Value> {
        match kind {
            Kind::Bool => match self {
                Self::Bool(value) => Some(Value::Bool(value)),
                _ => None,
            },
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                i32::try_from(self.integer()?).ok().map(Value::I32)
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                i64::try_from(self.integer()?).ok().map(Value::I64)
            }
            Kind::Uint32 | Kind::Fixed32 => u32::try_from(self.integer()?).ok().map(Value::U32),
            Kind::Uint64 | Kind::Fixed64 => u64::try_from(self.integer()?).ok().map(Value::U64),
            Kind::Float =>
            {
                #[expect(clippy::cast_possible_truncation, reason = "protobuf rounds likewise")]
                self.float().map(|number| Value::F32(number as f32))
            }
            Kind::Double => self.float().map(Value::F64),
            Kind::String => match self {
                Self::String(text) => Some(Value::String(text.to_owned())),
                _ => None,
            },
            Kind::Enum(descriptor) => self.enum_number(descriptor).map(Value::EnumNumber),
            Kind::Bytes | Kind::Message(_) => None,
        }
    }

    /// Numbers may be written as strings, since JSON cannot hold all of 64 bits everywhere.
    fn integer(self) -> Option<i128> {
        match self {
            Self::Integer(value) => Some(value),
            Self::Float(value) => whole(value),
            Self::String(text) => match text.parse::<i128>() {
                Ok(value) => Some(value),
                Err(_) => whole(text.parse().ok()?),
            },
            Self::Bool(_) => None,
        }
    }

    fn float(self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "the field holds a double")]
            Self::Integer(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            Self::String("NaN") => Some(f64::NAN),
            Self::String("Infinity") => Some(f64::INFINITY),
            Self::String("-Infinity") => Some(f64::NEG_INFINITY),
            Self::String(text) => text.parse().ok().filter(|value: &f64| value.is_finite()),
            Self::Bool(_) => None,
        }
    }

    fn enum_number(self, descriptor: &EnumDescriptor) -> Option<i32> {
        let Self::String(name) = self else {
            return i32::try_from(self.integer()?).ok();
        };
        let mut values = descriptor.values();
        values
            .find(|value| value.name().eq_ignore_ascii_case(name))
            .map(|value| value.number())
    }
}

/// Converts a float that is a whole number of at most 64 bits.
fn whole(value: f64) -> Option<i128> {
    let is_in_range = value.fract() == 0.0 && value.abs() <= 2_f64.powi(64);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked to be whole and in range"
    )]
    is_in_range.then_some(value as i128)
}
