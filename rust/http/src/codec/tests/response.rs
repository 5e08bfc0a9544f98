// SPDX-License-Identifier: Apache-2.0
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;
use smallvec::smallvec;
use tritongw_engine::OutputTensor;
use tritongw_engine::buffer::OutputBuffer;
use tritongw_types::{CName, DataType, ErrorCode, Parameter, ParameterValue, Result, Shape};

use super::super::{
    EncodedResponse, HeadOutput, OutputEncoding, ResponseHead, encode_infer_response,
};

const JSON: OutputEncoding = OutputEncoding::All { is_binary: false };
const BINARY: OutputEncoding = OutputEncoding::All { is_binary: true };

fn tensor(name: &str, data_type: DataType, shape: &[i64], data: Vec<u8>) -> OutputTensor {
    OutputTensor {
        name: CName::new(name),
        data_type,
        shape: Shape::from_slice(shape),
        buffer: Some(OutputBuffer::Heap(data)),
    }
}

fn encode(outputs: Vec<OutputTensor>, encoding: &OutputEncoding) -> Result<EncodedResponse> {
    let head = ResponseHead {
        id: "",
        model_name: "m",
        model_version: 1,
        parameters: &[],
    };
    encode_infer_response(&head, outputs.into_iter(), encoding)
}

/// Returns the members of one output's `data`.
fn json_data(data_type: DataType, shape: &[i64], data: Vec<u8>) -> String {
    let encoded = encode(vec![tensor("O", data_type, shape, data)], &JSON).expect("encodes");
    let text = String::from_utf8(encoded.head.to_vec()).expect("UTF-8");
    let (_, data) = text.split_once("\"data\":[").expect("JSON data");
    data.strip_suffix("]}]}")
        .expect("the last member")
        .to_owned()
}

#[test]
fn members_come_in_tritons_order() {
    let parameters = [
        ("s", ParameterValue::String(CName::new("x\"y"))),
        ("i", ParameterValue::Int(-3)),
        ("b", ParameterValue::Bool(true)),
        ("d", ParameterValue::Double(1.5)),
    ];
    let parameters = parameters.map(|(name, value)| Parameter {
        name: CName::new(name),
        value,
    });
    let head = ResponseHead {
        id: "42",
        model_name: "m",
        model_version: 3,
        parameters: &parameters,
    };
    let outputs = vec![
        tensor("B", DataType::Int32, &[2], vec![1, 0, 0, 0, 2, 0, 0, 0]),
        tensor("A", DataType::Uint8, &[1, 1], vec![9]),
    ];
    let encoding = OutputEncoding::Each(smallvec![
        HeadOutput::new("A", true),
        HeadOutput::new("B", false),
    ]);
    let encoded = encode_infer_response(&head, outputs.into_iter(), &encoding).expect("encodes");
    let expected = r#"{"id":"42","model_name":"m","model_version":"3","parameters":{"s":"x\"y","i":-3,"b":true,"d":1.5},"outputs":[{"name":"B","datatype":"INT32","shape":[2],"data":[1,2]},{"name":"A","datatype":"UINT8","shape":[1,1],"parameters":{"binary_data_size":1}}]}"#;
    assert_eq!(encoded.head, expected);
    assert_eq!(encoded.tensors.as_slice(), [Bytes::from_static(&[9])]);
}

#[test]
fn a_response_without_outputs_has_an_empty_list() {
    let encoded = encode(Vec::new(), &JSON).expect("encodes");
    assert_eq!(
        encoded.head,
        r#"{"model_name":"m","model_version":"1","outputs":[]}"#
    );
}

#[test]
fn every_type_has_its_form() {
    let all_ones = vec![0xff; 8];
    assert_eq!(
        json_data(DataType::Bool, &[3], vec![0, 1, 255]),
        "false,true,true"
    );
    assert_eq!(json_data(DataType::Int8, &[2], vec![127, 128]), "127,-128");
    assert_eq!(json_data(DataType::Uint8, &[1], vec![255]), "255");
    assert_eq!(json_data(DataType::Int16, &[1], vec![0xff, 0xff]), "-1");
    assert_eq!(json_data(DataType::Uint16, &[1], vec![0xff, 0xff]), "65535");
    assert_eq!(
        json_data(DataType::Uint32, &[1], vec![0xff; 4]),
        "4294967295"
    );
    assert_eq!(json_data(DataType::Int64, &[1], all_ones.clone()), "-1");
    assert_eq!(
        json_data(DataType::Uint64, &[1], all_ones),
        "18446744073709551615"
    );
    let floats = [
        0.1_f32,
        1.0,
        -0.0,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ];
    let data = floats
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    assert_eq!(
        json_data(DataType::Fp32, &[6], data),
        "0.10000000149011612,1.0,-0.0,NaN,Infinity,-Infinity"
    );
    assert_eq!(
        json_data(DataType::Fp64, &[1], 0.1_f64.to_le_bytes().to_vec()),
        "0.1"
    );
    let strings = b"\x02\0\0\0\"\n\0\0\0\0\x02\0\0\0\xc3\xbc".to_vec();
    assert_eq!(
        json_data(DataType::Bytes, &[3], strings),
        r#""\"\n","","ü""#
    );
    assert_eq!(json_data(DataType::Fp32, &[2, 0], Vec::new()), "");
}

#[test]
fn sixteen_bit_floats_go_as_binary_only() {
    let output = || tensor("O", DataType::Fp16, &[1], vec![0, 0x3c]);
    let error = encode(vec![output()], &JSON).expect_err("no JSON form");
    assert_eq!(error.code(), ErrorCode::InvalidArg);
    assert_eq!(
        error.message(),
        "sending FP16 data via JSON is not supported. Please use the binary data format for output"
    );
    let encoded = encode(vec![output()], &BINARY).expect("encodes");
    assert_eq!(encoded.tensors.as_slice(), [Bytes::from_static(&[0, 0x3c])]);
}

#[test]
fn text_that_is_not_utf8_goes_as_binary_only() {
    let output = || tensor("O", DataType::Bytes, &[1], b"\x02\0\0\0\xff\xfe".to_vec());
    let error = encode(vec![output()], &JSON).expect_err("no JSON form");
    assert_eq!(
        error.message(),
        "output 'O' has an element that is not UTF-8 text and cannot be sent via JSON. Please use \
         the binary data format for this output"
    );
    assert_eq!(
        encode(vec![output()], &BINARY)
            .expect("encodes")
            .tensors
            .len(),
        1
    );
}

#[test]
fn empty_binary_outputs_have_no_segment() {
    let outputs = || vec![tensor("O", DataType::Fp32, &[0], Vec::new())];
    let encoded = encode(outputs(), &BINARY).expect("encodes");
    assert!(encoded.tensors.is_empty());
    let text = String::from_utf8(encoded.head.to_vec()).expect("UTF-8");
    assert!(
        text.contains(r#""shape":[0],"parameters":{"binary_data_size":0}}"#),
        "{text}"
    );
}

#[test]
fn data_that_does_not_fit_its_shape_is_an_error() {
    let cases = [
        tensor("O", DataType::Int32, &[2], vec![0; 4]),
        tensor("O", DataType::Int32, &[1], vec![0; 5]),
        tensor("O", DataType::Int32, &[-1], vec![0; 4]),
        tensor("O", DataType::Bytes, &[1], vec![5, 0, 0, 0]),
        tensor("O", DataType::Bytes, &[2], vec![0, 0, 0, 0]),
    ];
    for output in cases {
        let what = format!("{output:?}");
        let error = encode(vec![output], &JSON).expect_err(&what);
        assert_eq!(error.code(), ErrorCode::Internal, "{what}");
    }
}

#[test]
fn binary_tensors_are_moved() {
    let data = vec![7_u8; 4096];
    let address = data.as_ptr();
    let encoded =
        encode(vec![tensor("O", DataType::Uint8, &[4096], data)], &BINARY).expect("encodes");
    assert_eq!(encoded.tensors[0].as_ptr(), address);
}

proptest! {
    #[test]
    fn serde_json_reads_what_is_written(
        doubles in prop::collection::vec(any::<f64>(), 0..20),
        strings in prop::collection::vec(any::<String>(), 0..8),
    ) {
        let doubles: Vec<_> = doubles.into_iter().filter(|value| value.is_finite()).collect();
        let double_bytes = doubles.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut string_bytes = Vec::new();
        for text in &strings {
            let length = u32::try_from(text.len()).expect("short");
            string_bytes.extend_from_slice(&length.to_le_bytes());
            string_bytes.extend_from_slice(text.as_bytes());
        }
        let shape = |count: usize| [i64::try_from(count).expect("short")];
        let outputs = vec![
            tensor("D", DataType::Fp64, &shape(doubles.len()), double_bytes),
            tensor("S", DataType::Bytes, &shape(strings.len()), string_bytes),
        ];
        let encoded = encode(outputs, &JSON).expect("encodes");
        let read: Value = serde_json::from_slice(&encoded.head).expect("JSON");
        let read_doubles: Vec<f64> =
            serde_json::from_value(read["outputs"][0]["data"].clone()).expect("doubles");
        prop_assert_eq!(read_doubles, doubles);
        let read_strings: Vec<String> =
            serde_json::from_value(read["outputs"][1]["data"].clone()).expect("strings");
        prop_assert_eq!(read_strings, strings);
    }
}
