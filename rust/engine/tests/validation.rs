// SPDX-License-Identifier: Apache-2.0
//! The texts of rows P186-P195, word for word, and what passes.

mod support;

use bytes::Bytes;
use support::{Fixture, Script, serve};
use tritongw_engine::{InferenceRequest, InputTensor};
use tritongw_types::{DataType, ErrorCode, Shape};

const CONFIG: &str = r#"
backend: "scripted"
input [
  { name: "A" data_type: TYPE_FP32 dims: [ 4 ] },
  { name: "B" data_type: TYPE_STRING dims: [ -1 ] }
]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 4 ] } ]
"#;

struct Case<'a> {
    a: Option<(DataType, &'a [i64], usize)>,
    b: Option<(&'a [i64], &'a [u8])>,
    output: Option<&'a str>,
}

const GOOD: Case<'_> = Case {
    a: Some((DataType::Fp32, &[4], 16)),
    b: Some((&[1], b"\x01\0\0\0x")),
    output: None,
};

fn refusal(fixture: &Fixture, case: &Case<'_>) -> String {
    let mut request = InferenceRequest::new(fixture.server.model("m", None).expect("loaded"));
    if let Some((data_type, shape, bytes)) = case.a {
        let data = Bytes::from(vec![0; bytes]);
        let input = InputTensor::new("A", data_type, Shape::from_slice(shape), data);
        request.add_input(input).expect("the first A");
    }
    if let Some((shape, data)) = case.b {
        let data = Bytes::copy_from_slice(data);
        let input = InputTensor::new("B", DataType::Bytes, Shape::from_slice(shape), data);
        request.add_input(input).expect("the first B");
    }
    if let Some(output) = case.output {
        request
            .add_requested_output(output)
            .expect("the first output");
    }
    match fixture.send(request) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => {
            assert_eq!(error.code(), ErrorCode::InvalidArg);
            error.message().to_owned()
        }
    }
}

#[test]
fn refusals_have_tritons_texts() {
    let fixture = serve(Script::EchoInline, CONFIG);
    assert_eq!(refusal(&fixture, &GOOD), "accepted");
    let fp32 = DataType::Fp32;
    let cases = [
        (
            Case { a: None, ..GOOD },
            "[request id: <id_unknown>] expected 2 inputs but got 1 inputs for model 'm'. Got \
             input(s) ['B'], but missing required input(s) ['A']. Please provide all required \
             input(s).",
        ),
        (
            Case {
                output: Some("NOPE"),
                ..GOOD
            },
            "unexpected inference output 'NOPE' for model 'm'",
        ),
        (
            Case {
                a: Some((DataType::Int32, &[4], 16)),
                ..GOOD
            },
            "[request id: <id_unknown>] inference input 'A' data-type is 'INT32', but model 'm' \
             expects 'FP32'",
        ),
        (
            Case {
                a: Some((fp32, &[2, 2], 16)),
                ..GOOD
            },
            "[request id: <id_unknown>] unexpected shape for input 'A' for model 'm'. Expected \
             [4], got [2,2]. ",
        ),
        (
            Case {
                a: Some((fp32, &[-1], 16)),
                ..GOOD
            },
            "[request id: <id_unknown>] All input dimensions should be specified for input 'A' \
             for model 'm', got [-1]",
        ),
        (
            Case {
                a: Some((fp32, &[4], 20)),
                ..GOOD
            },
            "[request id: <id_unknown>] input byte size mismatch for input 'A' for model 'm'. \
             Expected 16, got 20",
        ),
        (
            Case {
                b: Some((&[2], b"\x01\0\0\0x")),
                ..GOOD
            },
            "[request id: <id_unknown>] expected 2 string elements for inference input 'B' for \
             model 'm', got 1",
        ),
        (
            Case {
                b: Some((&[1], b"\0\0\0\0\0\0\0\0")),
                ..GOOD
            },
            "[request id: <id_unknown>] unexpected number of string elements 2 for inference \
             input 'B' for model 'm', expecting 1",
        ),
        (
            Case {
                b: Some((&[1], b"\x01\0")),
                ..GOOD
            },
            "[request id: <id_unknown>] incomplete string length indicator for inference input \
             'B' for model 'm', expecting 4 bytes but only 2 bytes available. Please make sure \
             the string length indicator is in one buffer.",
        ),
        (
            Case {
                b: Some((&[1], b"\x01\0\0\0x\x05\0\0\0y")),
                ..GOOD
            },
            "[request id: <id_unknown>] unexpected number of string elements 2 for inference \
             input 'B' for model 'm', expecting 1",
        ),
        (
            Case {
                b: Some((&[2], b"\x05\0\0\0x")),
                ..GOOD
            },
            "[request id: <id_unknown>] expected 2 string elements for inference input 'B' for \
             model 'm', got 1",
        ),
        (
            Case {
                b: Some((&[1], b"\x05\0\0\0x")),
                ..GOOD
            },
            "incomplete string data for inference input 'B', expecting string of length 5 but only 1 \
             bytes available",
        ),
    ];
    for (case, expected) in cases {
        assert_eq!(refusal(&fixture, &case), expected);
    }
}

#[test]
fn sizes_that_overflow_are_refused() {
    let fixture = serve(
        Script::EchoInline,
        &CONFIG.replace("dims: [ 4 ]", "dims: [ -1, -1 ]"),
    );
    for dims in [[i64::MAX, 2], [i64::MAX, 1], [1 << 40, 1 << 40], [4, -7]] {
        let case = Case {
            a: Some((DataType::Fp32, &dims, 16)),
            ..GOOD
        };
        let text = refusal(&fixture, &case);
        assert!(text.starts_with("[request id: <id_unknown>] "), "{text}");
    }
}

#[test]
fn batch_rules_have_tritons_texts() {
    let config = CONFIG.replace("backend:", "max_batch_size: 2 backend:");
    let fixture = serve(Script::EchoInline, &config);
    let two: &[u8] = b"\x01\0\0\0x\x01\0\0\0y";
    let good = Case {
        a: Some((DataType::Fp32, &[2, 4], 32)),
        b: Some((&[2, 1], two)),
        output: None,
    };
    assert_eq!(refusal(&fixture, &good), "accepted");
    let with_a = |shape| Case {
        a: Some((DataType::Fp32, shape, 32)),
        ..good
    };
    assert_eq!(
        refusal(&fixture, &with_a(&[3, 4])),
        "[request id: <id_unknown>] input 'B' batch size does not match other inputs for 'm'"
    );
    assert_eq!(
        refusal(&fixture, &with_a(&[])),
        "[request id: <id_unknown>] input 'A' has no shape but model requires batch dimension for \
         'm'"
    );
    let three: &[u8] = b"\0\0\0\0\0\0\0\0\0\0\0\0";
    let too_many = Case {
        a: Some((DataType::Fp32, &[3, 4], 48)),
        b: Some((&[3, 1], three)),
        output: None,
    };
    assert_eq!(
        refusal(&fixture, &too_many),
        "[request id: <id_unknown>] inference request batch-size must be <= 2 for 'm'"
    );
    assert_eq!(
        refusal(&fixture, &with_a(&[2, 5])),
        "[request id: <id_unknown>] unexpected shape for input 'A' for model 'm'. Expected \
         [-1,4], got [2,5]. NOTE: Setting a non-zero max_batch_size in the model config requires \
         a batch dimension to be prepended to each input shape. If you want to specify the full \
         shape including the batch dim in your input dims config, try setting max_batch_size to \
         zero. See the model configuration docs for more info on max_batch_size."
    );
}

#[test]
fn the_backend_sees_the_reshaped_input_and_the_client_the_output_undone() {
    let config = r#"
backend: "scripted"
max_batch_size: 2
input [ { name: "IN" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } } ]
"#;
    let fixture = serve(Script::Manual, config);
    let reply = fixture
        .send(fixture.request("1", &[2, 1], &[1.0, 2.0]))
        .expect("valid");
    let execution = fixture.backend.next_execution();
    let input = execution.requests[0].input("IN").expect("there");
    assert_eq!(&input.shape[..], [2]);
    execution.echo();
    let response = reply.wait().response.expect("a response");
    assert_eq!(&response.outputs().next().expect("one").shape[..], [2, 1]);
}

#[test]
fn tensors_are_named_once_and_within_reason() {
    let fixture = serve(Script::EchoInline, CONFIG);
    let model = fixture.server.model("m", None).expect("loaded");
    let mut request = InferenceRequest::new(model);
    request.set_id("7");
    let input =
        |name: &str| InputTensor::new(name, DataType::Fp32, Shape::from_slice(&[1]), Bytes::new());
    let text = |result: tritongw_types::Result<()>| {
        let error = result.expect_err("refused");
        assert_eq!(error.code(), ErrorCode::InvalidArg);
        error.message().to_owned()
    };
    request.add_input(input("A")).expect("the first");
    assert_eq!(
        text(request.add_input(input("A"))),
        "[request id: 7] input 'A' already exists in request"
    );
    request.add_requested_output("OUT").expect("the first");
    assert_eq!(
        text(request.add_requested_output("OUT")),
        "[request id: 7] output 'OUT' already exists in request"
    );
    assert_eq!(
        text(request.add_requested_output(&"x".repeat(1025))),
        "[request id: 7] name of output is longer than 1024 bytes"
    );
    for number in 1..4096 {
        request
            .add_requested_output(&number.to_string())
            .expect("not too many");
    }
    assert_eq!(
        text(request.add_requested_output("one more")),
        "[request id: 7] request has more than 4096 outputs"
    );
}

#[test]
fn an_input_that_the_model_does_not_have_is_refused_before_its_shape() {
    let fixture = serve(Script::EchoInline, &format!("max_batch_size: 8 {CONFIG}"));
    for shape in [&[1][..], &[]] {
        let mut request = InferenceRequest::new(fixture.server.model("m", None).expect("loaded"));
        let a = InputTensor::new(
            "A",
            DataType::Fp32,
            Shape::from_slice(&[2, 4]),
            Bytes::from(vec![0; 32]),
        );
        let unknown = InputTensor::new(
            "NOPE",
            DataType::Fp32,
            Shape::from_slice(shape),
            Bytes::from(vec![0; 4]),
        );
        for input in [a, unknown] {
            request.add_input(input).expect("another name");
        }
        let error = fixture
            .send(request)
            .map(|_| ())
            .expect_err("an unknown input");
        assert_eq!(
            error.message(),
            "unexpected inference input 'NOPE' for model 'm'"
        );
    }
}
