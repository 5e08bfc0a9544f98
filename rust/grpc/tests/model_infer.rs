// SPDX-License-Identifier: Apache-2.0
//! `ModelInfer` from message to message, and every way in which it is refused.

mod support;

use bytes::Bytes;
use prost::Message;
use support::client::{Call, Client, frame};
use support::serve;
use tritongw_protocol::pb::infer_parameter::ParameterChoice;
use tritongw_protocol::pb::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use tritongw_protocol::pb::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse,
};

const UNKNOWN: u8 = 2;
const INVALID_ARGUMENT: u8 = 3;
const NOT_FOUND: u8 = 5;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;

const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

fn input(name: &str, datatype: &str, shape: &[i64]) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        ..InferInputTensor::default()
    }
}

fn typed(name: &str, datatype: &str, shape: &[i64], of: InferTensorContents) -> InferInputTensor {
    InferInputTensor {
        contents: Some(of),
        ..input(name, datatype, shape)
    }
}

fn floats(values: &[f32]) -> InferTensorContents {
    InferTensorContents {
        fp32_contents: values.to_vec(),
        ..InferTensorContents::default()
    }
}

fn ints(values: &[i32]) -> InferTensorContents {
    InferTensorContents {
        int_contents: values.to_vec(),
        ..InferTensorContents::default()
    }
}

fn strings(values: &[&'static [u8]]) -> InferTensorContents {
    InferTensorContents {
        bytes_contents: values.iter().copied().map(Bytes::from_static).collect(),
        ..InferTensorContents::default()
    }
}

fn raw_floats(values: &[f32]) -> Bytes {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn request(model: &str, inputs: Vec<InferInputTensor>, raw: Vec<Bytes>) -> ModelInferRequest {
    ModelInferRequest {
        model_name: model.to_owned(),
        inputs,
        raw_input_contents: raw,
        ..ModelInferRequest::default()
    }
}

/// Both inputs of `add_sub`, raw.
fn add_sub() -> ModelInferRequest {
    let inputs = vec![input("INPUT0", "FP32", &[4]), input("INPUT1", "FP32", &[4])];
    let raw = vec![
        raw_floats(&[1.0, 2.0, 3.0, 4.0]),
        raw_floats(&[5.0, 6.0, 7.0, 8.0]),
    ];
    request("add_sub", inputs, raw)
}

fn wanted(names: &[&str]) -> Vec<InferRequestedOutputTensor> {
    let output = |name: &&str| InferRequestedOutputTensor {
        name: (*name).to_owned(),
        ..InferRequestedOutputTensor::default()
    };
    names.iter().map(output).collect()
}

fn infer(client: &mut Client, request: &ModelInferRequest) -> ModelInferResponse {
    client.call("ModelInfer", request).message()
}

fn assert_refused(client: &mut Client, request: &ModelInferRequest, code: u8, text: &str) {
    let answer = client.call("ModelInfer", request);
    assert_eq!((answer.code(), answer.text().as_str()), (code, text));
}

#[test]
fn raw_tensors_come_back_with_the_names_of_the_request() {
    let fixture = serve();
    let mut client = fixture.client();
    let mut request = add_sub();
    request.id = "42".to_owned();
    request.model_version = "1".to_owned();
    let response = infer(&mut client, &request);
    assert_eq!(
        (
            response.model_name.as_str(),
            response.model_version.as_str()
        ),
        ("add_sub", "1")
    );
    assert_eq!(response.id, "42");
    let outputs: Vec<_> = response
        .outputs
        .iter()
        .map(|output| {
            (
                output.name.as_str(),
                output.datatype.as_str(),
                output.shape.as_slice(),
            )
        })
        .collect();
    assert_eq!(
        outputs,
        [("OUTPUT0", "FP32", &[4][..]), ("OUTPUT1", "FP32", &[4][..])]
    );
    assert_eq!(response.raw_output_contents, request.raw_input_contents);
}

#[test]
fn typed_tensors_become_the_same_bytes() {
    let fixture = serve();
    let mut client = fixture.client();
    let cases = [
        (
            typed("INPUT0", "FP32", &[2], floats(&[1.5, -2.0])),
            "id_fp32",
            raw_floats(&[1.5, -2.0]),
        ),
        (
            typed("INPUT0", "INT8", &[2], ints(&[127, 300])),
            "id_int8",
            Bytes::from_static(&[127, 44]),
        ),
        (
            typed("INPUT0", "BYTES", &[2], strings(&[b"a", b"\xff"])),
            "id_string",
            Bytes::from_static(b"\x01\0\0\0a\x01\0\0\0\xff"),
        ),
    ];
    for (input, model, expected) in cases {
        let response = infer(&mut client, &request(model, vec![input], vec![]));
        assert_eq!(response.raw_output_contents, [expected], "{model}");
    }
}

#[test]
fn an_empty_tensor_is_a_tensor() {
    let fixture = serve();
    let empty = request(
        "id_fp32",
        vec![input("INPUT0", "FP32", &[0])],
        vec![Bytes::new()],
    );
    let response = infer(&mut fixture.client(), &empty);
    assert_eq!(response.raw_output_contents, [Bytes::new()]);
    assert_eq!(response.outputs[0].shape, [0]);
}

#[test]
fn only_requested_outputs_come_back() {
    let fixture = serve();
    let mut client = fixture.client();
    let one = ModelInferRequest {
        outputs: wanted(&["OUTPUT1"]),
        ..add_sub()
    };
    let response = infer(&mut client, &one);
    let names: Vec<_> = response
        .outputs
        .iter()
        .map(|output| output.name.as_str())
        .collect();
    assert_eq!(names, ["OUTPUT1"]);
    assert_eq!(response.raw_output_contents.len(), 1);
    let twice = ModelInferRequest {
        outputs: wanted(&["OUTPUT1", "OUTPUT1"]),
        ..add_sub()
    };
    assert_refused(
        &mut client,
        &twice,
        INVALID_ARGUMENT,
        "[request id: <id_unknown>] output 'OUTPUT1' already exists in request",
    );
    let all = ModelInferRequest {
        outputs: wanted(&["OUTPUT1", "OUTPUT0"]),
        ..add_sub()
    };
    let response = infer(&mut client, &all);
    let names: Vec<_> = response
        .outputs
        .iter()
        .map(|output| output.name.as_str())
        .collect();
    assert_eq!(names, ["OUTPUT0", "OUTPUT1"], "the order is the model's");
}

#[test]
fn surplus_raw_contents_are_passed_over() {
    let fixture = serve();
    let mut request = add_sub();
    request.raw_input_contents.push(Bytes::from_static(b"more"));
    let response = infer(&mut fixture.client(), &request);
    assert_eq!(response.raw_output_contents.len(), 2);
}

#[test]
fn large_tensors_survive_the_round_trip() {
    let fixture = serve();
    let data: Bytes = (0..3_000_000u32)
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let large = request(
        "id_fp32",
        vec![input("INPUT0", "FP32", &[3_000_000])],
        vec![data.clone()],
    );
    let response = infer(&mut fixture.client(), &large);
    assert_eq!(response.raw_output_contents, [data]);
}

#[test]
fn a_message_in_many_frames_lands_in_the_memory_of_its_model() {
    let fixture = serve();
    let text = b"\x0a\0\0\0ten bytes.";
    let input = input("INPUT0", "BYTES", &[1]);
    let request = request("id_string", vec![input], vec![Bytes::from_static(text)]);
    let framed = frame(0, &request.encode_to_vec());
    let pieces: Vec<_> = framed.chunks(30).map(Bytes::copy_from_slice).collect();
    assert!(pieces.len() > 1);
    let answer = fixture.client().send(Call::of_frames(MODEL_INFER, pieces));
    let response: ModelInferResponse = answer.message();
    // The memory of this model marks its last byte, which is the tensor's.
    assert_eq!(response.raw_output_contents[0], b"\x0a\0\0\0ten bytes!"[..]);
}

#[test]
fn batching_models_answer_in_the_clients_shape() {
    let fixture = serve();
    let inputs = vec![
        input("INPUT0", "FP32", &[2, 4]),
        input("INPUT1", "INT32", &[2, 1]),
    ];
    let raw = vec![
        raw_floats(&[1.0; 8]),
        Bytes::from_static(b"\x01\0\0\0\x02\0\0\0"),
    ];
    let response = infer(
        &mut fixture.client(),
        &request("batched", inputs, raw.clone()),
    );
    assert_eq!(response.raw_output_contents, raw);
    assert_eq!(response.outputs[0].shape, [2, 4]);
}

/// Contents that are missing, double, or of the wrong kind; texts recorded from Triton 2.51.
#[test]
fn contents_that_do_not_fit_are_refused() {
    let fixture = serve();
    let mut client = fixture.client();
    let mixed = "contents field must not be specified when using raw_input_contents for 'INPUT0' \
                 for model 'add_sub'";
    let wrong_list = "unexpected explicit tensor data for input tensor 'INPUT0' for model \
                      'add_sub' of type 'INT32', expected datatype 'FP32'";
    let four = floats(&[1.0, 2.0, 3.0, 4.0]);
    let two_lists = InferTensorContents {
        int_contents: vec![1; 4],
        ..four.clone()
    };
    let first_is = |first: InferInputTensor, raw: Vec<Bytes>| {
        request("add_sub", vec![first, input("INPUT1", "FP32", &[4])], raw)
    };
    let raw = |count| vec![raw_floats(&[1.0; 4]); count];
    let typed_fp32 = typed("INPUT0", "FP32", &[4], four);
    let cases = [
        (first_is(typed_fp32.clone(), raw(1)), mixed),
        (first_is(typed_fp32, raw(2)), mixed),
        (
            first_is(input("INPUT0", "FP32", &[4]), raw(1)),
            "unable to find data for input tensor 'INPUT1' for model 'add_sub' in request.",
        ),
        (
            first_is(input("INPUT0", "FP32", &[4]), raw(0)),
            "unable to find data for input tensor 'INPUT0' for model 'add_sub' in request.",
        ),
        (
            first_is(typed("INPUT0", "FP32", &[4], ints(&[1; 4])), raw(0)),
            wrong_list,
        ),
        (
            first_is(typed("INPUT0", "FP32", &[4], two_lists), raw(0)),
            wrong_list,
        ),
        (
            first_is(typed("INPUT0", "FP99", &[4], floats(&[1.0])), raw(0)),
            "unexpected explicit tensor data for input tensor 'INPUT0' for model 'add_sub' of type \
             'FP32', expected datatype '<invalid>'",
        ),
        (
            request(
                "id_fp16",
                vec![typed("INPUT0", "FP16", &[4], floats(&[1.0; 4]))],
                vec![],
            ),
            "unexpected explicit tensor data for input tensor 'INPUT0' for model 'id_fp16' of type \
             'FP32', expected datatype 'FP16'",
        ),
    ];
    for (request, text) in cases {
        assert_refused(&mut client, &request, INVALID_ARGUMENT, text);
    }
}

/// What does not fit the model's signature; texts recorded from Triton 2.51.
#[test]
fn tensors_that_do_not_fit_the_model_are_refused() {
    let fixture = serve();
    let mut client = fixture.client();
    let first_is = |datatype, shape: &[i64], values: &[f32]| ModelInferRequest {
        inputs: vec![
            input("INPUT0", datatype, shape),
            input("INPUT1", "FP32", &[4]),
        ],
        raw_input_contents: vec![raw_floats(values), raw_floats(&[1.0; 4])],
        ..add_sub()
    };
    let unknown = |prefix: &str| {
        format!(
            "{prefix}inference input 'INPUT0' data-type is '<invalid>', but model 'add_sub' \
             expects 'FP32'"
        )
    };
    let bad_bytes = request(
        "id_string",
        vec![input("INPUT0", "BYTES", &[1])],
        vec![Bytes::from_static(b"\x05\0\0\0ab")],
    );
    let cases = [
        (
            first_is("FP32", &[4], &[1.0; 2]),
            "[request id: <id_unknown>] input byte size mismatch for input 'INPUT0' for model \
             'add_sub'. Expected 16, got 8"
                .to_owned(),
        ),
        (
            first_is("INT32", &[4], &[1.0; 4]),
            "[request id: <id_unknown>] inference input 'INPUT0' data-type is 'INT32', but model \
             'add_sub' expects 'FP32'"
                .to_owned(),
        ),
        (
            first_is("FP99", &[4], &[1.0; 4]),
            unknown("[request id: <id_unknown>] "),
        ),
        (
            ModelInferRequest {
                id: "a".to_owned(),
                ..first_is("fp32", &[4], &[1.0; 4])
            },
            unknown("[request id: a] "),
        ),
        (
            first_is("FP32", &[2, 2], &[1.0; 4]),
            "[request id: <id_unknown>] unexpected shape for input 'INPUT0' for model 'add_sub'. \
             Expected [4], got [2,2]. "
                .to_owned(),
        ),
        (
            first_is("FP32", &[-4], &[1.0; 4]),
            "[request id: <id_unknown>] unexpected shape for input 'INPUT0' for model 'add_sub'. \
             Expected [4], got [-4]. "
                .to_owned(),
        ),
        (
            ModelInferRequest {
                outputs: wanted(&["NOPE"]),
                ..add_sub()
            },
            "unexpected inference output 'NOPE' for model 'add_sub'".to_owned(),
        ),
    ];
    for (request, text) in cases {
        assert_refused(&mut client, &request, INVALID_ARGUMENT, &text);
    }
    let answer = client.call("ModelInfer", &bad_bytes);
    assert_eq!(answer.code(), INVALID_ARGUMENT);
    let mut surplus = first_is("FP32", &[4], &[1.0; 4]);
    surplus.inputs[0].name = "BAD".to_owned();
    let text = "unexpected inference input 'BAD' for model 'add_sub'";
    assert_refused(&mut client, &surplus, INVALID_ARGUMENT, text);
    surplus.inputs[0].datatype = "FP99".to_owned();
    assert_refused(&mut client, &surplus, INVALID_ARGUMENT, text);
}

#[test]
fn models_that_cannot_be_asked_are_refused() {
    let fixture = serve();
    let mut client = fixture.client();
    let cases = [
        (
            "nope",
            "",
            NOT_FOUND,
            "Request for unknown model: 'nope' is not found",
        ),
        (
            "",
            "",
            NOT_FOUND,
            "Request for unknown model: '' is not found",
        ),
        (
            "add_sub",
            "9",
            NOT_FOUND,
            "Request for unknown model: 'add_sub' version 9 is not found",
        ),
        (
            "add_sub",
            "abc",
            INVALID_ARGUMENT,
            "failed to get model version from specified version string 'abc' (details: stol), \
             version should be an integral value > 0",
        ),
        (
            "decoupled",
            "",
            UNIMPLEMENTED,
            "ModelInfer RPC doesn't support models with decoupled transaction policy",
        ),
    ];
    for (model, version, code, text) in cases {
        let request = ModelInferRequest {
            model_name: model.to_owned(),
            model_version: version.to_owned(),
            ..add_sub()
        };
        assert_refused(&mut client, &request, code, text);
    }
}

#[test]
fn errors_of_the_model_reach_the_client_whole() {
    let fixture = serve();
    let mut client = fixture.client();
    let failing = request(
        "fail",
        vec![input("INPUT0", "FP32", &[1])],
        vec![raw_floats(&[1.0])],
    );
    assert_refused(
        &mut client,
        &failing,
        NOT_FOUND,
        "nothing here: 100%\nreally",
    );
}

fn with_parameter(name: &str, choice: Option<ParameterChoice>) -> ModelInferRequest {
    let mut request = add_sub();
    request.parameters.insert(
        name.to_owned(),
        InferParameter {
            parameter_choice: choice,
        },
    );
    request
}

#[test]
fn custom_parameters_reach_the_model_and_come_back() {
    let fixture = serve();
    let mut client = fixture.client();
    let mut request = add_sub();
    let choices = [
        ("i", ParameterChoice::Int64Param(-5)),
        ("b", ParameterChoice::BoolParam(true)),
        ("s", ParameterChoice::StringParam("x".to_owned())),
        ("d", ParameterChoice::DoubleParam(1.5)),
        ("headers", ParameterChoice::StringParam("y".to_owned())),
    ];
    for (name, choice) in choices {
        let parameter = InferParameter {
            parameter_choice: Some(choice),
        };
        request.parameters.insert(name.to_owned(), parameter);
    }
    let response = infer(&mut client, &request);
    assert_eq!(response.parameters, request.parameters);
}

#[test]
fn parameters_of_the_server_do_not_reach_the_model() {
    let fixture = serve();
    let mut client = fixture.client();
    let cases = [
        ("sequence_id", ParameterChoice::Int64Param(5)),
        ("sequence_id", ParameterChoice::StringParam("a".to_owned())),
        ("sequence_start", ParameterChoice::BoolParam(true)),
        ("sequence_end", ParameterChoice::BoolParam(false)),
        ("priority", ParameterChoice::Int64Param(1)),
        ("priority", ParameterChoice::Uint64Param(1)),
        ("timeout", ParameterChoice::Int64Param(1_000_000)),
        ("timeout", ParameterChoice::Int64Param(-1)),
        (
            "triton_enable_empty_final_response",
            ParameterChoice::BoolParam(true),
        ),
    ];
    for (name, choice) in cases {
        let response = infer(&mut client, &with_parameter(name, Some(choice)));
        assert!(response.parameters.is_empty(), "{name}");
    }
}

/// Texts recorded from Triton 2.51.
#[test]
fn parameters_of_the_wrong_kind_are_refused() {
    let fixture = serve();
    let mut client = fixture.client();
    let text = || ParameterChoice::StringParam("1".to_owned());
    let wrong = |name: &str, expected: &str| {
        format!("invalid value type for '{name}' parameter, expected {expected}.")
    };
    let custom = "int64_param, bool_param, or string_param";
    let reserved = "parameter keys starting with 'triton_' are reserved for Triton usage. Only the \
                    following keys starting with 'triton_' are allowed: \
                    triton_enable_empty_final_response";
    let bool_id = ParameterChoice::BoolParam(true);
    let cases = [
        (
            "u",
            Some(ParameterChoice::Uint64Param(5)),
            wrong("u", custom),
        ),
        ("x", None, wrong("x", custom)),
        (
            "sequence_id",
            Some(bool_id),
            wrong("sequence_id", "int64_param or string_param"),
        ),
        (
            "sequence_start",
            Some(ParameterChoice::Int64Param(1)),
            wrong("sequence_start", "bool_param"),
        ),
        (
            "sequence_end",
            Some(text()),
            wrong("sequence_end", "bool_param"),
        ),
        (
            "priority",
            Some(text()),
            wrong("priority", "int64_param or uint64_param"),
        ),
        (
            "priority",
            Some(ParameterChoice::Int64Param(-1)),
            "invalid value for 'priority', expected value >= 0.".to_owned(),
        ),
        ("timeout", Some(text()), wrong("timeout", "int64_param")),
        (
            "timeout",
            Some(ParameterChoice::Uint64Param(1)),
            wrong("timeout", "int64_param"),
        ),
        (
            "triton_x",
            Some(ParameterChoice::Int64Param(1)),
            reserved.to_owned(),
        ),
    ];
    for (name, choice, expected) in cases {
        assert_refused(
            &mut client,
            &with_parameter(name, choice),
            INVALID_ARGUMENT,
            &expected,
        );
    }
}

#[test]
fn shared_memory_is_refused_unless_the_server_allows_it() {
    let fixture = serve();
    let mut client = fixture.client();
    let parameters = || {
        let value = |choice| InferParameter {
            parameter_choice: Some(choice),
        };
        [
            (
                "shared_memory_region".to_owned(),
                value(ParameterChoice::StringParam("r".to_owned())),
            ),
            (
                "shared_memory_byte_size".to_owned(),
                value(ParameterChoice::Int64Param(16)),
            ),
        ]
    };
    let mut input = add_sub();
    input.inputs[0].parameters.extend(parameters());
    let mut output = ModelInferRequest {
        outputs: wanted(&["OUTPUT0"]),
        ..add_sub()
    };
    output.outputs[0].parameters.extend(parameters());
    for request in [input, output] {
        assert_refused(
            &mut client,
            &request,
            UNIMPLEMENTED,
            "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to \
             enable.",
        );
    }
}

#[test]
fn what_is_no_request_is_refused_and_the_server_serves_on() {
    let fixture = serve();
    let mut client = fixture.client();
    let answer = client.send(Call::new(MODEL_INFER, b"\xff\xff\xff"));
    assert_eq!(
        (answer.code(), answer.text().as_str()),
        (INTERNAL, "Unable to parse request")
    );
    let answer = client.send(Call::of_frames(MODEL_INFER, []));
    assert_eq!(
        (answer.code(), answer.text().as_str()),
        (INTERNAL, "Unable to parse request")
    );
    let without_te = client.send(Call::new(MODEL_INFER, b"").header("te", "gzip"));
    assert_eq!(without_te.code(), UNKNOWN);
    assert_eq!(infer(&mut client, &add_sub()).outputs.len(), 2);
}
