// SPDX-License-Identifier: Apache-2.0
//! Single requests: results, and where they lie.

mod support;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::smallvec;
use support::{
    ADD_SUB, DYNAMIC, as_floats, as_ints, call, data, encode, floats, ints, longs, serve, tensor,
};
use tritongw_engine::buffer::{InputBuffer, OutputBuffer, ResponseAllocator};
use tritongw_engine::{InputTensor, OutputTensor};
use tritongw_types::{CName, DataType, ErrorCode, MemoryLocation, Result};

fn add_sub_inputs() -> Vec<InputTensor> {
    let ramp: Vec<i32> = (0..16).collect();
    vec![
        ints("INPUT0", &[1, 16], &ramp),
        ints("INPUT1", &[1, 16], &[100; 16]),
    ]
}

#[test]
fn adds_and_subtracts() {
    let fixture = serve("add_sub.onnx", ADD_SUB);
    let outputs = fixture.infer(&call(add_sub_inputs())).expect("valid");
    assert_eq!(outputs.len(), 2);
    assert_eq!(
        (outputs[0].name.as_str(), &outputs[0].shape[..]),
        ("OUTPUT0", &[1, 16][..])
    );
    assert_eq!(as_ints(&outputs[0]), (100..116).collect::<Vec<_>>());
    assert_eq!(as_ints(&outputs[1]), (-100..-84).collect::<Vec<_>>());
    let statistics = fixture.statistics();
    assert_eq!(
        (statistics.success.count, statistics.execution_count),
        (1, 1)
    );
    assert!(statistics.compute_infer.ns > 0);
    assert_eq!(statistics.batches[&1].compute_infer.count, 1);
}

#[test]
fn only_requested_outputs_are_given() {
    let fixture = serve("add_sub.onnx", ADD_SUB);
    let outputs = fixture
        .infer(&call(add_sub_inputs()).wanting(&["OUTPUT1"]))
        .expect("valid");
    assert_eq!(outputs.len(), 1);
    assert_eq!(as_ints(&outputs[0])[0], -100);
}

#[test]
fn an_execution_that_fails_has_tritons_text_and_harms_no_other() {
    let config = r#"
        input [ { name: "INDEX" data_type: TYPE_INT64 dims: [ 2 ] } ]
        output [ { name: "Y" data_type: TYPE_FP32 dims: [ 2 ] } ]
        instance_group [ { kind: KIND_CPU count: 1 } ]
    "#;
    let fixture = serve("gather.onnx", config);
    for _ in 0..2 {
        let error = fixture
            .infer(&call(vec![longs("INDEX", &[2], &[9, 0])]))
            .expect_err("out of range");
        assert_eq!(error.code(), ErrorCode::Internal);
        let message = error.message();
        assert!(message.starts_with("onnx runtime error 2: "), "{message}");
        assert!(
            message.contains("indices element out of data bounds"),
            "{message}"
        );
        let outputs = fixture
            .infer(&call(vec![longs("INDEX", &[2], &[1, 2])]))
            .expect("valid");
        assert_eq!(as_floats(&outputs[0]), [1.0, 2.0]);
    }
    assert_eq!(fixture.statistics().failures[2].count, 2);
}

const TYPES: [(&str, DataType, &str); 12] = [
    ("bool", DataType::Bool, "TYPE_BOOL"),
    ("uint8", DataType::Uint8, "TYPE_UINT8"),
    ("uint16", DataType::Uint16, "TYPE_UINT16"),
    ("uint32", DataType::Uint32, "TYPE_UINT32"),
    ("uint64", DataType::Uint64, "TYPE_UINT64"),
    ("int8", DataType::Int8, "TYPE_INT8"),
    ("int16", DataType::Int16, "TYPE_INT16"),
    ("int32", DataType::Int32, "TYPE_INT32"),
    ("int64", DataType::Int64, "TYPE_INT64"),
    ("fp16", DataType::Fp16, "TYPE_FP16"),
    ("fp32", DataType::Fp32, "TYPE_FP32"),
    ("fp64", DataType::Fp64, "TYPE_FP64"),
];

/// Bytes that every type can hold.
fn pattern(data_type: DataType, elements: usize) -> Vec<u8> {
    let size = data_type.element_size().expect("not of strings");
    (0..elements * size)
        .map(|i| u8::try_from(i % 2).expect("0 or 1"))
        .collect()
}

fn identity_config() -> String {
    let types = TYPES.iter().map(|(name, _, config)| (*name, *config));
    let types = types.chain([("string", "TYPE_STRING")]);
    let ios = |direction: &str| {
        let io = |(name, data_type)| {
            format!("{{ name: \"{direction}_{name}\" data_type: {data_type} dims: [ -1 ] }}")
        };
        types.clone().map(io).collect::<Vec<_>>().join(",")
    };
    format!(
        "max_batch_size: 4 input [ {} ] output [ {} ]",
        ios("in"),
        ios("out")
    )
}

fn addresses(input: &InputTensor) -> Vec<usize> {
    let address = |piece: &InputBuffer| piece.as_host().map(|data| data.as_ptr().addr());
    input.data.iter().filter_map(address).collect()
}

#[test]
fn every_data_type_passes_whole_unaligned_or_in_pieces() {
    let fixture = serve("identity.onnx", &identity_config());
    let strings: [&[u8]; 4] = [b"", b"one\0two", "drei \u{20ac}".as_bytes(), &[0xff, 0xfe]];
    let whole = |data: Vec<u8>| smallvec![InputBuffer::Host(Bytes::from(data))];
    let unaligned = |data: Vec<u8>| {
        let shifted = Bytes::from([&[0][..], &data].concat());
        smallvec![InputBuffer::Host(shifted.slice(1..))]
    };
    let in_pieces = |data: Vec<u8>| {
        let data = Bytes::from(data);
        smallvec![
            InputBuffer::Host(data.slice(..3)),
            InputBuffer::Host(data.slice(3..))
        ]
    };
    let arrangements: [&dyn Fn(Vec<u8>) -> _; 3] = [&whole, &unaligned, &in_pieces];
    for arrange in arrangements {
        let mut inputs: Vec<_> = TYPES
            .iter()
            .map(|&(name, data_type, _)| {
                let mut input = tensor(&format!("in_{name}"), data_type, &[2, 2], Vec::new());
                input.data = arrange(pattern(data_type, 4));
                input
            })
            .collect();
        let mut input = tensor("in_string", DataType::Bytes, &[2, 2], Vec::new());
        input.data = arrange(encode(&strings));
        inputs.push(input);
        let sent: Vec<_> = inputs.iter().flat_map(addresses).collect();
        let outputs = fixture.infer(&call(inputs)).expect("valid");
        let is_sent = |output: &OutputTensor| sent.contains(&data(output).as_ptr().addr());
        assert!(
            !outputs.iter().any(is_sent),
            "no output keeps an input's memory"
        );
        assert_eq!(outputs.len(), 13);
        for (name, data_type, _) in TYPES {
            let output = outputs
                .iter()
                .find(|output| output.name == *format!("out_{name}"));
            let output = output.expect("all outputs are given");
            assert_eq!(
                (output.data_type, &output.shape[..]),
                (data_type, &[2, 2][..])
            );
            assert_eq!(data(output), pattern(data_type, 4), "{name}");
        }
        let output = outputs
            .iter()
            .find(|output| output.name == *"out_string")
            .expect("given");
        assert_eq!(data(output), encode(&strings));
    }
}

#[test]
fn empty_tensors_pass() {
    let fixture = serve("dynamic.onnx", DYNAMIC);
    let outputs = fixture
        .infer(&call(vec![floats("X", &[2, 0], &[])]))
        .expect("valid");
    assert_eq!(&outputs[0].shape[..], [2, 0]);
    assert_eq!(as_floats(&outputs[1]), [0.0, 0.0]);
}

#[test]
fn scalars_are_one_element_vectors_to_clients() {
    let config = r#"
        input [ { name: "X" data_type: TYPE_FP32 dims: [ 1 ] } ]
        output [ { name: "Y" data_type: TYPE_FP32 dims: [ 1 ] } ]
    "#;
    let fixture = serve("scalar.onnx", config);
    let outputs = fixture
        .infer(&call(vec![floats("X", &[1], &[41.0])]))
        .expect("valid");
    assert_eq!(&outputs[0].shape[..], [1]);
    assert_eq!(as_floats(&outputs[0]), [42.0]);
}

#[test]
fn reshapes_lie_between_client_and_graph() {
    let config = r#"
        max_batch_size: 8
        input [
          { name: "INPUT0" data_type: TYPE_INT32 dims: [ 4, 4 ] reshape { shape: [ 16 ] } },
          { name: "INPUT1" data_type: TYPE_INT32 dims: [ 2, 8 ] reshape { shape: [ 16 ] } }
        ]
        output [
          { name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 8, 2 ] reshape { shape: [ 16 ] } },
          { name: "OUTPUT1" data_type: TYPE_INT32 dims: [ 16 ] }
        ]
    "#;
    let fixture = serve("add_sub.onnx", config);
    let ramp: Vec<i32> = (0..16).collect();
    let inputs = vec![
        ints("INPUT0", &[1, 4, 4], &ramp),
        ints("INPUT1", &[1, 2, 8], &ramp),
    ];
    let outputs = fixture.infer(&call(inputs)).expect("valid");
    assert_eq!(&outputs[0].shape[..], [1, 8, 2]);
    assert_eq!(
        as_ints(&outputs[0]),
        (0..16).map(|i| 2 * i).collect::<Vec<_>>()
    );
    assert_eq!(&outputs[1].shape[..], [1, 16]);
}

#[test]
fn an_initializer_is_an_optional_input() {
    let config = r#"
        input [
          { name: "X" data_type: TYPE_FP32 dims: [ -1 ] },
          { name: "FACTOR" data_type: TYPE_FP32 dims: [ 1 ] optional: true }
        ]
        output [ { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] } ]
    "#;
    let fixture = serve("optional.onnx", config);
    let x = floats("X", &[2], &[1.0, 2.0]);
    let outputs = fixture.infer(&call(vec![x.clone()])).expect("valid");
    assert_eq!(as_floats(&outputs[0]), [10.0, 20.0]);
    let factor = floats("FACTOR", &[1], &[3.0]);
    let outputs = fixture.infer(&call(vec![factor, x])).expect("valid");
    assert_eq!(as_floats(&outputs[0]), [3.0, 6.0]);
}

#[test]
fn a_graph_that_tells_wrong_shapes_is_served_all_the_same() {
    let config = r#"
        input [
          { name: "X" data_type: TYPE_FP32 dims: [ -1 ] },
          { name: "SHAPE" data_type: TYPE_INT64 dims: [ 1 ] }
        ]
        output [ { name: "Y" data_type: TYPE_FP32 dims: [ 3 ] } ]
    "#;
    let fixture = serve("wrong_shape.onnx", config);
    for expected_allocations in [1, 0] {
        let allocator = Arc::new(RecordingAllocator {
            adopts: true,
            ..Default::default()
        });
        let recorded = Arc::<RecordingAllocator>::clone(&allocator);
        let inputs = vec![floats("X", &[2], &[1.0, 2.0]), longs("SHAPE", &[1], &[4])];
        let outputs = fixture.infer_into(&call(inputs), recorded).expect("valid");
        assert_eq!(&outputs[0].shape[..], [4]);
        assert_eq!(as_floats(&outputs[0]), [1.0, 2.0, 1.0, 2.0]);
        let allocations = allocator.given.lock().len();
        assert_eq!(allocations, expected_allocations, "believed once only");
    }
}

#[test]
fn an_output_that_is_an_input_is_a_copy() {
    let config = r#"
        input [ { name: "X" data_type: TYPE_FP32 dims: [ 4 ] } ]
        output [
          { name: "X" data_type: TYPE_FP32 dims: [ 4 ] },
          { name: "Y" data_type: TYPE_FP32 dims: [ 4 ] }
        ]
    "#;
    let fixture = serve("pass_through.onnx", config);
    let input = floats("X", &[4], &[1.0, 2.0, 3.0, 4.0]);
    let address = input.data[0].as_host().expect("host memory").as_ptr();
    let outputs = fixture.infer(&call(vec![input])).expect("valid");
    assert_eq!(as_floats(&outputs[0]), [1.0, 2.0, 3.0, 4.0]);
    assert_ne!(data(&outputs[0]).as_ptr(), address);
    assert_eq!(as_floats(&outputs[1]), [-1.0, -2.0, -3.0, -4.0]);
}

/// Gives heap memory, and remembers what it gave.
#[derive(Default)]
struct RecordingAllocator {
    given: Mutex<Vec<(String, usize)>>,
    adopts: bool,
}

impl ResponseAllocator for RecordingAllocator {
    fn allocate(&self, output: &CName, size: usize, _: MemoryLocation) -> Result<OutputBuffer> {
        let memory = vec![0_u8; size];
        self.given
            .lock()
            .push((output.to_string(), memory.as_ptr().addr()));
        Ok(OutputBuffer::Heap(memory))
    }

    fn adopt(&self, output: &CName, data: Bytes) -> Result<OutputBuffer> {
        if self.adopts {
            return Ok(OutputBuffer::Adopted(data));
        }
        let mut buffer = self.allocate(output, data.len(), MemoryLocation::CPU)?;
        buffer
            .as_mut_slice()
            .expect("heap memory")
            .copy_from_slice(&data);
        Ok(buffer)
    }
}

#[test]
fn outputs_of_known_shape_are_written_where_the_door_wants_them() {
    let fixture = serve("add_sub.onnx", ADD_SUB);
    // A door that would adopt ORT's memory: what it gets is its own all the same.
    let allocator = Arc::new(RecordingAllocator {
        adopts: true,
        ..Default::default()
    });
    let recorded = Arc::<RecordingAllocator>::clone(&allocator);
    let outputs = fixture
        .infer_into(&call(add_sub_inputs()), recorded)
        .expect("valid");
    let place = |output: &OutputTensor| (output.name.to_string(), data(output).as_ptr().addr());
    let written: Vec<_> = outputs.iter().map(place).collect();
    assert_eq!(
        *allocator.given.lock(),
        written,
        "allocated once each, and written there"
    );
    assert_eq!(as_ints(&outputs[0])[1], 101);
}

#[test]
fn outputs_of_unknown_shape_are_adopted_where_the_door_takes_them() {
    let fixture = serve("dynamic.onnx", DYNAMIC);
    let input = call(vec![floats("X", &[1, 3], &[1.0, 2.0, 3.0])]);
    for adopts in [true, false] {
        let allocator = Arc::new(RecordingAllocator {
            adopts,
            ..Default::default()
        });
        let outputs = fixture.infer_into(&input, Arc::<RecordingAllocator>::clone(&allocator));
        let outputs = outputs.expect("valid");
        assert_eq!(as_floats(&outputs[0]), [2.0, 4.0, 6.0]);
        assert_eq!(
            (&outputs[1].shape[..], as_floats(&outputs[1])),
            (&[1, 1][..], vec![6.0])
        );
        let is_adopted = matches!(outputs[0].buffer, Some(OutputBuffer::Adopted(_)));
        assert_eq!(is_adopted, adopts);
        assert_eq!(allocator.given.lock().is_empty(), adopts);
    }
}

#[test]
fn adopted_outputs_outlive_the_model() {
    let fixture = serve("dynamic.onnx", DYNAMIC);
    let outputs = fixture
        .infer(&call(vec![floats("X", &[1, 2], &[1.0, 2.0])]))
        .expect("valid");
    drop(fixture);
    assert_eq!(as_floats(&outputs[0]), [2.0, 4.0]);
}
