// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use tritongw_protocol::pb;
use tritongw_types::{Error, ErrorCode};

use super::parse;

fn read(text: &str) -> pb::ModelConfig {
    parse("m/config.pbtxt", text).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

fn errors(text: &str) -> String {
    parse("m/config.pbtxt", text).expect_err(text).to_string()
}

fn name(text: &str) -> String {
    read(text).name
}

fn dims(text: &str) -> Vec<i64> {
    read(&format!("input {{ {text} }}")).input.remove(0).dims
}

#[test]
fn an_empty_text_is_an_empty_configuration() {
    for text in ["", " \n\t\r\x0b\x0c", "# only a comment", "\u{feff}"] {
        assert_eq!(read(text), pb::ModelConfig::default(), "{text:?}");
    }
}

#[test]
fn comments_end_with_their_line() {
    assert_eq!(name("# first\nname: 'm' # last\n# end"), "m");
    assert_eq!(name("name # what\n: # is\n'#m' # it"), "#m");
}

#[test]
fn fields_are_parted_by_anything_or_nothing() {
    for separator in [" ", "\n", ",", ";", ", ", " ; ", "#\n"] {
        let text = format!("name: 'm'{separator}max_batch_size: 4{separator}");
        let config = read(&text);
        assert_eq!(
            (config.name.as_str(), config.max_batch_size),
            ("m", 4),
            "{text}"
        );
    }
    assert_eq!(read("max_batch_size:4 name:'m'input{}").name, "m");
}

#[test]
fn messages_stand_in_braces_or_angle_brackets_with_or_without_colon() {
    for text in [
        "input { name: 'I' }",
        "input: { name: 'I' }",
        "input < name: 'I' >",
        "input:<name:'I'>",
    ] {
        assert_eq!(read(text).input[0].name, "I", "{text}");
    }
}

#[test]
fn lists_hold_scalars_or_messages() {
    for text in [
        "dims: [ 1, 2 ]",
        "dims: [1,2]",
        "dims: 1 dims: 2",
        "dims: [1] dims: [2]",
        "dims: [] dims: [1, 2];",
    ] {
        assert_eq!(dims(text), [1, 2], "{text}");
    }
    for text in [
        "input [ { name: 'A' }, { name: 'B' } ]",
        "input: [ { name: 'A' }, < name: 'B' > ]",
        "input { name: 'A' } input { name: 'B' }",
        "input [{name:'A'}] input [] input {name:'B'}",
    ] {
        let names: Vec<_> = read(text)
            .input
            .into_iter()
            .map(|input| input.name)
            .collect();
        assert_eq!(names, ["A", "B"], "{text}");
    }
}

#[test]
fn strings_have_either_quote_and_are_joined() {
    assert_eq!(name(r#"name: "it's""#), "it's");
    assert_eq!(name(r#"name: 'say "m"'"#), "say \"m\"");
    assert_eq!(name("name: 'a' \"b\"\n 'c' # and\n 'd'"), "abcd");
    assert_eq!(name("name: \"mod\u{e8}le\""), "mod\u{e8}le");
}

#[test]
fn every_escape_is_understood() {
    assert_eq!(
        name(r#"name: "\a\b\f\n\r\t\v\?\\\'\"""#),
        "\x07\x08\x0c\n\r\t\x0b?\\'\""
    );
    assert_eq!(name(r"name: '\101\0601\7'"), "A01\x07");
    assert_eq!(name(r"name: '\x41\X4a\x9'"), "AJ\t");
    assert_eq!(
        name(r"name: '\u00e9\U0001F600\ud83d\ude00'"),
        "\u{e9}\u{1f600}\u{1f600}"
    );
    assert_eq!(name(r"name: '\303' '\xA9'"), "\u{e9}");
}

#[test]
fn integers_are_decimal_octal_or_hexadecimal() {
    assert_eq!(
        dims("dims: [ 10, 0x1F, 0X1f, 017, 0 ]"),
        [10, 31, 31, 15, 0]
    );
    assert_eq!(
        dims("dims: [ -1, - 1, -0x10, - # minus\n 2, -0 ]"),
        [-1, -1, -16, -2, 0]
    );
    assert_eq!(
        dims("dims: [ 9223372036854775807, -9223372036854775808 ]"),
        [i64::MAX, i64::MIN]
    );
    assert_eq!(read("max_batch_size: -2147483648").max_batch_size, i32::MIN);
}

#[test]
fn floats_have_every_form() {
    let text = "sequence_batching { control_input { control { fp32_false_true: [
        1, 1.5, .5, 2., 1e3, 1.5E-2, 1e+2, 1f, 1.5F, -2.5, inf, -Infinity, NaN ] } } }";
    let Some(pb::model_config::SchedulingChoice::SequenceBatching(batching)) =
        read(text).scheduling_choice
    else {
        panic!("sequence batching was chosen");
    };
    let values = &batching.control_input[0].control[0].fp32_false_true;
    let expected = [
        1.0,
        1.5,
        0.5,
        2.0,
        1000.0,
        0.015,
        100.0,
        1.0,
        1.5,
        -2.5,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ];
    assert_eq!(values[..12], expected);
    assert!(values[12].is_nan());
}

#[test]
fn booleans_have_every_form() {
    let is_optional = |text: &str| read(&format!("input {{ optional: {text} }}")).input[0].optional;
    for text in ["true", "True", "t", "1", "0x1", "01"] {
        assert!(is_optional(text), "{text}");
    }
    for text in ["false", "False", "f", "0", "0x0"] {
        assert!(!is_optional(text), "{text}");
    }
}

#[test]
fn enum_values_have_a_name_or_a_number() {
    for text in ["TYPE_FP32", "11", "0xb", "013"] {
        let config = read(&format!("input {{ data_type: {text} }}"));
        assert_eq!(
            config.input[0].data_type(),
            pb::DataType::TypeFp32,
            "{text}"
        );
    }
}

#[test]
fn maps_are_repeated_entries_and_the_last_of_a_key_wins() {
    let config = read(
        "metric_tags { key: 'a' value: '1' } metric_tags [ { value: '2' key: 'b' }, { key: 'a' value: '3' } ]
         metric_tags { value: 'empty key' } metric_tags { key: 'empty value' }",
    );
    let expected = [
        ("", "empty key"),
        ("a", "3"),
        ("b", "2"),
        ("empty value", ""),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(config.metric_tags, BTreeMap::from(expected));
    let config = read("parameters: { key: 'k' value: { string_value: 'v' } }");
    assert_eq!(config.parameters["k"].string_value, "v");
}

#[test]
fn an_empty_message_is_present() {
    assert!(read("input { reshape { } }").input[0].reshape.is_some());
    assert!(read("dynamic_batching { }").scheduling_choice.is_some());
}

#[test]
fn unknown_fields_are_named_with_the_nearest_known_one() {
    let table = [
        (
            "name: 'm'\n  max_batchsize: 4",
            "m/config.pbtxt:2:3: unknown field 'max_batchsize' in ModelConfig, did you mean \
             'max_batch_size'?",
        ),
        (
            "input { dtype: TYPE_FP32 }",
            "m/config.pbtxt:1:9: unknown field 'dtype' in ModelInput",
        ),
        (
            "maxBatchSize: 1",
            "m/config.pbtxt:1:1: unknown field 'maxBatchSize' in ModelConfig, did you mean 'max_batch_size'?",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(errors(text), expected);
    }
}

#[test]
fn reading_goes_on_after_a_fault_of_meaning() {
    let expected = [
        "m/config.pbtxt:1:1: unknown field 'foo' in ModelConfig",
        "m/config.pbtxt:1:29: unknown field 'bar' in ModelConfig",
        "m/config.pbtxt:2:1: unknown field 'qux' in ModelConfig",
        "m/config.pbtxt:2:12: unknown field 'zap' in ModelConfig",
        "m/config.pbtxt:3:7: expected a string in quotes for 'name', got '5'",
        "m/config.pbtxt:3:9: expected a field name, got \"tail\"",
    ];
    let text = "foo: [1, {a: 'x' b <c: 2>}] bar { baz: '}' }\n\
                qux: -inf; zap: 'a' 'b',\n\
                name: 5 \"tail\": 1";
    assert_eq!(errors(text).lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_value_of_the_wrong_type_is_told_with_the_right_one() {
    let table = [
        (
            "max_batch_size: 'four'",
            "1:17: expected an integer (int32) for 'max_batch_size', got 'four'",
        ),
        (
            "max_batch_size: 1.5",
            "1:17: expected an integer (int32) for 'max_batch_size', got '1.5'",
        ),
        (
            "max_batch_size: 2147483648",
            "1:17: expected an integer (int32) for 'max_batch_size', got '2147483648'",
        ),
        (
            "max_batch_size: 08",
            "1:17: expected an integer (int32) for 'max_batch_size', got '08'",
        ),
        (
            "max_batch_size: { }",
            "1:17: expected an integer (int32) for 'max_batch_size', got '{'",
        ),
        (
            "model_warmup { batch_size: -1 }",
            "1:28: expected an integer of zero or more (uint32) for 'batch_size', got '-1'",
        ),
        (
            "dynamic_batching { max_queue_delay_microseconds: 18446744073709551616 }",
            "1:50: expected an integer of zero or more (uint64) for 'max_queue_delay_microseconds', got '18446744073709551616'",
        ),
        (
            "name: m",
            "1:7: expected a string in quotes for 'name', got 'm'",
        ),
        ("name: '\\xff'", "1:7: the string of 'name' is not UTF-8"),
        (
            "input { optional: yes }",
            "1:19: expected true or false for 'optional', got 'yes'",
        ),
        (
            "input { optional: 2 }",
            "1:19: expected true or false for 'optional', got '2'",
        ),
        (
            "input { optional: -1 }",
            "1:19: expected true or false for 'optional', got '-1'",
        ),
        (
            "input { data_type: TYPE_FP23 }",
            "1:20: expected a value of DataType for 'data_type', got 'TYPE_FP23', did you mean TYPE_FP32?",
        ),
        (
            "input { data_type: 'TYPE_FP32' }",
            "1:20: expected a value of DataType for 'data_type', got 'TYPE_FP32', did you mean TYPE_FP32?",
        ),
        (
            "instance_group { kind: type_cpu }",
            "1:24: expected a value of Kind for 'kind', got 'type_cpu', there are KIND_AUTO, KIND_GPU, KIND_CPU, KIND_MODEL",
        ),
        ("input: 5", "1:8: expected '{' to begin 'input', got '5'"),
        (
            "sequence_batching { direct { minimum_slot_utilization: 0x1 } }",
            "1:56: expected a number for 'minimum_slot_utilization', got '0x1'",
        ),
        (
            "sequence_batching { direct { minimum_slot_utilization: 010 } }",
            "1:56: expected a number for 'minimum_slot_utilization', got '010'",
        ),
        (
            "sequence_batching { direct { minimum_slot_utilization: half } }",
            "1:56: expected a number for 'minimum_slot_utilization', got 'half'",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(errors(text), format!("m/config.pbtxt:{expected}"), "{text}");
    }
}

#[test]
fn a_fault_of_form_ends_the_reading() {
    let table = [
        ("name 'm'", "1:6: expected ':' after 'name', got 'm'"),
        (
            "input { dims [1] }",
            "1:14: expected ':' after 'dims', got '['",
        ),
        (
            "input { name: 'I'",
            "1:18: expected a field name or '}', got the end of the file",
        ),
        (
            "input { name: 'I' >",
            "1:19: expected a field name or '}', got '>'",
        ),
        ("name: 'm' }", "1:11: expected a field name, got '}'"),
        (
            "name:",
            "1:6: expected a string in quotes for 'name', got the end of the file",
        ),
        (
            "name: 'm',, max_batch_size: 1",
            "1:11: expected a field name, got ','",
        ),
        (
            "input { dims: [1,] }",
            "1:18: expected an integer (int64) for 'dims', got ']'",
        ),
        (
            "input { dims: [1 2] }",
            "1:18: expected ',' or ']', got '2'",
        ),
        ("input [ { } { } ]", "1:13: expected ',' or ']', got '{'"),
        ("max_batch_size: 1.2.3", "1:17: '1.2.3' is no number"),
        ("max_batch_size: 1abc", "1:17: '1abc' is no number"),
        ("max_batch_size: 0x", "1:17: '0x' is no number"),
        ("max_batch_size: 1e+", "1:17: '1e' is no number"),
        (
            "name: 'm",
            "1:7: the string has no closing quote on its line",
        ),
        (
            "name: 'm\n'",
            "1:7: the string has no closing quote on its line",
        ),
        ("name: 'a\\q'", "1:9: '\\q' is no valid escape"),
        ("name: '\\x'", "1:8: '\\x' is no valid escape"),
        ("name: '\\400'", "1:8: '\\4' is no valid escape"),
        ("name: '\\ud83d'", "1:8: '\\u' is no valid escape"),
        ("name: '\\U00110000'", "1:8: '\\U' is no valid escape"),
        ("name: @", "1:7: unexpected character '@'"),
        ("name: 'm'\0", "1:10: unexpected character '\\0'"),
        (
            "[ext.field]: 1",
            "1:1: extensions and Any are not part of a model configuration",
        ),
        ("foo: [ }", "1:8: expected a value, got '}'"),
        ("foo: {", "1:7: expected a value, got the end of the file"),
        ("\u{e9}: 1", "1:1: unexpected character '\u{e9}'"),
        (
            "# caf\u{e9}\n\tname: '\u{e9}' @",
            "2:12: unexpected character '@'",
        ),
    ];
    for (text, expected) in table {
        let errors = errors(text);
        let last = errors.lines().last().unwrap_or_default();
        assert_eq!(last, format!("m/config.pbtxt:{expected}"), "{text}");
    }
}

#[test]
fn a_single_field_is_given_once() {
    let table = [
        (
            "name: 'a' name: 'b'",
            "1:11: 'name' is given more than once",
        ),
        (
            "optimization { } optimization { }",
            "1:18: 'optimization' is given more than once",
        ),
        (
            "dynamic_batching { } sequence_batching { }",
            "1:22: 'sequence_batching' is given along with 'dynamic_batching', only one \
             'scheduling_choice' is allowed",
        ),
        (
            "model_warmup { inputs { key: 'I' value { zero_data: true random_data: true } } }",
            "1:58: 'random_data' is given along with 'zero_data', only one 'input_data_type' is \
             allowed",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(errors(text), format!("m/config.pbtxt:{expected}"), "{text}");
    }
    assert_eq!(
        read("max_batch_size: 0 max_batch_size: 8").max_batch_size,
        8
    );
}

#[test]
fn depth_and_number_of_faults_are_bounded() {
    let deep = format!("foo {}", "{ a ".repeat(200_000));
    assert!(errors(&deep).ends_with("expected a value, got the end of the file"));
    assert_eq!(errors(&"foo: 1\n".repeat(1000)).lines().count(), 20);
}

#[test]
fn the_error_begins_with_tritons_sentence() {
    let error = Error::from(parse("m/config.pbtxt", "foo: 1").expect_err("unknown field"));
    assert_eq!(error.code(), ErrorCode::Internal);
    assert_eq!(
        error.message(),
        "failed to read text proto from m/config.pbtxt: m/config.pbtxt:1:1: unknown field 'foo' \
         in ModelConfig"
    );
}
