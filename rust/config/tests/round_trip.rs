// SPDX-License-Identifier: Apache-2.0
//! Any configuration, written in any style, reads back as itself.

use proptest::prelude::*;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};
use tritongw_config::{json, text};
use tritongw_protocol::{FILE_DESCRIPTOR_SET, pb};

proptest! {
    #[test]
    fn text_reads_back(content in choices(400), style in choices(400)) {
        let message = Choices::new(content).message(&descriptor());
        let written = Writer { style: Choices::new(style), text: String::new() }.document(&message);
        let config: pb::ModelConfig = message.transcode_to().expect("the same schema");
        match text::parse("config.pbtxt", &written) {
            Ok(read) => prop_assert_eq!(read, config, "{}", written),
            Err(errors) => prop_assert!(false, "{}\n{}", errors, written),
        }
    }

    #[test]
    fn json_reads_back(content in choices(400)) {
        let message = Choices::new(content).message(&descriptor());
        let config: pb::ModelConfig = message.transcode_to().expect("the same schema");
        let printed = json::print(&config);
        if !printed.is_empty() {
            prop_assert_eq!(json::parse(&printed).expect("our own JSON"), config, "{}", printed);
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[-a-z_0-9.{}<>\\[\\]:;,'\"\\\\# \nFe+]{0,60}") {
        drop(text::parse("config.pbtxt", &text));
    }

    #[test]
    fn no_cut_makes_the_reader_panic(at in 0_usize..1210) {
        let golden = include_str!("../testdata/golden_model_config.pbtxt");
        drop(text::parse("config.pbtxt", golden.get(..at).unwrap_or_default()));
    }
}

fn descriptor() -> MessageDescriptor {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the generated descriptors");
    pool.get_message_by_name("inference.ModelConfig")
        .expect("it is among them")
}

fn choices(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

/// Random bytes, each a choice; zero after the last, which always chooses the simplest.
struct Choices(std::vec::IntoIter<u8>);

impl Choices {
    fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into_iter())
    }

    fn next(&mut self) -> u8 {
        self.0.next().unwrap_or(0)
    }

    fn below(&mut self, limit: u8) -> u8 {
        self.next() % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.next()) % from.len()]
    }

    fn message(&mut self, descriptor: &MessageDescriptor) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            if self.below(4) == 0 {
                continue;
            }
            let oneof = field.containing_oneof();
            if oneof.is_some_and(|oneof| oneof.fields().any(|other| message.has_field(&other))) {
                continue;
            }
            let value = self.field(&field);
            message.set_field(&field, value);
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        let count = self.below(3);
        if field.is_map() {
            let kind = field.kind();
            let entry = kind.as_message().expect("entries are messages");
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            let entries = (0..count).filter_map(|_| {
                Some((
                    self.value(&key.kind()).into_map_key()?,
                    self.value(&value.kind()),
                ))
            });
            Value::Map(entries.collect())
        } else if field.is_list() {
            Value::List((0..count).map(|_| self.value(&field.kind())).collect())
        } else {
            self.value(&field.kind())
        }
    }

    fn value(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Bool => Value::Bool(self.below(2) == 1),
            Kind::Int32 => Value::I32(self.pick(&[0, 1, -1, 8, i32::MAX, i32::MIN])),
            Kind::Int64 => Value::I64(self.pick(&[0, 1, -1, 8, i64::MAX, i64::MIN])),
            Kind::Uint32 => Value::U32(self.pick(&[0, 1, 8, u32::MAX])),
            Kind::Uint64 => Value::U64(self.pick(&[0, 1, 8, u64::MAX])),
            Kind::Float => Value::F32(self.pick(&[
                0.0,
                1.0,
                -0.5,
                0.1,
                1e-7,
                3.4e38,
                16_777_216.0,
                f32::MIN_POSITIVE,
                f32::INFINITY,
                f32::NEG_INFINITY,
            ])),
            Kind::Double => {
                Value::F64(self.pick(&[0.0, 1.0, 0.1, -1e300, 5e-324, 123.456, f64::INFINITY]))
            }
            Kind::Enum(descriptor) => {
                let numbers: Vec<i32> = descriptor.values().map(|value| value.number()).collect();
                Value::EnumNumber(self.pick(&numbers))
            }
            Kind::String => {
                let letters = [
                    'a',
                    '"',
                    '\'',
                    '\\',
                    '\n',
                    '\0',
                    '7',
                    '#',
                    '\u{e9}',
                    '\u{1f600}',
                ];
                Value::String((0..self.below(6)).map(|_| self.pick(&letters)).collect())
            }
            Kind::Message(descriptor) => Value::Message(self.message(descriptor)),
            other => panic!("a model configuration has no {other:?}"),
        }
    }
}

/// Writes text format in a style of many choices.
struct Writer {
    style: Choices,
    text: String,
}

impl Writer {
    fn document(mut self, message: &DynamicMessage) -> String {
        self.fields(message);
        self.text
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn blank(&mut self) {
        let blank = self
            .style
            .pick(&[" ", "\n", "\t \r\n", " # it's {a: comment}\n", "\x0c\x0b"]);
        self.put(blank);
    }

    fn fields(&mut self, message: &DynamicMessage) {
        for (field, value) in message.fields() {
            match value {
                Value::Map(entries) => {
                    let entries = entries.iter().map(|(key, value)| entry(&field, key, value));
                    self.repeated(&field, &entries.collect::<Vec<_>>());
                }
                Value::List(values) => self.repeated(&field, values),
                value => self.single(&field, value),
            }
        }
    }

    fn repeated(&mut self, field: &FieldDescriptor, values: &[Value]) {
        if self.style.below(2) == 0 {
            for value in values {
                self.single(field, value);
            }
            return;
        }
        self.name(field);
        self.put("[");
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.blank();
                self.put(",");
            }
            self.value(field, value);
        }
        self.put("]");
        self.end();
    }

    fn single(&mut self, field: &FieldDescriptor, value: &Value) {
        self.name(field);
        self.value(field, value);
        self.end();
    }

    fn name(&mut self, field: &FieldDescriptor) {
        self.put(field.name());
        let may_go_without = matches!(field.kind(), Kind::Message(_));
        let colon = self.style.pick(&[":", " :", ": "]);
        let colon = if may_go_without && self.style.below(2) == 0 {
            " "
        } else {
            colon
        };
        self.put(colon);
        self.blank();
    }

    fn end(&mut self) {
        let separator = self.style.pick(&["", ",", ";"]);
        self.put(separator);
        self.blank();
    }

    fn value(&mut self, field: &FieldDescriptor, value: &Value) {
        match value {
            Value::Bool(true) => self.choose(&["true", "True", "t", "1", "0x1"]),
            Value::Bool(false) => self.choose(&["false", "False", "f", "0", "00"]),
            Value::I32(value) => self.integer((*value).into()),
            Value::I64(value) => self.integer((*value).into()),
            Value::U32(value) => self.integer((*value).into()),
            Value::U64(value) => self.integer((*value).into()),
            Value::F32(value) => self.put(&format!("{value:e}")),
            Value::F64(value) => self.put(&format!("{value}")),
            Value::EnumNumber(number) => self.enum_value(field, *number),
            Value::String(value) => self.string(value),
            Value::Message(message) => {
                let (open, close) = self.style.pick(&[("{", "}"), ("<", ">")]);
                self.put(open);
                self.blank();
                self.fields(message);
                self.put(close);
            }
            other => panic!("a model configuration has no {other:?}"),
        }
    }

    fn choose(&mut self, forms: &[&str]) {
        let form = self.style.pick(forms);
        self.put(form);
    }

    fn integer(&mut self, value: i128) {
        if value < 0 {
            self.choose(&["-", "- ", "- # negative\n"]);
        }
        let magnitude = value.unsigned_abs();
        let form = match self.style.below(3) {
            0 => format!("{magnitude}"),
            1 => format!("0x{magnitude:X}"),
            _ => format!("0{magnitude:o}"),
        };
        self.put(&form);
    }

    fn enum_value(&mut self, field: &FieldDescriptor, number: i32) {
        let kind = field.kind();
        let value = kind
            .as_enum()
            .and_then(|descriptor| descriptor.get_value(number));
        match value {
            Some(value) if self.style.below(2) == 0 => self.put(value.name()),
            _ => self.integer(number.into()),
        }
    }

    fn string(&mut self, value: &str) {
        let quote = self.style.pick(&["\"", "'"]);
        self.put(quote);
        for c in value.chars() {
            if self.style.below(8) == 7 {
                self.put(quote);
                self.blank();
                self.put(quote);
            }
            let form = match self.style.below(4) {
                _ if c == '\0' => "\\000".to_owned(),
                0 if c.is_alphanumeric() => c.to_string(),
                1 if u32::from(c) > 0xffff => format!("\\U{:08x}", u32::from(c)),
                1 => format!("\\u{:04X}", u32::from(c)),
                2 => c
                    .to_string()
                    .bytes()
                    .map(|b| format!("\\x{b:02x}"))
                    .collect(),
                _ => c
                    .to_string()
                    .bytes()
                    .map(|b| format!("\\{b:03o}"))
                    .collect(),
            };
            self.put(&form);
        }
        self.put(quote);
    }
}

fn entry(field: &FieldDescriptor, key: &MapKey, value: &Value) -> Value {
    let kind = field.kind();
    let descriptor = kind.as_message().expect("entries are messages").clone();
    let mut entry = DynamicMessage::new(descriptor.clone());
    entry.set_field(&descriptor.map_entry_key_field(), key.clone().into());
    entry.set_field(&descriptor.map_entry_value_field(), value.clone());
    Value::Message(entry)
}
