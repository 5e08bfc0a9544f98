// SPDX-License-Identifier: Apache-2.0
use std::collections::HashMap;
use std::fmt::Write;

use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};
use tritongw_protocol::pb;

use super::number;
use crate::descriptor;

/// 64-bit fields that Triton prints as strings, as protobuf does, and not as numbers. Backends
/// read them so.
const PRINTED_AS_STRINGS: [&str; 3] = [
    "inference.ModelOptimizationPolicy.Cuda.GraphSpec.Shape.dim",
    "inference.ModelSequenceBatching.InitialState.dims",
    "inference.ModelInstanceGroup.SecondaryDevice.device_id",
];

/// Prints the canonical JSON of a configuration, byte for byte as Triton does.
///
/// Fields stand in the order of their declaration, scalar members of a oneof after them; scalars,
/// lists and maps are printed even where they are unset. An empty configuration is an empty text.
pub fn print(config: &pb::ModelConfig) -> String {
    let mut json = String::new();
    if config.encoded_len() > 0 {
        Printer { json: &mut json }.message(&descriptor::to_dynamic(config));
    }
    json
}

struct Printer<'a> {
    json: &'a mut String,
}

impl Printer<'_> {
    fn message(&mut self, message: &DynamicMessage) {
        let descriptor = message.descriptor();
        let is_scalar_choice = |field: &FieldDescriptor| {
            field.containing_oneof().is_some() && !matches!(field.kind(), Kind::Message(_))
        };
        let declared = descriptor.descriptor_proto().field.iter();
        let fields = declared.filter_map(|field| descriptor.get_field_by_name(field.name()));
        let (last, first): (Vec<_>, Vec<_>) = fields.partition(is_scalar_choice);
        let is_printed =
            |field: &FieldDescriptor| !field.supports_presence() || message.has_field(field);

        self.json.push('{');
        for (index, field) in first.into_iter().chain(last).filter(is_printed).enumerate() {
            self.separator(index);
            self.string(field.name());
            self.json.push(':');
            self.value(&field, &message.get_field(&field));
        }
        self.json.push('}');
    }

    fn value(&mut self, field: &FieldDescriptor, value: &Value) {
        match value {
            Value::List(values) => {
                self.json.push('[');
                for (index, value) in values.iter().enumerate() {
                    self.separator(index);
                    self.scalar(field, value);
                }
                self.json.push(']');
            }
            Value::Map(entries) => self.map(field, entries),
            value => self.scalar(field, value),
        }
    }

    /// Prints the entries by ascending key: Triton has no order, ours is stable.
    fn map(&mut self, field: &FieldDescriptor, entries: &HashMap<MapKey, Value>) {
        let Kind::Message(entry) = field.kind() else {
            return;
        };
        let field = entry.map_entry_value_field();
        let mut entries: Vec<_> = entries.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        self.json.push('{');
        for (index, (key, value)) in entries.into_iter().enumerate() {
            self.separator(index);
            match key {
                MapKey::Bool(key) => self.string(&key.to_string()),
                MapKey::I32(key) => self.string(&key.to_string()),
                MapKey::I64(key) => self.string(&key.to_string()),
                MapKey::U32(key) => self.string(&key.to_string()),
                MapKey::U64(key) => self.string(&key.to_string()),
                MapKey::String(key) => self.string(key),
            }
            self.json.push(':');
            self.scalar(&field, value);
        }
        self.json.push('}');
    }

    fn scalar(&mut self, field: &FieldDescriptor, value: &Value) {
        match value {
            Value::Bool(value) => self.display(value),
            Value::I32(value) => self.display(value),
            Value::U32(value) => self.display(value),
            Value::I64(value) if is_printed_as_string(field) => {
                self.display(format!("\"{value}\""))
            }
            Value::I64(value) => self.display(value),
            Value::U64(value) => self.display(value),
            Value::F32(value) => self.json.push_str(&number::from_f32(*value)),
            Value::F64(value) => self.json.push_str(&number::from_f64(*value)),
            Value::String(value) => self.string(value),
            Value::EnumNumber(number) => self.enum_value(field, *number),
            Value::Message(message) => self.message(message),
            Value::Bytes(_) | Value::List(_) | Value::Map(_) => {
                unreachable!("INVARIANT: a model configuration has no bytes and no nested lists")
            }
        }
    }

    fn enum_value(&mut self, field: &FieldDescriptor, number: i32) {
        let kind = field.kind();
        match kind
            .as_enum()
            .and_then(|descriptor| descriptor.get_value(number))
        {
            Some(value) => self.string(value.name()),
            None => self.display(number),
        }
    }

    fn string(&mut self, text: &str) {
        self.json.push('"');
        for c in text.chars() {
            match c {
                '"' => self.json.push_str("\\\""),
                '\\' => self.json.push_str("\\\\"),
                '\u{8}' => self.json.push_str("\\b"),
                '\u{c}' => self.json.push_str("\\f"),
                '\n' => self.json.push_str("\\n"),
                '\r' => self.json.push_str("\\r"),
                '\t' => self.json.push_str("\\t"),
                '\0'..='\u{1f}' => self.display(format!("\\u{:04X}", u32::from(c))),
                c => self.json.push(c),
            }
        }
        self.json.push('"');
    }

    fn separator(&mut self, index: usize) {
        if index > 0 {
            self.json.push(',');
        }
    }

    fn display(&mut self, value: impl std::fmt::Display) {
        write!(self.json, "{value}").expect("INVARIANT: writing to a String cannot fail");
    }
}

fn is_printed_as_string(field: &FieldDescriptor) -> bool {
    PRINTED_AS_STRINGS.contains(&field.full_name())
}
