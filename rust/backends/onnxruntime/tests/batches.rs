// SPDX-License-Identifier: Apache-2.0
//! Batches: every request gets what it would have got alone.

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use support::{
    ADD_SUB, Call, DYNAMIC, Fixture, as_floats, as_ints, call, data, encode, floats, ints, serve,
    tensor,
};
use tritongw_engine::OutputTensor;
use tritongw_engine::buffer::OutputBuffer;
use tritongw_types::{DataType, ErrorCode, Result};

fn batching(config: &str) -> String {
    format!("{config}\ndynamic_batching {{ }}")
}

fn add_sub_call(rows: usize, start: i32) -> Call {
    let count = i32::try_from(rows * 16).expect("small");
    let shape = [i64::try_from(rows).expect("small"), 16];
    let values: Vec<i32> = (start..start + count).collect();
    call(vec![
        ints("INPUT0", &shape, &values),
        ints("INPUT1", &shape, &vec![1; rows * 16]),
    ])
}

#[test]
fn requests_of_several_sizes_share_one_execution() {
    let fixture = serve("add_sub.onnx", &batching(ADD_SUB));
    let calls = [
        add_sub_call(1, 0),
        add_sub_call(3, 1000),
        add_sub_call(2, -5),
    ];
    let answers = fixture.infer_together(&calls);
    for (answer, (start, rows)) in answers.iter().zip([(0, 1), (1000, 3), (-5, 2)]) {
        let outputs = answer.as_ref().expect("valid");
        assert_eq!(&outputs[0].shape[..], [i64::from(rows), 16]);
        let expected: Vec<i32> = (start + 1..start + 1 + rows * 16).collect();
        assert_eq!(as_ints(&outputs[0]), expected);
    }
    let statistics = fixture.statistics();
    assert_eq!(
        (statistics.execution_count, statistics.inference_count),
        (1, 6)
    );
    assert_eq!(statistics.batches[&6].compute_infer.count, 1);
    assert_eq!(statistics.success.count, 3);
}

#[test]
fn outputs_of_a_batch_share_its_memory() {
    let fixture = serve("add_sub.onnx", &batching(ADD_SUB));
    let answers = fixture.infer_together(&[add_sub_call(1, 0), add_sub_call(1, 7)]);
    let output = |index: usize| &answers[index].as_ref().expect("valid")[0];
    let is_adopted =
        |output: &OutputTensor| matches!(output.buffer, Some(OutputBuffer::Adopted(_)));
    assert!(is_adopted(output(0)) && is_adopted(output(1)));
    let end = data(output(0)).as_ptr_range().end;
    assert_eq!(data(output(1)).as_ptr(), end, "slices of one tensor");
}

#[test]
fn each_request_of_a_batch_gets_the_outputs_it_asked_for() {
    let fixture = serve("add_sub.onnx", &batching(ADD_SUB));
    let calls = [
        add_sub_call(1, 0).wanting(&["OUTPUT1"]),
        add_sub_call(1, 50).wanting(&["OUTPUT0"]),
        add_sub_call(1, 100),
    ];
    let answers = fixture.infer_together(&calls);
    let names = |answer: &Result<Vec<OutputTensor>>| {
        let outputs = answer.as_ref().expect("valid");
        outputs
            .iter()
            .map(|output| output.name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        answers.iter().map(names).collect::<Vec<_>>(),
        [vec!["OUTPUT1"], vec!["OUTPUT0"], vec!["OUTPUT0", "OUTPUT1"],]
    );
    assert_eq!(as_ints(&answers[0].as_ref().expect("valid")[0])[0], -1);
    assert_eq!(as_ints(&answers[1].as_ref().expect("valid")[0])[0], 51);
    assert_eq!(fixture.statistics().execution_count, 1);
}

#[test]
fn an_output_without_batch_dimension_is_a_clear_error() {
    let config = r#"
        max_batch_size: 4
        input [ { name: "X" data_type: TYPE_FP32 dims: [ 4 ] } ]
        output [ { name: "Y" data_type: TYPE_FP32 dims: [ 4 ] } ]
        instance_group [ { kind: KIND_CPU count: 1 } ]
        dynamic_batching { }
    "#;
    let fixture = serve("no_batch_output.onnx", config);
    let one = || call(vec![floats("X", &[1, 4], &[1.0; 4])]);
    let answers = fixture.infer_together(&[one(), one()]);
    for answer in answers {
        let error = answer.expect_err("the batch cannot be divided");
        assert_eq!(error.code(), ErrorCode::Internal);
        assert_eq!(
            error.message(),
            "model 'm', output 'Y': the model gave shape [1,4] for batch size 2: with \
             max_batch_size > 0 the first dimension of every output must be the batch size"
        );
    }
    let two_rows = call(vec![floats("X", &[2, 4], &[1.0; 8])]);
    assert_eq!(
        fixture.infer(&two_rows).expect_err("as above").code(),
        ErrorCode::Internal
    );
    let outputs = fixture
        .infer(&one())
        .expect("a batch of one needs no division");
    assert_eq!(as_floats(&outputs[0]), [1.0; 4]);
}

#[derive(Clone, Debug)]
struct Rows {
    rows: usize,
    columns: usize,
    seed: u32,
}

fn rows() -> impl Strategy<Value = Rows> {
    (1..=4_usize, 0..=3_usize, any::<u32>()).prop_map(|(rows, columns, seed)| Rows {
        rows,
        columns,
        seed,
    })
}

impl Rows {
    fn shape(&self) -> [i64; 2] {
        [self.rows, self.columns].map(|dim| i64::try_from(dim).expect("small"))
    }

    /// Small whole numbers, so that sums are exact in any order.
    fn numbers(&self) -> impl Iterator<Item = u16> {
        let count = u32::try_from(self.rows * self.columns).expect("small");
        let seed = self.seed;
        (0..count).map(move |i| (seed.wrapping_mul(31).wrapping_add(i * 7) % 1000) as u16)
    }

    fn floats(&self) -> Call {
        let values: Vec<f32> = self.numbers().map(f32::from).collect();
        call(vec![floats("X", &self.shape(), &values)])
    }

    fn strings(&self) -> Call {
        let texts: Vec<String> = self
            .numbers()
            .map(|n| "x".repeat(usize::from(n % 9)))
            .collect();
        let texts: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        let data = encode(&texts);
        let mut call = call(vec![tensor(
            "in_string",
            DataType::Bytes,
            &self.shape(),
            data,
        )]);
        for (name, data_type) in [("in_fp16", DataType::Fp16), ("in_bool", DataType::Bool)] {
            let size = data_type.element_size().expect("fixed");
            let data = self
                .numbers()
                .flat_map(|n| vec![u8::from(n % 2 == 0); size])
                .collect();
            call.inputs
                .push(tensor(name, data_type, &self.shape(), data));
        }
        call
    }
}

fn assert_together_as_alone(fixture: &Fixture, calls: &[Call]) {
    let together = fixture.infer_together(calls);
    assert_eq!(together.len(), calls.len());
    for (call, answer) in calls.iter().zip(together) {
        let alone = fixture.infer(call).expect("valid alone");
        let together = answer.expect("valid together");
        assert_eq!(alone.len(), together.len());
        for (alone, together) in alone.iter().zip(&together) {
            assert_eq!(alone.name, together.name);
            assert_eq!(alone.shape, together.shape);
            assert_eq!(data(alone), data(together), "{}", alone.name);
        }
    }
}

const STRINGS: &str = r#"
max_batch_size: 16
input [
  { name: "in_string" data_type: TYPE_STRING dims: [ -1 ] },
  { name: "in_fp16" data_type: TYPE_FP16 dims: [ -1 ] },
  { name: "in_bool" data_type: TYPE_BOOL dims: [ -1 ] }
]
output [
  { name: "out_string" data_type: TYPE_STRING dims: [ -1 ] },
  { name: "out_fp16" data_type: TYPE_FP16 dims: [ -1 ] },
  { name: "out_bool" data_type: TYPE_BOOL dims: [ -1 ] }
]
instance_group [ { kind: KIND_CPU count: 1 } ]
dynamic_batching { }
"#;

#[test]
fn batches_of_any_sizes_and_shapes_answer_as_single_requests_do() {
    let numbers = serve("dynamic.onnx", DYNAMIC);
    let strings = serve("identity_some.onnx", STRINGS);
    proptest!(ProptestConfig::with_cases(64), |(batch in vec(rows(), 1..12))| {
        assert_together_as_alone(&numbers, &batch.iter().map(Rows::floats).collect::<Vec<_>>());
        assert_together_as_alone(&strings, &batch.iter().map(Rows::strings).collect::<Vec<_>>());
    });
    let largest = numbers.statistics().batches.keys().max().copied();
    assert!(largest > Some(4), "batches did form: {largest:?}");
}
