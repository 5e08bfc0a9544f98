// SPDX-License-Identifier: Apache-2.0
use tritongw_protocol::pb;
use tritongw_types::ErrorCode;

use super::{parse, print};
use crate::{NormalizeOptions, normalize, text};

const GOLDEN_TEXT: &str = include_str!("../../testdata/golden_model_config.pbtxt");
const GOLDEN_JSON: &str = include_str!("../../testdata/golden_model_config.json");

fn from_text(text: &str) -> pb::ModelConfig {
    text::parse("config.pbtxt", text).expect("valid text")
}

fn golden() -> pb::ModelConfig {
    let mut config = from_text(GOLDEN_TEXT);
    config.name = "m".to_owned();
    crate::guess_backend(&mut config, "m", &["model.py"]).expect("python");
    normalize(&mut config, &NormalizeOptions::default()).expect("no GPU is asked for");
    config
}

#[test]
fn the_golden_configuration_prints_byte_for_byte() {
    assert_eq!(print(&golden()), GOLDEN_JSON.trim_end());
}

#[test]
fn the_golden_json_reads_back() {
    assert_eq!(parse(GOLDEN_JSON).expect("valid JSON"), golden());
}

#[test]
fn an_empty_configuration_is_an_empty_text() {
    assert_eq!(print(&pb::ModelConfig::default()), "");
}

#[test]
fn sub_messages_are_printed_where_they_are_set_and_scalars_always() {
    let json = print(&from_text("name: 'm'"));
    assert_eq!(
        json,
        r#"{"name":"m","platform":"","backend":"","runtime":"","max_batch_size":0,"input":[],"#
            .to_owned()
            + r#""output":[],"batch_input":[],"batch_output":[],"instance_group":[],"#
            + r#""default_model_filename":"","cc_model_filenames":{},"metric_tags":{},"#
            + r#""parameters":{},"model_warmup":[]}"#
    );
}

/// Returns what is printed for one field of the configuration.
fn printed(text: &str, field: &str) -> serde_json::Value {
    let json: serde_json::Value = serde_json::from_str(&print(&from_text(text))).expect("JSON");
    json[field].clone()
}

#[test]
fn of_the_schedulers_only_the_chosen_one_is_printed() {
    let json = print(&from_text("dynamic_batching { }"));
    assert!(json.contains(
        r#""dynamic_batching":{"preferred_batch_size":[],"max_queue_delay_microseconds":0,"preserve_ordering":false,"priority_levels":0,"default_priority_level":0,"priority_queue_policy":{}}"#
    ));
    assert!(!json.contains("sequence_batching") && !json.contains("ensemble_scheduling"));
}

#[test]
fn numbers_of_64_bits_are_numbers_with_three_exceptions() {
    let text = "dynamic_batching {
        max_queue_delay_microseconds: 18446744073709551615
        priority_levels: 3
        default_queue_policy { default_timeout_microseconds: 7 }
        priority_queue_policy { key: 2 value { default_timeout_microseconds: 9 } }
    }";
    let batching = printed(text, "dynamic_batching");
    assert_eq!(
        batching["max_queue_delay_microseconds"].as_u64(),
        Some(u64::MAX)
    );
    assert_eq!(batching["priority_levels"].as_u64(), Some(3));
    assert_eq!(
        batching["default_queue_policy"]["default_timeout_microseconds"].as_u64(),
        Some(7)
    );
    let level = &batching["priority_queue_policy"]["2"];
    assert_eq!(level["default_timeout_microseconds"].as_u64(), Some(9));

    let group = printed(
        "instance_group { secondary_devices { device_id: 3 } }",
        "instance_group",
    );
    assert_eq!(
        group[0]["secondary_devices"][0]["device_id"].as_str(),
        Some("3")
    );
    let sequence = printed(
        "sequence_batching { state { dims: -1 initial_state { dims: 4 } } }",
        "sequence_batching",
    );
    assert_eq!(sequence["state"][0]["dims"][0].as_i64(), Some(-1));
    assert_eq!(
        sequence["state"][0]["initial_state"][0]["dims"][0].as_str(),
        Some("4")
    );
    let optimization = printed(
        "optimization { cuda { graph_spec { input { key: 'I' value { dim: 5 } } } } }",
        "optimization",
    );
    let shape = &optimization["cuda"]["graph_spec"][0]["input"]["I"];
    assert_eq!(shape["dim"][0].as_str(), Some("5"));
}

#[test]
fn an_empty_reshape_is_kept() {
    let input = printed("input { reshape { } }", "input");
    assert_eq!(input[0]["reshape"], serde_json::json!({ "shape": [] }));
    assert!(printed("input { }", "input")[0].get("reshape").is_none());
}

#[test]
fn strings_are_escaped_as_json_demands() {
    let json = print(&from_text(r#"name: "a\"\\/\n\t\001\x7f\u00e9\U0001F600""#));
    assert!(
        json.starts_with("{\"name\":\"a\\\"\\\\/\\n\\t\\u0001\x7f\u{e9}\u{1f600}\",\"platform\"")
    );
}

#[test]
fn map_entries_are_printed_by_ascending_key() {
    let text = "metric_tags { key: 'b' value: '2' } metric_tags { key: 'a' value: '1' }";
    assert!(print(&from_text(text)).contains(r#""metric_tags":{"a":"1","b":"2"}"#));
}

#[test]
fn reading_is_lenient_where_protobuf_is() {
    let config = parse(
        r#"{ "maxBatchSize": "8", "input": [ { "name": "I", "data_type": "type_fp32",
             "dims": [ "4", 2, 3.0, 1e2 ] } ], "instance_group": [ { "kind": 2, "count": null } ],
             "optimization": null, "parameters": { "k": { "string_value": "v" } },
             "dynamic_batching": { "priority_queue_policy": { "1": { } } } }"#,
    )
    .expect("valid JSON");
    assert_eq!(
        config,
        from_text(
            "max_batch_size: 8 input { name: 'I' data_type: TYPE_FP32 dims: [4, 2, 3, 100] }
             instance_group { kind: KIND_CPU } parameters { key: 'k' value { string_value: 'v' } }
             dynamic_batching { priority_queue_policy { key: 1 value { } } }"
        )
    );
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    let table = [
        (
            "{\n  \"max_batchsize\": 8\n}",
            "unknown field 'max_batchsize' in ModelConfig, did you mean 'max_batch_size'? at line \
             2 column 17",
        ),
        (
            r#"{"name": "a", "name": "b"}"#,
            "field 'name' is given more than once at line 1 column 20",
        ),
        (
            r#"{"max_batch_size": "x"}"#,
            "invalid value 'x' for field 'max_batch_size', expected an integer in range at line 1 \
             column 22",
        ),
        (
            r#"{"max_batch_size": 2147483648}"#,
            "invalid value 2147483648 for field 'max_batch_size', expected an integer in range at \
             line 1 column 29",
        ),
        (
            r#"{"max_batch_size": 1.5}"#,
            "invalid value 1.5 for field 'max_batch_size', expected an integer in range at line 1 \
             column 22",
        ),
        (
            r#"{"name": true}"#,
            "invalid value true for field 'name', expected a string at line 1 column 13",
        ),
        (
            r#"{"name": []}"#,
            "invalid value for field 'name', expected a string, got an array at line 1 column 11",
        ),
        (
            r#"{"input": {}}"#,
            "invalid type: map, expected an array for field 'input' at line 1 column 12",
        ),
        (
            r#"{"input": [null]}"#,
            "invalid value for field 'input', expected an object, got null at line 1 column 16",
        ),
        (
            r#"{"instance_group": [{"kind": "KIND_TPU"}]}"#,
            "invalid value 'KIND_TPU' for field 'kind', expected one of KIND_AUTO, KIND_GPU, \
             KIND_CPU, KIND_MODEL at line 1 column 39",
        ),
        (
            r#"{"dynamic_batching": {}, "sequence_batching": {}}"#,
            "field 'sequence_batching' is given along with 'dynamic_batching', only one \
             'scheduling_choice' is allowed at line 1 column 49",
        ),
        (
            r#"{"dynamic_batching": {"priority_queue_policy": {"x": {}}}}"#,
            "invalid key 'x' in field 'priority_queue_policy' at line 1 column 51",
        ),
        (
            "[]",
            "invalid value for field 'model configuration', expected an object, got an array at line 1 column 2",
        ),
        ("null", "the model configuration is not a JSON object"),
        ("{} {}", "trailing characters at line 1 column 4"),
        ("{", "EOF while parsing an object at line 1 column 1"),
    ];
    for (json, expected) in table {
        let error = parse(json).expect_err(json);
        assert_eq!(error.code(), ErrorCode::InvalidArg, "{json}");
        assert_eq!(error.message(), expected, "{json}");
    }
}
