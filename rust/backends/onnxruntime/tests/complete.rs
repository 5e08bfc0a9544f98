// SPDX-License-Identifier: Apache-2.0
//! Auto-completion from the graph (M114, B014).

mod support;

use serde_json::{Value, json};
use support::{Fixture, Repository, as_ints, backend, call, ints, serve, settings};

/// Serves a test model without any configuration.
fn bare(file: &str) -> Fixture {
    Repository::new().file("m", file).serve()
}

fn config(fixture: &Fixture) -> Value {
    let model = fixture.server.model("m", None).expect("loaded");
    serde_json::from_str(&model.config().to_json()).expect("JSON")
}

/// Returns the dimensions of an input or output; JSON may hold them as texts.
fn dims(io: &Value) -> Vec<i64> {
    let number = |dim: &Value| {
        dim.as_str()
            .map_or_else(|| dim.as_i64(), |text| text.parse().ok())
    };
    let dims = io["dims"].as_array().expect("dims");
    dims.iter()
        .map(|dim| number(dim).expect("a number"))
        .collect()
}

#[test]
fn a_model_that_can_batch_needs_no_configuration() {
    let fixture = bare("add_sub.onnx");
    let completed = config(&fixture);
    assert_eq!(completed["backend"], "onnxruntime");
    assert_eq!(completed["max_batch_size"], 4);
    assert!(completed["dynamic_batching"].is_object());
    assert_eq!(completed["input"][1]["name"], "INPUT1");
    assert_eq!(completed["input"][1]["data_type"], "TYPE_INT32");
    assert_eq!(dims(&completed["input"][1]), [16]);
    assert_eq!(completed["output"][0]["name"], "OUTPUT0");
    let inputs = vec![
        ints("INPUT0", &[4, 16], &[1; 64]),
        ints("INPUT1", &[4, 16], &[2; 64]),
    ];
    let outputs = fixture.infer(&call(inputs)).expect("valid");
    assert_eq!(as_ints(&outputs[0]), [3; 64]);
}

#[test]
fn the_default_batch_size_is_a_setting() {
    for (text, expected, is_dynamic) in [("16", 16, true), ("1", 1, false)] {
        let options = settings(&[("default-max-batch-size", text)]);
        let repository = Repository::new().file("m", "add_sub.onnx");
        let completed = config(&repository.serve_with(options, backend()));
        assert_eq!(completed["max_batch_size"], expected);
        assert_eq!(completed["dynamic_batching"].is_object(), is_dynamic);
    }
}

#[test]
fn a_batch_dimension_that_is_the_whole_shape_becomes_a_reshape() {
    let completed = config(&bare("dynamic.onnx"));
    let sum = &completed["output"][1];
    assert_eq!((sum["name"].as_str(), dims(sum)), (Some("SUM"), vec![1]));
    assert_eq!(sum["reshape"]["shape"], json!([]));
    assert_eq!(dims(&completed["output"][0]), [-1]);
}

#[test]
fn scalars_and_fixed_shapes_mean_no_batches() {
    let completed = config(&bare("scalar.onnx"));
    assert_eq!(completed["max_batch_size"], 0);
    assert_eq!(dims(&completed["input"][0]), [1]);
    assert!(completed.get("dynamic_batching").is_none_or(Value::is_null));
    let completed = config(&bare("pass_through.onnx"));
    assert_eq!(completed["max_batch_size"], 0);
    assert_eq!(dims(&completed["input"][0]), [4]);
}

#[test]
fn what_is_given_stays() {
    let given = r#"
        max_batch_size: 2
        input [
          { name: "INPUT0" data_type: TYPE_INT32 dims: [ 4, 4 ] reshape { shape: [ 16 ] } },
          { name: "INPUT1" data_type: TYPE_INT32 dims: [ 16 ] }
        ]
    "#;
    let completed = config(&serve("add_sub.onnx", given));
    assert_eq!(completed["max_batch_size"], 2);
    assert_eq!(dims(&completed["input"][0]), [4, 4]);
    assert_eq!(dims(&completed["output"][1]), [16]);
    assert!(completed["dynamic_batching"].is_object());
}

#[test]
fn a_batch_size_for_a_graph_that_cannot_batch_has_tritons_text() {
    let fixture = serve("pass_through.onnx", "max_batch_size: 4");
    assert_eq!(
        fixture.reason(),
        "Invalid argument: autofill failed for model 'm': model does not support batching while \
         non-zero max_batch_size is specified"
    );
}

#[test]
fn with_inputs_and_outputs_given_nothing_is_completed() {
    let completed = config(&serve("add_sub.onnx", support::ADD_SUB));
    assert_eq!(completed["max_batch_size"], 8);
    assert!(completed.get("dynamic_batching").is_none_or(Value::is_null));
}
