// SPDX-License-Identifier: Apache-2.0
//! The codec against prost: what prost reads or writes, ours reads or writes the same.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};
use proptest::prelude::*;
use prost::Message;
use tritongw_protocol::pb::infer_parameter::ParameterChoice;
use tritongw_protocol::pb::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use tritongw_protocol::pb::model_infer_response::InferOutputTensor;
use tritongw_protocol::pb::{self, InferTensorContents, ModelInferRequest, ModelInferResponse};
use tritongw_types::{CName, DataType, Parameter, ParameterValue, Shape};

use super::*;
use crate::framing::PREFIX_LENGTH;

type ParameterMap = BTreeMap<String, pb::InferParameter>;

/// Returns a request in the form both decoders are compared in; as text, NaN equals NaN.
fn seen_by_prost(request: &ModelInferRequest) -> String {
    let input = |input: &InferInputTensor| {
        let tensors = DataType::ALL.map(|data_type| {
            input
                .contents
                .as_ref()
                .map(|contents| expected_tensor(contents, data_type))
        });
        let parameters = prost_parameters(&input.parameters);
        format!(
            "{} {} {:?} {parameters} {tensors:?}",
            input.name, input.datatype, input.shape
        )
    };
    let output = |output: &InferRequestedOutputTensor| {
        format!("{} {}", output.name, prost_parameters(&output.parameters))
    };
    let names = [&request.model_name, &request.model_version, &request.id];
    let inputs: Vec<_> = request.inputs.iter().map(input).collect();
    let outputs: Vec<_> = request.outputs.iter().map(output).collect();
    let parameters = prost_parameters(&request.parameters);
    format!(
        "{names:?} {parameters} {inputs:?} {outputs:?} {:?}",
        request.raw_input_contents
    )
}

fn seen_by_us(request: &InferRequest<'_>, message: &Bytes) -> String {
    let input = |input: &InferInput<'_>| {
        let tensors = DataType::ALL.map(|data_type| {
            input
                .contents
                .as_ref()
                .map(|contents| contents.to_tensor(Some(data_type), message))
        });
        let parameters = our_parameters(&input.parameters);
        let shape: &[i64] = &input.shape;
        format!(
            "{} {} {shape:?} {parameters} {tensors:?}",
            input.name, input.datatype
        )
    };
    let output = |output: &RequestedOutput<'_>| {
        format!("{} {}", output.name, our_parameters(&output.parameters))
    };
    let names = [request.model_name, request.model_version, request.id];
    let inputs: Vec<_> = request.inputs.iter().map(input).collect();
    let outputs: Vec<_> = request.outputs.iter().map(output).collect();
    let parameters = our_parameters(&request.parameters);
    format!(
        "{names:?} {parameters} {inputs:?} {outputs:?} {:?}",
        request.raw_input_contents
    )
}

/// Holds that a message is read as prost reads it. We accept a little more, as C++ does: a field
/// of the wrong wire type is passed over.
pub(crate) fn compare_with_prost(message: &Bytes) {
    let decoded = decode_infer_request(message);
    if let Ok(expected) = ModelInferRequest::decode(message.clone()) {
        let decoded = decoded.expect("prost can read it");
        assert_eq!(seen_by_us(&decoded, message), seen_by_prost(&expected));
    }
}

fn our_parameters(parameters: &Parameters<'_>) -> String {
    format!(
        "{:?}",
        parameters.iter().copied().collect::<BTreeMap<_, _>>()
    )
}

fn prost_parameters(parameters: &ParameterMap) -> String {
    let convert = |parameter: &pb::InferParameter| match &parameter.parameter_choice {
        None => "Unset".to_owned(),
        Some(ParameterChoice::BoolParam(value)) => format!("Bool({value:?})"),
        Some(ParameterChoice::Int64Param(value)) => format!("Int64({value:?})"),
        Some(ParameterChoice::StringParam(value)) => format!("String({value:?})"),
        Some(ParameterChoice::DoubleParam(value)) => format!("Double({value:?})"),
        Some(ParameterChoice::Uint64Param(value)) => format!("Uint64({value:?})"),
    };
    let printed: Vec<_> = parameters
        .iter()
        .map(|(name, value)| format!("{name:?}: {}", convert(value)))
        .collect();
    format!("{{{}}}", printed.join(", "))
}

/// Returns what [`TypedContents::to_tensor`] must give, computed from prost's lists.
fn expected_tensor(contents: &InferTensorContents, data_type: DataType) -> Result<Bytes, DataType> {
    let narrow = |value: &[u8], width| value[..width].to_vec();
    let width = data_type.element_size().unwrap_or(4);
    let c = contents;
    let lists: [(DataType, &[DataType], usize, Vec<u8>); 8] = [
        (
            DataType::Bool,
            &[],
            c.bool_contents.len(),
            c.bool_contents.iter().map(|v| u8::from(*v)).collect(),
        ),
        (
            DataType::Int32,
            &[DataType::Int8, DataType::Int16],
            c.int_contents.len(),
            c.int_contents
                .iter()
                .flat_map(|v| narrow(&v.to_le_bytes(), width.min(4)))
                .collect(),
        ),
        (
            DataType::Int64,
            &[],
            c.int64_contents.len(),
            c.int64_contents
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect(),
        ),
        (
            DataType::Uint32,
            &[DataType::Uint8, DataType::Uint16],
            c.uint_contents.len(),
            c.uint_contents
                .iter()
                .flat_map(|v| narrow(&v.to_le_bytes(), width.min(4)))
                .collect(),
        ),
        (
            DataType::Uint64,
            &[],
            c.uint64_contents.len(),
            c.uint64_contents
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect(),
        ),
        (
            DataType::Fp32,
            &[],
            c.fp32_contents.len(),
            c.fp32_contents
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect(),
        ),
        (
            DataType::Fp64,
            &[],
            c.fp64_contents.len(),
            c.fp64_contents
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect(),
        ),
        (
            DataType::Bytes,
            &[],
            c.bytes_contents.len(),
            c.bytes_contents
                .iter()
                .flat_map(|v| [&(v.len() as u32).to_le_bytes()[..], v].concat())
                .collect(),
        ),
    ];
    let fits = |of: DataType, also: &[DataType]| of == data_type || also.contains(&data_type);
    for (of, also, count, _) in &lists {
        if *count > 0 && !fits(*of, also) {
            return Err(*of);
        }
    }
    let tensor = lists.into_iter().find(|(of, also, ..)| fits(*of, also));
    Ok(Bytes::from(
        tensor.map(|(.., tensor)| tensor).unwrap_or_default(),
    ))
}

fn parameter() -> impl Strategy<Value = pb::InferParameter> {
    let choice = prop_oneof![
        any::<bool>().prop_map(ParameterChoice::BoolParam),
        any::<i64>().prop_map(ParameterChoice::Int64Param),
        ".{0,12}".prop_map(ParameterChoice::StringParam),
        any::<f64>().prop_map(ParameterChoice::DoubleParam),
        any::<u64>().prop_map(ParameterChoice::Uint64Param),
    ];
    prop::option::of(choice).prop_map(|parameter_choice| pb::InferParameter { parameter_choice })
}

fn parameters() -> impl Strategy<Value = ParameterMap> {
    prop::collection::btree_map("[a-z_]{0,9}", parameter(), 0..3)
}

fn list<T: std::fmt::Debug + Clone + 'static>(
    element: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(element, 1..200)]
}

fn contents() -> impl Strategy<Value = InferTensorContents> {
    let bytes = prop::collection::vec(any::<u8>(), 0..9).prop_map(Bytes::from);
    (
        list(any::<bool>()),
        list(any::<i32>()),
        list(any::<i64>()),
        list(any::<u32>()),
        list(any::<u64>()),
        list(any::<f32>()),
        list(any::<f64>()),
        list(bytes),
    )
        .prop_map(
            |(bools, ints, longs, uints, ulongs, floats, doubles, bytes)| InferTensorContents {
                bool_contents: bools,
                int_contents: ints,
                int64_contents: longs,
                uint_contents: uints,
                uint64_contents: ulongs,
                fp32_contents: floats,
                fp64_contents: doubles,
                bytes_contents: bytes,
            },
        )
}

fn input() -> impl Strategy<Value = InferInputTensor> {
    let shape = prop::collection::vec(any::<i64>(), 0..9);
    (
        ".{0,40}",
        "[A-Z0-9]{0,6}",
        shape,
        parameters(),
        prop::option::of(contents()),
    )
        .prop_map(
            |(name, datatype, shape, parameters, contents)| InferInputTensor {
                name,
                datatype,
                shape,
                parameters,
                contents,
            },
        )
}

fn request() -> impl Strategy<Value = ModelInferRequest> {
    let output = (".{0,20}", parameters())
        .prop_map(|(name, parameters)| InferRequestedOutputTensor { name, parameters });
    let raw = prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    (
        (".{0,30}", "[0-9]{0,3}", ".{0,30}", parameters()),
        prop::collection::vec(input(), 0..4),
        prop::collection::vec(output, 0..4),
        prop::collection::vec(raw, 0..4),
    )
        .prop_map(
            |((model_name, model_version, id, parameters), inputs, outputs, raw)| {
                ModelInferRequest {
                    model_name,
                    model_version,
                    id,
                    parameters,
                    inputs,
                    outputs,
                    raw_input_contents: raw,
                }
            },
        )
}

fn response_parameter() -> impl Strategy<Value = Parameter> {
    let value = prop_oneof![
        any::<bool>().prop_map(ParameterValue::Bool),
        any::<i64>().prop_map(ParameterValue::Int),
        "[a-z]{0,200}".prop_map(|text| ParameterValue::String(CName::new(&text))),
        any::<f64>().prop_map(ParameterValue::Double),
    ];
    ("[a-z_]{1,9}", value).prop_map(|(name, value)| Parameter {
        name: CName::new(&name),
        value,
    })
}

fn output() -> impl Strategy<Value = InferOutput> {
    (
        "[a-zA-Z0-9]{1,150}",
        prop::sample::select(&DataType::ALL[..]),
        prop::collection::vec(any::<i64>(), 0..20),
        prop_oneof![0usize..40, 1000usize..1100],
    )
        .prop_map(|(name, data_type, shape, size)| InferOutput {
            name: CName::new(&name),
            data_type,
            shape: Shape::from_slice(&shape),
            data: Bytes::from(vec![size as u8; size]),
        })
}

fn expected_response(response: &InferResponse<'_>) -> ModelInferResponse {
    let choice = |value: &ParameterValue| match value {
        ParameterValue::Bool(value) => ParameterChoice::BoolParam(*value),
        ParameterValue::Int(value) => ParameterChoice::Int64Param(*value),
        ParameterValue::String(value) => ParameterChoice::StringParam(value.as_str().to_owned()),
        ParameterValue::Double(value) => ParameterChoice::DoubleParam(*value),
    };
    let parameter = |parameter: &Parameter| {
        let value = pb::InferParameter {
            parameter_choice: Some(choice(&parameter.value)),
        };
        (parameter.name.as_str().to_owned(), value)
    };
    let output = |output: &InferOutput| InferOutputTensor {
        name: output.name.as_str().to_owned(),
        datatype: output.data_type.as_str().to_owned(),
        shape: output.shape.to_vec(),
        ..InferOutputTensor::default()
    };
    ModelInferResponse {
        model_name: response.model_name.to_owned(),
        model_version: response.model_version.to_string(),
        id: response.id.to_owned(),
        parameters: response.parameters.iter().map(parameter).collect(),
        outputs: response.outputs.iter().map(output).collect(),
        raw_output_contents: response
            .outputs
            .iter()
            .map(|output| output.data.clone())
            .collect(),
    }
}

proptest! {
    #[test]
    fn requests_are_read_as_prost_reads_them(request in request()) {
        let message = Bytes::from(request.encode_to_vec());
        let decoded = decode_infer_request(&message).expect("prost wrote it");
        prop_assert_eq!(seen_by_us(&decoded, &message), seen_by_prost(&request));
    }

    #[test]
    fn broken_requests_are_never_read_otherwise_than_prost_does(
        request in request(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        length in any::<prop::sample::Index>(),
    ) {
        let mut message = request.encode_to_vec();
        for (at, byte) in changes {
            if !message.is_empty() {
                let at = at.index(message.len());
                message[at] = byte;
            }
        }
        message.truncate(length.index(message.len() + 1).max(message.len() / 2));
        compare_with_prost(&Bytes::from(message));
    }

    #[test]
    fn responses_are_written_as_prost_reads_them(
        model_name in "[a-z]{0,200}",
        model_version in any::<i64>(),
        id in ".{0,20}",
        parameters in prop::collection::vec(response_parameter(), 0..3),
        outputs in prop::collection::vec(output(), 0..4),
    ) {
        let id = CName::new(&id);
        let response = InferResponse {
            model_name: &model_name,
            model_version,
            id: &id,
            parameters: &parameters,
            outputs: &outputs,
        };
        let mut framed = encode_infer_response(&response, Envelope::Unary, usize::MAX).expect("it fits");
        prop_assert_eq!(framed.get_u8(), 0);
        prop_assert_eq!(framed.get_u32() as usize, framed.remaining());
        let decoded = ModelInferResponse::decode(&mut framed).expect("prost can read it");
        let expected = expected_response(&response);
        prop_assert_eq!(&decoded, &expected);
        let mut framed =
            encode_infer_response(&response, Envelope::Stream, usize::MAX).expect("it fits");
        prop_assert_eq!(framed.get_u8(), 0);
        prop_assert_eq!(framed.get_u32() as usize, framed.remaining());
        let decoded = pb::ModelStreamInferResponse::decode(&mut framed).expect("prost can read it");
        let expected = pb::ModelStreamInferResponse {
            error_message: String::new(),
            infer_response: Some(expected),
        };
        prop_assert_eq!(decoded, expected);
    }
}

fn example_input(name: &str) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: "FP32".to_owned(),
        shape: vec![4],
        ..InferInputTensor::default()
    }
}

#[test]
fn raw_and_packed_float_tensors_are_slices_of_the_message() {
    let mut request = ModelInferRequest {
        model_name: "simple".to_owned(),
        model_version: "3".to_owned(),
        inputs: vec![example_input("INPUT0")],
        raw_input_contents: vec![Bytes::from_static(b"sixteen bytes!!!")],
        ..ModelInferRequest::default()
    };
    request.inputs[0].contents = Some(InferTensorContents {
        fp32_contents: vec![1.0; 4],
        ..InferTensorContents::default()
    });
    let message = Bytes::from(request.encode_to_vec());
    let decoded = decode_infer_request(&message).expect("prost wrote it");
    let contents = decoded.inputs[0]
        .contents
        .as_ref()
        .expect("typed contents were written");
    let typed = contents
        .to_tensor(Some(DataType::Fp32), &message)
        .expect("of that type");
    for tensor in [&decoded.raw_input_contents[0], &typed] {
        assert_eq!(tensor.len(), 16);
        assert!(
            message.as_ptr_range().contains(&tensor.as_ptr()),
            "copied out of the message"
        );
    }
    assert_eq!(peek_model(&message), Some(("simple", "3")));
    assert_eq!(peek_model(&message[..8]), Some(("simple", "")));
    assert_eq!(peek_model(&message[..7]), None);
}

#[test]
fn raw_tensors_are_found_from_the_beginning_of_a_message() {
    let mut request = ModelInferRequest {
        model_name: "simple".to_owned(),
        inputs: vec![example_input("INPUT0")],
        ..ModelInferRequest::default()
    };
    let without = Bytes::from(request.encode_to_vec());
    assert_eq!(peek_raw_contents(&without), None);
    request.raw_input_contents = vec![Bytes::from(vec![7; 1000])];
    let message = Bytes::from(request.encode_to_vec());
    let start = message.len() - 1000;
    for length in [message.len(), start + 10, start] {
        assert_eq!(peek_raw_contents(&message[..length]), Some(start));
    }
    assert_eq!(peek_raw_contents(&message[..start - 1]), None);
}

#[test]
fn values_too_wide_for_their_type_lose_their_upper_bits() {
    let contents = InferTensorContents {
        int_contents: vec![127, 300, -1],
        ..InferTensorContents::default()
    };
    let mut input = example_input("INPUT0");
    input.contents = Some(contents);
    let request = ModelInferRequest {
        inputs: vec![input],
        ..ModelInferRequest::default()
    };
    let message = Bytes::from(request.encode_to_vec());
    let decoded = decode_infer_request(&message).expect("prost wrote it");
    let contents = decoded.inputs[0]
        .contents
        .as_ref()
        .expect("typed contents were written");
    let tensor = contents.to_tensor(Some(DataType::Int8), &message);
    assert_eq!(tensor, Ok(Bytes::from_static(&[127, 44, 255])));
    assert_eq!(
        contents.to_tensor(Some(DataType::Fp32), &message),
        Err(DataType::Int32)
    );
    assert_eq!(contents.to_tensor(None, &message), Err(DataType::Int32));
}

/// Lists that were not packed, contents in two parts, unknown fields and groups in between.
#[test]
fn every_legal_form_of_contents_is_read() {
    let varint_list: &[u8] = &[0x28, 0x01, 0x2a, 0x02, 0x02, 0x03]; // field 5: 1, then [2, 3]
    let unknown: &[u8] = &[0x7b, 0x08, 0x01, 0x7c, 0x78, 0x05]; // group 15, then varint 15
    let first = [varint_list, unknown].concat();
    let second = [0x28, 0x04];
    let mut input = vec![0x2a, first.len() as u8];
    input.extend_from_slice(&first);
    input.extend_from_slice(&[0x2a, second.len() as u8]);
    input.extend_from_slice(&second);
    let message = Bytes::from([&[0x2a, input.len() as u8][..], &input].concat());
    let decoded = decode_infer_request(&message).expect("legal");
    let contents = decoded.inputs[0]
        .contents
        .as_ref()
        .expect("there are contents");
    let tensor = contents
        .to_tensor(Some(DataType::Uint64), &message)
        .expect("of that type");
    let expected: Vec<u8> = [1u64, 2, 3, 4]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    assert_eq!(tensor, expected);
}

#[test]
fn malformed_messages_are_refused() {
    let cases: [&[u8]; 8] = [
        &[0xff, 0xff, 0xff],                         // unfinished tag
        &[0x0a, 0x05, b'a'],                         // text cut short
        &[0x0a, 0x01, 0xff],                         // text that is not UTF-8
        &[0x02, 0x00],                               // field number 0
        &[0x0e],                                     // wire type 6
        &[0x7b, 0x74],                               // a group ended by another
        &[0x7c],                                     // a group ended that was not begun
        &[0x2a, 0x05, 0x2a, 0x03, 0x32, 0x01, 0x00], // FP32 list of one byte
    ];
    for case in cases {
        let message = Bytes::from_static(case);
        assert_eq!(
            decode_infer_request(&message).err(),
            Some(MalformedMessage),
            "{case:x?}"
        );
    }
    let nested_groups = Bytes::from(vec![0x7b; 1 << 20]);
    assert!(decode_infer_request(&nested_groups).is_err());
}

#[test]
fn large_tensors_are_written_from_where_they_lie() {
    let large = Bytes::from(vec![7; 100_000]);
    let output = |name: &str, data: &Bytes| InferOutput {
        name: CName::new(name),
        data_type: DataType::Uint8,
        shape: Shape::from([100_000]),
        data: data.clone(),
    };
    let outputs = [
        output("A", &large),
        output("B", &Bytes::from_static(b"small")),
    ];
    let response = InferResponse {
        model_name: "m",
        model_version: 1,
        id: "",
        parameters: &[],
        outputs: &outputs,
    };
    let mut segments = encode_infer_response(&response, Envelope::Unary, 200_000).expect("it fits");
    assert_eq!(segments.piece_count(), 3);
    let size = segments.remaining() - PREFIX_LENGTH;
    segments.advance(segments.chunk().len());
    assert_eq!(segments.chunk().as_ptr(), large.as_ptr());
    let refusal = encode_infer_response(&response, Envelope::Unary, size - 1)
        .expect_err("one byte too large");
    assert_eq!(refusal, MessageTooLarge { size });
}
