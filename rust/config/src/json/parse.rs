// SPDX-License-Identifier: Apache-2.0
use std::collections::HashMap;
use std::fmt;

use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage, Value,
};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use tritongw_protocol::pb;
use tritongw_types::{Error, Result};

use super::scalar::Scalar;
use crate::{descriptor, suggest};

/// Reads a configuration from JSON.
///
/// Names of fields may be those of the proto or their camel case; enum names may be in any case;
/// 64-bit numbers may be strings; `null` leaves a field unset.
///
/// # Errors
/// An unknown field, a field given twice, a value that does not fit, or text that is no JSON; with
/// line and column.
pub fn parse(text: &str) -> Result<pb::ModelConfig> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let message = ValueSeed::message(descriptor::model_config()).deserialize(&mut deserializer);
    let message = message.and_then(|value| deserializer.end().map(|()| value));
    match message {
        Ok(Some(Value::Message(message))) => Ok(descriptor::from_dynamic(&message)),
        Ok(_) => Err(Error::invalid_arg(
            "the model configuration is not a JSON object",
        )),
        Err(error) => Err(Error::invalid_arg(error.to_string()).with_source(error)),
    }
}

/// Reads one value of a kind; `null` gives `None`.
#[derive(Clone)]
struct ValueSeed<'a> {
    /// Field the value is for, for messages.
    name: &'a str,
    kind: Kind,
}

impl ValueSeed<'_> {
    fn message(descriptor: MessageDescriptor) -> Self {
        Self {
            name: "model configuration",
            kind: Kind::Message(descriptor),
        }
    }

    fn scalar<E: serde::de::Error>(&self, scalar: Scalar<'_>) -> Result<Option<Value>, E> {
        if let Some(value) = scalar.value(&self.kind) {
            return Ok(Some(value));
        }
        let shown = match scalar {
            Scalar::Bool(value) => value.to_string(),
            Scalar::Integer(value) => value.to_string(),
            Scalar::Float(value) => value.to_string(),
            Scalar::String(value) => format!("'{value}'"),
        };
        let expected = expectation(&self.kind);
        let name = self.name;
        Err(E::custom(format!(
            "invalid value {shown} for field '{name}', expected {expected}"
        )))
    }

    fn refuse<E: serde::de::Error>(&self, got: &str) -> E {
        let expected = expectation(&self.kind);
        E::custom(format!(
            "invalid value for field '{}', expected {expected}, got {got}",
            self.name
        ))
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&expectation(&self.kind))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Self::Value, E> {
        self.scalar(Scalar::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
        self.scalar(Scalar::Integer(value.into()))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        self.scalar(Scalar::Integer(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
        self.scalar(Scalar::Float(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
        self.scalar(Scalar::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(self.refuse("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Kind::Message(descriptor) = self.kind.clone() else {
            return Err(self.refuse("an object"));
        };
        let mut message = DynamicMessage::new(descriptor);
        let mut seen = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let field = find_field(&message, &key).map_err(A::Error::custom)?;
            if seen.contains(&field.number()) {
                return Err(A::Error::custom(format!(
                    "field '{key}' is given more than once"
                )));
            }
            seen.push(field.number());
            if let Some(value) = map.next_value_seed(FieldSeed { field: &field })? {
                check_oneof(&message, &field).map_err(A::Error::custom)?;
                message.set_field(&field, value);
            }
        }
        Ok(Some(Value::Message(message)))
    }
}

/// Reads the whole value of a field: a list, a map, or one value.
struct FieldSeed<'a> {
    field: &'a FieldDescriptor,
}

impl FieldSeed<'_> {
    fn element(&self) -> ValueSeed<'_> {
        ValueSeed {
            name: self.field.name(),
            kind: self.field.kind(),
        }
    }
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.field.is_list() || self.field.is_map() {
            return deserializer.deserialize_any(self);
        }
        self.element().deserialize(deserializer)
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = if self.field.is_map() {
            "an object"
        } else {
            "an array"
        };
        write!(f, "{form} for field '{}'", self.field.name())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        if self.field.is_map() {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        }
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self.element())? {
            values.push(value.ok_or_else(|| self.element().refuse::<A::Error>("null"))?);
        }
        Ok(Some(Value::List(values)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Kind::Message(entry) = self.field.kind() else {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self));
        };
        if !self.field.is_map() {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self));
        }
        let name = self.field.name();
        let key_kind = entry.map_entry_key_field().kind();
        let element = ValueSeed {
            name,
            kind: entry.map_entry_value_field().kind(),
        };
        let mut entries = HashMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let key = map_key(&key, &key_kind).ok_or_else(|| {
                A::Error::custom(format!("invalid key '{key}' in field '{name}'"))
            })?;
            let value = map.next_value_seed(element.clone())?;
            let value = value.ok_or_else(|| element.refuse::<A::Error>("null"))?;
            if entries.insert(key, value).is_some() {
                return Err(A::Error::custom(format!(
                    "a key is given twice in field '{name}'"
                )));
            }
        }
        Ok(Some(Value::Map(entries)))
    }
}

fn find_field(message: &DynamicMessage, key: &str) -> Result<FieldDescriptor, String> {
    let descriptor = message.descriptor();
    let field = descriptor.get_field_by_name(key);
    field
        .or_else(|| descriptor.get_field_by_json_name(key))
        .ok_or_else(|| {
            let names = descriptor.fields().map(|field| field.name().to_owned());
            let hint = suggest::nearest(key, names)
                .map(|name| format!(", did you mean '{name}'?"))
                .unwrap_or_default();
            format!("unknown field '{key}' in {}{hint}", descriptor.name())
        })
}

fn check_oneof(message: &DynamicMessage, field: &FieldDescriptor) -> Result<(), String> {
    let Some(oneof) = field.containing_oneof() else {
        return Ok(());
    };
    match oneof.fields().find(|other| message.has_field(other)) {
        None => Ok(()),
        Some(other) => Err(format!(
            "field '{}' is given along with '{}', only one '{}' is allowed",
            field.name(),
            other.name(),
            oneof.name()
        )),
    }
}

fn map_key(key: &str, kind: &Kind) -> Option<MapKey> {
    Scalar::String(key).value(kind)?.into_map_key()
}

fn expectation(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::Float | Kind::Double => "a number".to_owned(),
        Kind::String | Kind::Bytes => "a string".to_owned(),
        Kind::Message(_) => "an object".to_owned(),
        Kind::Enum(descriptor) => format!("one of {}", enum_names(descriptor)),
        _ => "an integer in range".to_owned(),
    }
}

fn enum_names(descriptor: &EnumDescriptor) -> String {
    let names: Vec<_> = descriptor
        .values()
        .map(|value| value.name().to_owned())
        .collect();
    names.join(", ")
}
