// SPDX-License-Identifier: Apache-2.0
use std::num::NonZeroU64;

use proptest::prelude::*;
use serde_json::json;
use tritongw_engine::shared_memory::SharedMemoryReference;
use tritongw_types::{CName, DataType, ErrorCode, Shape};

use super::super::{HeadOutput, HeadParameterValue, InferHead, OutputEncoding, parse_infer_head};

/// Parses a head with one input of these members, and returns the input's bytes.
fn input_bytes(members: &str) -> Result<Vec<u8>, (ErrorCode, String)> {
    let text = format!(r#"{{"inputs":[{{"name":"IN",{members}}}]}}"#);
    let head = parse(&text)?;
    let data = head.inputs[0].tensor.contiguous().expect("host memory");
    Ok(data.to_vec())
}

fn parse(text: &str) -> Result<InferHead, (ErrorCode, String)> {
    parse_infer_head(text.as_bytes()).map_err(|error| (error.code(), error.message().to_owned()))
}

fn refusal(text: &str) -> (ErrorCode, String) {
    parse(text).expect_err("refused")
}

fn invalid(message: &str) -> (ErrorCode, String) {
    // JSON of the wrong type is Triton's own failure (P059), anything else the client's.
    let code = if message.starts_with("Unable to parse") || message.ends_with("non-object") {
        ErrorCode::Internal
    } else {
        ErrorCode::InvalidArg
    };
    (code, message.to_owned())
}

fn little_endian<const N: usize>(elements: impl IntoIterator<Item = [u8; N]>) -> Vec<u8> {
    elements.into_iter().flatten().collect()
}

#[test]
fn a_whole_head_is_read() {
    let head = parse(
        r#"{"id":"42","parameters":{"sequence_id":7,"sequence_start":true,"timeout":5,
        "custom":-1,"text":"x","ratio":1.5,"big":18446744073709551615},
        "inputs":[{"name":"A","shape":[2,1],"datatype":"INT32","data":[[1],[2]]},
        {"name":"B","datatype":"FP16","shape":[3],"parameters":{"binary_data_size":6}}],
        "outputs":[{"name":"O","parameters":{"binary_data":true}},{"name":"P"}],"unknown":{"x":[]}}"#,
    )
    .expect("a request");
    assert_eq!(head.id, "42");
    let parameters: Vec<_> = head
        .parameters
        .iter()
        .map(|p| (p.name.as_str(), p.value.clone()))
        .collect();
    let expected = [
        ("sequence_id", HeadParameterValue::UInt(7)),
        ("sequence_start", HeadParameterValue::Bool(true)),
        ("timeout", HeadParameterValue::UInt(5)),
        ("custom", HeadParameterValue::Int(-1)),
        ("text", HeadParameterValue::String("x".to_owned())),
        ("ratio", HeadParameterValue::Double(1.5)),
        (
            "big",
            HeadParameterValue::Double(18_446_744_073_709_551_616.0),
        ),
    ];
    assert_eq!(parameters, expected);
    let [a, b] = head.inputs.as_slice() else {
        panic!("two inputs")
    };
    assert_eq!(a.tensor.name, "A");
    assert_eq!(
        (a.tensor.data_type, &a.tensor.shape),
        (DataType::Int32, &Shape::from([2, 1]))
    );
    assert_eq!(a.binary_data_size, None);
    assert_eq!(
        a.tensor.contiguous().expect("host"),
        little_endian([1_i32, 2].map(i32::to_le_bytes))
    );
    assert_eq!(
        (b.tensor.data_type, b.binary_data_size),
        (DataType::Fp16, Some(6))
    );
    let encoding = head.clone().take_output_encoding();
    assert!(matches!(&encoding, OutputEncoding::Each(outputs) if outputs.len() == 2));
    assert!(encoding.is_binary("O") && !encoding.is_binary("P") && !encoding.is_binary("Q"));
}

#[test]
fn outputs_default_to_what_the_request_asks_for() {
    let encoding = |text: &str| parse(text).expect("a request").take_output_encoding();
    let is_binary = |text| encoding(text).is_binary("O");
    assert!(!is_binary(r#"{"inputs":[]}"#));
    assert!(is_binary(
        r#"{"parameters":{"binary_data_output":true},"inputs":[]}"#
    ));
    assert!(is_binary(
        r#"{"parameters":{"binary_data_output":true},"inputs":[],"outputs":[]}"#
    ));
    // Recorded: an output that is named but says nothing is JSON, whatever the default.
    let named =
        r#"{"parameters":{"binary_data_output":true},"inputs":[],"outputs":[{"name":"O"}]}"#;
    assert!(!is_binary(named));
}

#[test]
fn every_type_is_read_into_its_bytes() {
    let cases = [
        (
            r#""datatype":"BOOL","shape":[2],"data":[true,false]"#,
            vec![1, 0],
        ),
        (
            r#""datatype":"INT8","shape":[2],"data":[127,128]"#,
            vec![127, 128],
        ),
        (r#""datatype":"UINT8","shape":[1],"data":[255]"#, vec![255]),
        (
            r#""datatype":"INT16","shape":[1],"data":[-2]"#,
            vec![0xfe, 0xff],
        ),
        (
            r#""datatype":"UINT16","shape":[1],"data":[65535]"#,
            vec![0xff, 0xff],
        ),
        (
            r#""datatype":"UINT32","shape":[1],"data":[4294967295]"#,
            vec![0xff; 4],
        ),
        (
            r#""datatype":"INT64","shape":[2],"data":[9223372036854775807,-9223372036854775808]"#,
            little_endian([i64::MAX, i64::MIN].map(i64::to_le_bytes)),
        ),
        (
            r#""datatype":"UINT64","shape":[1],"data":[18446744073709551615]"#,
            vec![0xff; 8],
        ),
        (
            r#""datatype":"FP32","shape":[5],"data":[NaN,Infinity,-Infinity,1e40,-0]"#,
            little_endian(
                [
                    f32::NAN,
                    f32::INFINITY,
                    f32::NEG_INFINITY,
                    f32::INFINITY,
                    0.0,
                ]
                .map(f32::to_le_bytes),
            ),
        ),
        (
            r#""datatype":"FP64","shape":[2],"data":[0.1,-0.0]"#,
            little_endian([0.1, -0.0].map(f64::to_le_bytes)),
        ),
        (
            r#""datatype":"BYTES","shape":[3],"data":["a","","\u00fc\ud83d\ude00"]"#,
            b"\x01\0\0\0a\0\0\0\0\x06\0\0\0\xc3\xbc\xf0\x9f\x98\x80".to_vec(),
        ),
        (r#""datatype":"FP32","shape":[0],"data":[]"#, vec![]),
        // No element, so none that JSON has no form for.
        (r#""datatype":"BF16","shape":[0,2],"data":[]"#, vec![]),
        (r#""data":[[],[]],"datatype":"FP16","shape":[2,0]"#, vec![]),
        (
            r#""datatype":"INT8","shape":[2,2],"data":[[1,2],[3,4]]"#,
            vec![1, 2, 3, 4],
        ),
        (
            r#""datatype":"INT8","shape":[4],"data":[[1,[2]],3,[[4],[]]]"#,
            vec![1, 2, 3, 4],
        ),
    ];
    for (members, expected) in cases {
        assert_eq!(input_bytes(members), Ok(expected), "{members}");
    }
}

#[test]
fn members_may_come_in_any_order_and_the_first_of_a_name_counts() {
    let expected = Ok(vec![1, 2]);
    assert_eq!(
        input_bytes(r#""data":[1,2],"shape":[2],"datatype":"INT8""#),
        expected
    );
    assert_eq!(
        input_bytes(r#""data":[1,2],"datatype":"INT8","shape":[2]"#),
        expected
    );
    let twice = r#""shape":[2],"data":[1,2],"datatype":"INT8","data":["x"],"datatype":"FP64""#;
    assert_eq!(input_bytes(twice), expected);
    let head = parse(r#"{"inputs":[],"id":"a","id":5}"#).expect("a request");
    assert_eq!(head.id, "a");
}

/// Texts recorded from Triton 2.51; codes as newer versions give them (P059, P060).
#[test]
fn wrong_heads_are_refused_in_tritons_words() {
    let no_inputs =
        "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'";
    let one_source = "Input must set only one of the following fields: 'data', 'binary_data_size' \
                      in 'parameters', 'shared_memory_region' in 'parameters'. But ";
    let cases = [
        ("[]", no_inputs.to_owned()),
        ("5", no_inputs.to_owned()),
        ("null", no_inputs.to_owned()),
        ("{}", no_inputs.to_owned()),
        (
            r#"{"inputs":{}}"#,
            "Unable to parse 'inputs': attempt to access JSON non-array as array".to_owned(),
        ),
        (r#"{"inputs":[5]}"#, format!("{one_source}no field is set")),
        (
            r#"{"inputs":[],"outputs":5}"#,
            "Unable to parse 'outputs': attempt to access JSON non-array as array".to_owned(),
        ),
        (
            r#"{"inputs":[],"outputs":[{}]}"#,
            "Unable to parse 'name': attempt to access non-existing object member 'name'"
                .to_owned(),
        ),
        (
            r#"{"inputs":[],"id":5}"#,
            "Unable to parse 'id': attempt to access JSON non-string as string".to_owned(),
        ),
        (
            r#"{"inputs":[],"parameters":5}"#,
            "failed to get request params.: attempt to get members for non-object".to_owned(),
        ),
        (
            r#"{"inputs":[],"outputs":[{"name":"O","parameters":{"binary_data":"x"}}]}"#,
            "Unable to parse 'binary_data': attempt to access JSON non-boolean as boolean"
                .to_owned(),
        ),
        (
            r#"{"inputs":[1,}"#,
            "failed to parse the request JSON buffer: Invalid value. at 13".to_owned(),
        ),
    ];
    for (text, message) in cases {
        assert_eq!(refusal(text), invalid(&message), "{text}");
    }
}

#[test]
fn wrong_inputs_are_refused_in_tritons_words() {
    let one_source = "Input must set only one of the following fields: 'data', 'binary_data_size' \
                      in 'parameters', 'shared_memory_region' in 'parameters'. But ";
    let cases = [
        (
            r#""datatype":"FP32","shape":["a"],"data":[]"#,
            "Unable to parse 'shape': attempt to access JSON non-unsigned-integer as unsigned-integer",
        ),
        (
            r#""datatype":"FP32","shape":[-1],"data":[]"#,
            "Unable to parse 'shape': attempt to access JSON non-unsigned-integer as unsigned-integer",
        ),
        (
            r#""datatype":"FP32","shape":[18446744073709551615],"data":[]"#,
            "Unable to parse 'shape': dimension 18446744073709551615 is too large",
        ),
        (
            r#""datatype":"FP32","shape":[4294967296,4294967296],"data":[]"#,
            "Unable to parse 'shape': the size of the tensor overflows",
        ),
        (
            r#""datatype":"FP32","shape":5,"data":[]"#,
            "Unable to parse 'shape': attempt to access JSON non-array as array",
        ),
        (
            r#""datatype":5,"shape":[1],"data":[1]"#,
            "Unable to parse 'datatype': attempt to access JSON non-string as string",
        ),
        (
            r#""shape":[1],"data":[1]"#,
            "Unable to parse 'datatype': attempt to access non-existing object member 'datatype'",
        ),
        (
            r#""datatype":"FP32","data":[1]"#,
            "Unable to parse 'shape': attempt to access non-existing object member 'shape'",
        ),
        (
            r#""datatype":"TYPE_FP32","shape":[1],"data":[1]"#,
            "invalid datatype for input IN",
        ),
        (
            r#""datatype":"FP32","shape":[1],"data":5"#,
            "Unable to parse 'data': attempt to access JSON non-array as array",
        ),
        (
            r#""datatype":"FP32","shape":[1],"data":[true]"#,
            "Unable to parse 'data': attempt to access JSON non-number as double",
        ),
        (
            r#""datatype":"INT64","shape":[1],"data":[1.5]"#,
            "Unable to parse 'data': attempt to access JSON non-signed-integer as signed-integer",
        ),
        (
            r#""datatype":"INT64","shape":[1],"data":[9223372036854775808]"#,
            "Unable to parse 'data': attempt to access JSON non-signed-integer as signed-integer",
        ),
        (
            r#""datatype":"UINT64","shape":[1],"data":[-1]"#,
            "Unable to parse 'data': attempt to access JSON non-unsigned-integer as unsigned-integer",
        ),
        (
            r#""datatype":"BOOL","shape":[2],"data":[1,0]"#,
            "Unable to parse 'data': attempt to access JSON non-boolean as boolean",
        ),
        (
            r#""datatype":"BYTES","shape":[1],"data":[5]"#,
            "Unable to parse JSON bytes array: attempt to access JSON non-string as string",
        ),
        (
            r#""datatype":"FP16","shape":[1],"data":[1]"#,
            "receiving FP16 data via JSON is not supported. Please use the binary data format for input IN",
        ),
        (
            r#""datatype":"FP32","shape":[1],"parameters":{"binary_data_size":-4}"#,
            "Unable to parse 'binary_data_size': attempt to access JSON non-unsigned-integer as unsigned-integer",
        ),
    ];
    for (members, message) in cases {
        assert_eq!(input_bytes(members), Err(invalid(message)), "{members}");
    }
    let sources = [
        (r#""datatype":"FP32","shape":[1]"#, "no field is set"),
        (
            r#""datatype":"FP32","shape":[1],"data":[1],"parameters":{"binary_data_size":"x"}"#,
            "set 'data' 'binary_data_size'",
        ),
    ];
    for (members, what) in sources {
        assert_eq!(
            input_bytes(members),
            Err(invalid(&format!("{one_source}{what}")))
        );
    }
}

#[test]
fn a_wrong_count_is_internal() {
    let message = "Unable to parse 'data': Shape does not match true shape of 'data' field";
    let expected = Err((ErrorCode::Internal, message.to_owned()));
    for shape in ["[3]", "[5]", "[9223372036854775807]", "[0]", "[2,1]"] {
        let members = format!(r#""datatype":"FP32","shape":{shape},"data":[1,2,3,4]"#);
        assert_eq!(input_bytes(&members), expected, "{shape}");
    }
}

#[test]
fn strings_are_counted_where_the_model_is_known() {
    for shape in ["[0]", "[2]", "[3,4]"] {
        let members = format!(r#""datatype":"BYTES","shape":{shape},"data":["a"]"#);
        assert_eq!(
            input_bytes(&members),
            Ok(b"\x01\0\0\0a".to_vec()),
            "{shape}"
        );
    }
}

#[test]
fn wrong_parameters_are_refused_in_tritons_words() {
    let cases = [
        (
            "\"a\":null",
            "parameter 'a' has invalid type. It should be either 'int', 'bool', or 'string'.",
        ),
        (
            "\"a\":[1]",
            "parameter 'a' has invalid type. It should be either 'int', 'bool', or 'string'.",
        ),
        (
            "\"triton_x\":1",
            "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified.",
        ),
        (
            "\"sequence_id\":-5",
            "Unable to parse 'sequence_id': attempt to access JSON non-string as string",
        ),
        (
            "\"sequence_id\":1.5",
            "Unable to parse 'sequence_id': attempt to access JSON non-string as string",
        ),
        (
            "\"sequence_start\":1",
            "Unable to parse 'sequence_start': attempt to access JSON non-boolean as boolean",
        ),
        (
            "\"priority\":\"x\"",
            "Unable to parse 'priority': attempt to access JSON non-unsigned-integer as unsigned-integer",
        ),
        (
            "\"timeout\":-5",
            "Unable to parse 'timeout': attempt to access JSON non-unsigned-integer as unsigned-integer",
        ),
        (
            "\"binary_data_output\":1",
            "Unable to parse 'binary_data_output': attempt to access JSON non-boolean as boolean",
        ),
    ];
    for (member, message) in cases {
        let text = format!(r#"{{"parameters":{{{member}}},"inputs":[]}}"#);
        assert_eq!(refusal(&text), invalid(message), "{member}");
    }
}

/// Reads a request with one output that has these parameters.
fn output(parameters: &str) -> Result<HeadOutput, (ErrorCode, String)> {
    let text =
        format!(r#"{{"inputs":[],"outputs":[{{"name":"O","parameters":{{{parameters}}}}}]}}"#);
    let head = parse(&text)?;
    Ok(head.outputs.expect("one output")[0].clone())
}

#[test]
fn outputs_may_be_classified_or_go_to_shared_memory() {
    let plain = HeadOutput::new("O", false);
    assert_eq!(output(r#""classification":0"#), Ok(plain.clone()));
    assert_eq!(
        output(r#""shared_memory_offset":3,"shared_memory_byte_size":"x""#),
        Ok(plain.clone()),
        "nothing without a region"
    );
    let classified = HeadOutput {
        class_count: NonZeroU64::new(3),
        ..HeadOutput::new("O", true)
    };
    let text = r#""classification":3,"binary_data":true,"classification":4"#;
    assert_eq!(output(text), Ok(classified));
    let shared = HeadOutput {
        shared_memory: Some(Box::new(SharedMemoryReference {
            region: CName::new("r"),
            offset: 0,
            byte_size: 8,
        })),
        ..plain
    };
    let text = r#""binary_data":false,"shared_memory_byte_size":8,"shared_memory_region":"r""#;
    assert_eq!(output(text), Ok(shared));
}

/// Texts recorded from Triton 2.51.
#[test]
fn wrong_outputs_are_refused_in_tritons_words() {
    let no_count = "Unable to set 'classification': attempt to access JSON non-unsigned-integer as \
                    unsigned-integer";
    let cases = [
        (r#""classification":-1"#, no_count),
        (r#""classification":"1""#, no_count),
        (r#""classification":1.5"#, no_count),
        (
            r#""shared_memory_region":5"#,
            "Unable to parse 'shared_memory_region': attempt to access JSON non-string as string",
        ),
        (
            r#""shared_memory_region":"r","shared_memory_byte_size":4,"binary_data":true"#,
            "Output can't set both 'shared_memory_region' and 'binary_data'",
        ),
        (
            r#""classification":1,"shared_memory_byte_size":4,"shared_memory_region":"r""#,
            "Output can't set both 'shared_memory_region' and 'classification'",
        ),
        (
            r#""shared_memory_region":"r""#,
            "'shared_memory_byte_size' must be specified along with 'shared_memory_region' \
             parameter for tensor 'O'",
        ),
    ];
    for (parameters, message) in cases {
        let (_, text) = output(parameters).expect_err(parameters);
        assert_eq!(text, message, "{parameters}");
    }
}

#[test]
fn an_input_may_lie_in_shared_memory() {
    let input = |parameters: &str| {
        let text = format!(
            r#"{{"inputs":[{{"name":"IN","datatype":"FP16","shape":[1],"parameters":{{{parameters}}}}}]}}"#
        );
        let head = parse(&text).map_err(|(_, message)| message)?;
        Ok::<_, String>(head.inputs[0].shared_memory.clone())
    };
    let region = r#""shared_memory_region":"r""#;
    let expected = SharedMemoryReference {
        region: CName::new("r"),
        offset: 4,
        byte_size: u64::MAX,
    };
    let text = format!(
        r#"{region},"shared_memory_offset":4,"shared_memory_byte_size":{}"#,
        u64::MAX
    );
    assert_eq!(input(&text), Ok(Some(expected)));
    let unsigned = "attempt to access JSON non-unsigned-integer as unsigned-integer";
    let text = format!(r#"{region},"shared_memory_byte_size":"4""#);
    let message = format!("Unable to parse 'shared_memory_byte_size': {unsigned}");
    assert_eq!(input(&text), Err(message));
    let text = format!(r#"{region},"shared_memory_byte_size":4,"shared_memory_offset":-1"#);
    let message = format!("Unable to parse 'shared_memory_offset': {unsigned}");
    assert_eq!(input(&text), Err(message));
    let message = "'shared_memory_byte_size' must be specified along with 'shared_memory_region' \
                   parameter for tensor 'IN'";
    assert_eq!(input(region), Err(message.to_owned()));
}

/// Broken JSON is told before a request that makes no sense, wherever it is.
#[test]
fn syntax_errors_come_first() {
    let (_, message) = refusal(r#"{"inputs":5,}"#);
    assert_eq!(
        message,
        "failed to parse the request JSON buffer: Missing a name for object member. at 12"
    );
}

#[test]
fn the_number_of_items_is_limited() {
    let input = r#"{"name":"A","shape":[0],"datatype":"INT8","data":[]}"#;
    let head = |count: usize| format!(r#"{{"inputs":[{}]}}"#, vec![input; count].join(","));
    parse(&head(4096)).expect("as many as are allowed");
    assert_eq!(
        refusal(&head(4097)),
        invalid("request has more than 4096 inputs")
    );
}

#[test]
fn memory_is_not_taken_by_the_word_of_a_shape() {
    let members = r#""datatype":"FP64","shape":[1000000000000],"data":[1]"#;
    let (code, _) = input_bytes(members).expect_err("refused");
    assert_eq!(code, ErrorCode::Internal);
}

proptest! {
    #[test]
    fn doubles_keep_every_bit(values in prop::collection::vec(any::<f64>(), 0..40)) {
        let values: Vec<_> = values.into_iter().filter(|value| value.is_finite()).collect();
        let text = json!({"inputs": [{
            "name": "IN", "datatype": "FP64", "shape": [values.len()], "data": values,
        }]});
        let head = parse(&text.to_string()).expect("a request");
        let data = head.inputs[0].tensor.contiguous().expect("host memory");
        prop_assert_eq!(&*data, little_endian(values.into_iter().map(f64::to_le_bytes)));
    }

    #[test]
    fn integers_keep_every_bit(values in prop::collection::vec(any::<i64>(), 0..40)) {
        let text = json!({"inputs": [{
            "data": values, "shape": [values.len()], "datatype": "INT64", "name": "IN",
        }]});
        let head = parse(&format!("{text:#}")).expect("a request");
        let data = head.inputs[0].tensor.contiguous().expect("host memory");
        prop_assert_eq!(&*data, little_endian(values.into_iter().map(i64::to_le_bytes)));
    }

    #[test]
    fn strings_keep_every_byte(values in prop::collection::vec(any::<String>(), 0..10)) {
        let text = json!({"inputs": [{
            "name": "IN", "datatype": "BYTES", "shape": [values.len()], "data": values,
        }]});
        let head = parse(&text.to_string()).expect("a request");
        let data = head.inputs[0].tensor.contiguous().expect("host memory");
        let elements: Result<Vec<_>, _> = tritongw_types::BytesElements::new(&data).collect();
        let elements = elements.expect("well formed");
        prop_assert_eq!(elements, values.iter().map(String::as_bytes).collect::<Vec<_>>());
    }

    /// No text makes the parser panic.
    #[test]
    fn any_edit_is_survived(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let text = br#"{"id":"\u00fc","parameters":{"a":1.5,"sequence_id":"s"},"inputs":[{"name":"A",
            "shape":[2,1],"datatype":"INT32","data":[[1],[-2]],"parameters":{"binary_data_size":3}}],
            "outputs":[{"name":"O","parameters":{"binary_data":false}}]}"#;
        let mut text = text.to_vec();
        let at = at.index(text.len());
        if cut { text.truncate(at) } else { text[at] = byte }
        let _outcome = parse_infer_head(&text);
    }
}
