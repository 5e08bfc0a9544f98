// SPDX-License-Identifier: Apache-2.0
//! Requests of different shapes in one batch, without padding (M031, M040-M046).

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use support::{Call, Fixture, as_floats, as_ints, call, floats, serve, tensor};
use tritongw_engine::OutputTensor;
use tritongw_types::{DataType, ErrorCode};

/// Configuration of `ragged.onnx`.
const RAGGED: &str = r#"
max_batch_size: 16
input [ { name: "X" data_type: TYPE_FP32 dims: [ -1, -1 ] allow_ragged_batch: true } ]
output [
  { name: "DOUBLED" data_type: TYPE_FP32 dims: [ -1, -1 ] },
  { name: "TOTAL" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } },
  { name: "FACTS" data_type: TYPE_INT32 dims: [ -1 ] }
]
batch_input [
  { kind: BATCH_ELEMENT_COUNT target_name: "COUNT" data_type: TYPE_FP32 source_input: "X" },
  { kind: BATCH_ACCUMULATED_ELEMENT_COUNT target_name: "ENDS" data_type: TYPE_INT32
    source_input: "X" },
  { kind: BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO target_name: "STARTS" data_type: TYPE_INT32
    source_input: "X" },
  { kind: BATCH_MAX_ELEMENT_COUNT_AS_SHAPE target_name: "LARGEST" data_type: TYPE_FP32
    source_input: "X" },
  { kind: BATCH_ITEM_SHAPE target_name: "SHAPES" data_type: TYPE_INT32 source_input: "X" },
  { kind: BATCH_ITEM_SHAPE_FLATTEN target_name: "FLAT" data_type: TYPE_INT32 source_input: "X" }
]
batch_output [
  { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "DOUBLED" source_input: "X" }
]
instance_group [ { kind: KIND_CPU count: 1 } ]
dynamic_batching { }
"#;

/// A request of one item, of this shape, that counts up from `start`.
fn item(shape: [i64; 2], start: u16) -> Call {
    call(vec![floats(
        "X",
        &[1, shape[0], shape[1]],
        &values(shape, start),
    )])
}

/// Small whole numbers, so that sums are exact in any order.
fn values(shape: [i64; 2], start: u16) -> Vec<f32> {
    let count = u16::try_from(shape[0] * shape[1]).expect("small");
    (start..start + count).map(f32::from).collect()
}

fn output<'a>(outputs: &'a [OutputTensor], name: &str) -> &'a OutputTensor {
    let found = outputs.iter().find(|output| output.name == name);
    found.expect("every output is asked for")
}

#[test]
fn requests_lie_end_to_end_and_the_model_knows_where_each_is() {
    let fixture = serve("ragged.onnx", RAGGED);
    let answers = fixture.infer_together(&[
        item([2, 3], 1),
        item([1, 1], 50),
        item([0, 4], 0),
        item([4, 2], 7),
    ]);
    let facts = [
        // Count, end, start, the largest count, the shape twice.
        [6, 6, 0, 8, 2, 3, 2, 3],
        [1, 7, 6, 8, 1, 1, 1, 1],
        [0, 7, 7, 8, 0, 4, 0, 4],
        [8, 15, 7, 8, 4, 2, 4, 2],
    ];
    for (answer, expected) in answers.iter().zip(facts) {
        let outputs = answer.as_ref().expect("valid");
        assert_eq!(as_ints(output(outputs, "FACTS")), expected);
    }
    let statistics = fixture.statistics();
    assert_eq!(statistics.execution_count, 1);
    assert_eq!(statistics.batches[&4].compute_infer.count, 1);
}

#[test]
fn a_request_alone_is_a_batch_of_one() {
    let fixture = serve("ragged.onnx", RAGGED);
    let outputs = fixture.infer(&item([2, 2], 3)).expect("valid");
    assert_eq!(&output(&outputs, "DOUBLED").shape[..], [1, 2, 2]);
    assert_eq!(
        as_floats(output(&outputs, "DOUBLED")),
        [6.0, 8.0, 10.0, 12.0]
    );
    assert_eq!(as_floats(output(&outputs, "TOTAL")), [18.0]);
    assert_eq!(as_ints(output(&outputs, "FACTS")), [4, 4, 0, 4, 2, 2, 2, 2]);
}

#[test]
fn requests_that_want_other_outputs_move_no_ones_part() {
    let fixture = serve("ragged.onnx", RAGGED);
    let answers = fixture.infer_together(&[
        item([1, 3], 1).wanting(&["TOTAL"]),
        item([2, 1], 10).wanting(&["DOUBLED"]),
    ]);
    let outputs = |index: usize| answers[index].as_ref().expect("valid");
    assert_eq!(outputs(0).len(), 1);
    assert_eq!(as_floats(&outputs(0)[0]), [6.0]);
    assert_eq!(&outputs(1)[0].shape[..], [1, 2, 1]);
    assert_eq!(as_floats(&outputs(1)[0]), [20.0, 22.0]);
}

#[test]
fn strings_lie_end_to_end_too() {
    let config = r#"
        max_batch_size: 8
        input [ { name: "IN" data_type: TYPE_STRING dims: [ -1 ] allow_ragged_batch: true } ]
        output [ { name: "OUT" data_type: TYPE_STRING dims: [ -1 ] } ]
        batch_output [ { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "OUT"
                         source_input: "IN" } ]
        instance_group [ { kind: KIND_CPU count: 1 } ]
        dynamic_batching { }
    "#;
    let fixture = serve("flat_strings.onnx", config);
    let texts: [&[&[u8]]; 3] = [&[b"a", b"bc"], &[], &[b"", b"def", b"g"]];
    let calls = texts.map(|texts| {
        let shape = [1, i64::try_from(texts.len()).expect("small")];
        call(vec![tensor(
            "IN",
            DataType::Bytes,
            &shape,
            support::encode(texts),
        )])
    });
    for (answer, texts) in fixture.infer_together(&calls).iter().zip(texts) {
        let outputs = answer.as_ref().expect("valid");
        assert_eq!(support::data(&outputs[0]), support::encode(texts));
    }
    assert_eq!(fixture.statistics().execution_count, 1);
}

#[test]
fn an_output_with_too_few_elements_to_divide_is_a_clear_error() {
    let config = RAGGED
        .replace(
            r#"name: "TOTAL" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] }"#,
            r#"name: "TOTAL" data_type: TYPE_FP32 dims: [ -1, -1 ]"#,
        )
        .replace(
            r#"target_name: "DOUBLED""#,
            r#"target_name: [ "DOUBLED", "TOTAL" ]"#,
        );
    let fixture = serve("ragged.onnx", &config);
    for answer in fixture.infer_together(&[item([2, 2], 0), item([1, 1], 0)]) {
        let error = answer.expect_err("two sums are no five elements");
        assert_eq!(error.code(), ErrorCode::Internal);
        assert_eq!(
            error.message(),
            "model 'm', output 'TOTAL': the model gave 2 elements, which are too few for the \
             shapes of input 'X' in the batch"
        );
    }
}

#[test]
fn configurations_that_the_graph_cannot_meet_are_refused() {
    let cases = [
        (
            RAGGED.replace(
                "dims: [ -1, -1 ] allow_ragged_batch: true",
                "dims: [ -1, -1 ]",
            ),
            "Invalid argument: model 'm', tensor 'X': the model expects 1 dimensions (shape [-1]) \
             but the model configuration specifies 3 dimensions (an initial batch dimension \
             because max_batch_size > 0 followed by the explicit tensor shape, making complete \
             shape [-1,-1,-1])",
        ),
        (
            RAGGED.replace(r#"target_name: "COUNT""#, r#"target_name: "OTHER""#),
            "Invalid argument: unexpected inference input 'OTHER', allowed inputs are: COUNT, \
             ENDS, FLAT, LARGEST, SHAPES, STARTS, X",
        ),
        (
            RAGGED.replace(
                r#"target_name: "ENDS" data_type: TYPE_INT32"#,
                r#"target_name: "ENDS" data_type: TYPE_FP32"#,
            ),
            "Invalid argument: unable to load model 'm', configuration expects datatype TYPE_FP32 \
             for batch input 'ENDS', model provides TYPE_INT32",
        ),
        (
            RAGGED.replace("BATCH_ITEM_SHAPE_FLATTEN", "BATCH_ITEM_SHAPE"),
            "Invalid argument: model 'm', tensor 'FLAT': the model expects 1 dimensions (shape \
             [-1]) but the batch input has 2",
        ),
        (
            RAGGED.replace(
                r#"name: "DOUBLED" data_type: TYPE_FP32 dims: [ -1, -1 ]"#,
                r#"name: "DOUBLED" data_type: TYPE_FP32 dims: [ 1, 1, -1 ]"#,
            ),
            "Invalid argument: unable to load model 'm', batch output 'DOUBLED' with shape \
             [-1,1,1,-1] has a variable dimension where source input 'X' with shape [-1,-1,-1] \
             has none",
        ),
    ];
    for (config, expected) in cases {
        assert_eq!(serve("ragged.onnx", &config).reason(), expected);
    }
    let flat = ",\n  { kind: BATCH_ITEM_SHAPE_FLATTEN target_name: \"FLAT\" data_type: TYPE_INT32 \
                source_input: \"X\" }";
    let without = RAGGED.replace(flat, "");
    assert_eq!(
        serve("ragged.onnx", &without).reason(),
        "Invalid argument: unable to load model 'm', configuration expects 6 inputs, model \
         provides 7"
    );
    let ragged = support::DYNAMIC.replace(
        "dims: [ -1 ] } ]\noutput",
        "dims: [ -1 ] allow_ragged_batch: true } ]\noutput",
    );
    assert_eq!(
        serve("dynamic.onnx", &ragged).reason(),
        "Invalid argument: unable to load model 'm', configuration expects model provides input \
         with shape [-1]  for ragged input 'X', model provides [-1,-1]"
    );
}

fn assert_together_as_alone(fixture: &Fixture, items: &[([i64; 2], u16)]) {
    let calls: Vec<_> = items
        .iter()
        .map(|&(shape, start)| item(shape, start))
        .collect();
    for (&(shape, start), answer) in items.iter().zip(fixture.infer_together(&calls)) {
        let outputs = answer.expect("valid");
        let doubled = output(&outputs, "DOUBLED");
        assert_eq!(&doubled.shape[..], [1, shape[0], shape[1]]);
        let values = values(shape, start);
        let expected: Vec<f32> = values.iter().map(|value| value * 2.0).collect();
        assert_eq!(as_floats(doubled), expected);
        assert_eq!(
            as_floats(output(&outputs, "TOTAL")),
            [values.iter().sum::<f32>()]
        );
    }
}

#[test]
fn requests_of_any_shapes_get_what_they_would_get_alone() {
    let fixture = serve("ragged.onnx", RAGGED);
    let item = (
        (0..=5_i64, 0..=5_i64).prop_map(|(a, b)| [a, b]),
        0..1000_u16,
    );
    proptest!(ProptestConfig::with_cases(64), |(items in vec(item, 1..12))| {
        assert_together_as_alone(&fixture, &items);
    });
    let largest = fixture.statistics().batches.keys().max().copied();
    assert!(largest > Some(4), "batches did form: {largest:?}");
}
