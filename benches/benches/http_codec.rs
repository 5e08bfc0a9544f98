// SPDX-License-Identifier: Apache-2.0
//! What the bodies of an inference over HTTP cost, ours and serde_json's.

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};
use tritongw_benches::{ELEMENT_COUNTS, fp32_elements, wire_bytes};
use tritongw_engine::OutputTensor;
use tritongw_engine::buffer::OutputBuffer;
use tritongw_http::codec::{
    EncodedResponse, OutputEncoding, ResponseHead, encode_infer_response, inference_header_length,
    parse_infer_head, split_binary_tensors,
};
use tritongw_types::{CName, DataType, Shape};

/// A body as it comes from the connection.
struct Body {
    bytes: Bytes,
    /// `Inference-Header-Content-Length`, where there are binary tensors.
    header: Option<String>,
}

/// Makes the bodies of one tensor, by the form it comes in. Python clients print 32-bit numbers as
/// doubles, with 16 digits or so.
fn bodies(element_count: usize) -> [(&'static str, Body); 2] {
    let elements = fp32_elements(element_count);
    let input = json!({ "name": "INPUT0", "datatype": "FP32", "shape": [1, element_count] });
    let head = |member: &str, value: Value| {
        let mut input = input.clone();
        input[member] = value;
        json!({ "id": "1", "inputs": [input] })
            .to_string()
            .into_bytes()
    };
    let doubles: Vec<f64> = elements.iter().copied().map(f64::from).collect();
    let json = Body {
        bytes: head("data", doubles.into()).into(),
        header: None,
    };

    let tensor = wire_bytes(&elements, f32::to_le_bytes);
    let head = head("parameters", json!({ "binary_data_size": tensor.len() }));
    let header = Some(head.len().to_string());
    let binary = Body {
        bytes: [head, tensor].concat().into(),
        header,
    };
    [("json", json), ("binary", binary)]
}

/// Reads a body and makes its tensor, as the door does.
fn decode(body: &Body) -> Bytes {
    let mut bytes = body.bytes.clone();
    let header = body.header.as_ref().map(String::as_bytes);
    let head_length = inference_header_length(header, bytes.len()).expect("the header is right");
    let text = bytes.split_to(head_length);
    let mut head = parse_infer_head(&text).expect("the head is well formed");
    split_binary_tensors(&mut head.inputs, bytes, "identity").expect("the sizes are right");
    head.inputs[0]
        .tensor
        .contiguous()
        .expect("the input lies in host memory")
}

/// What the tensor needs and no more: the rest costs this reader as good as nothing.
#[derive(Deserialize)]
struct SerdeRequest {
    inputs: Vec<SerdeInput>,
}

#[derive(Deserialize)]
struct SerdeInput {
    #[serde(default)]
    data: Vec<f32>,
    #[serde(default)]
    parameters: SerdeParameters,
}

#[derive(Default, Deserialize)]
struct SerdeParameters {
    binary_data_size: Option<usize>,
}

fn decode_with_serde_json(body: &Body) -> Bytes {
    let mut bytes = body.bytes.clone();
    let head_length = match &body.header {
        Some(header) => header.parse().expect("the header is a number"),
        None => bytes.len(),
    };
    let text = bytes.split_to(head_length);
    let request: SerdeRequest = serde_json::from_slice(&text).expect("the head is well formed");
    let input = &request.inputs[0];
    match input.parameters.binary_data_size {
        Some(size) => bytes.split_to(size),
        None => Bytes::from(wire_bytes(&input.data, f32::to_le_bytes)),
    }
}

/// From the body to the tensor in the wire's layout.
fn requests_in(c: &mut Criterion) {
    let mut group = c.benchmark_group("http_codec");
    for element_count in ELEMENT_COUNTS {
        for (data, body) in bodies(element_count) {
            assert_eq!(decode(&body), decode_with_serde_json(&body));
            let id = format!("decode/data={data}/fp32={element_count}");
            group.throughput(Throughput::Bytes(body.bytes.len() as u64));
            group.bench_function(format!("{id}/by=tritongw"), |b| b.iter(|| decode(&body)));
            group.bench_function(format!("{id}/by=serde_json"), |b| {
                b.iter(|| decode_with_serde_json(&body));
            });
        }
    }
    group.finish();
}

fn output(data: &Bytes) -> OutputTensor {
    OutputTensor {
        name: CName::new("OUTPUT0"),
        data_type: DataType::Fp32,
        shape: Shape::from_slice(&[1, (data.len() / size_of::<f32>()) as i64]),
        buffer: Some(OutputBuffer::Adopted(data.clone())),
    }
}

fn encode(output: OutputTensor, encoding: &OutputEncoding) -> EncodedResponse {
    let head = ResponseHead {
        id: "1",
        model_name: "identity",
        model_version: 1,
        parameters: &[],
    };
    encode_infer_response(&head, [output].into_iter(), encoding).expect("the output is right")
}

#[derive(Serialize)]
struct SerdeResponse<'a> {
    id: &'a str,
    model_name: &'a str,
    model_version: &'a str,
    outputs: [SerdeOutput<'a>; 1],
}

#[derive(Serialize)]
struct SerdeOutput<'a> {
    name: &'a str,
    datatype: &'a str,
    shape: &'a [i64],
    #[serde(flatten)]
    content: SerdeContent,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum SerdeContent {
    #[serde(serialize_with = "widened")]
    Data(Bytes),
    Parameters {
        binary_data_size: usize,
    },
}

fn widened<S: Serializer>(data: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    let (elements, _) = data.as_chunks();
    let doubles = elements
        .iter()
        .map(|element| f64::from(f32::from_le_bytes(*element)));
    serializer.collect_seq(doubles)
}

fn encode_with_serde_json(output: OutputTensor, is_binary: bool) -> (Vec<u8>, Option<Bytes>) {
    let buffer = output.buffer.expect("the output has data");
    let data = buffer.into_bytes().expect("the output lies in host memory");
    let tensor = is_binary.then(|| data.clone());
    let content = match &tensor {
        Some(tensor) => SerdeContent::Parameters {
            binary_data_size: tensor.len(),
        },
        None => SerdeContent::Data(data),
    };
    let output = SerdeOutput {
        name: &output.name,
        datatype: output.data_type.as_str(),
        shape: &output.shape,
        content,
    };
    let response = SerdeResponse {
        id: "1",
        model_name: "identity",
        model_version: "1",
        outputs: [output],
    };
    let head = serde_json::to_vec(&response).expect("finite numbers have a JSON form");
    (head, tensor)
}

/// From the output to what is handed to the connection.
fn responses_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("http_codec");
    for element_count in ELEMENT_COUNTS {
        let data = Bytes::from(wire_bytes(&fp32_elements(element_count), f32::to_le_bytes));
        for (form, is_binary) in [("json", false), ("binary", true)] {
            let encoding = OutputEncoding::All { is_binary };
            let ours = encode(output(&data), &encoding);
            let (head, tensor) = encode_with_serde_json(output(&data), is_binary);
            assert_eq!(parsed(&ours.head), parsed(&head));
            assert_eq!(ours.tensors.first(), tensor.as_ref());

            let id = format!("encode/data={form}/fp32={element_count}");
            let length = head.len() + tensor.map_or(0, |tensor| tensor.len());
            group.throughput(Throughput::Bytes(length as u64));
            group.bench_function(format!("{id}/by=tritongw"), |b| {
                let outputs = || output(&data);
                b.iter_batched(
                    outputs,
                    |output| encode(output, &encoding),
                    BatchSize::SmallInput,
                );
            });
            group.bench_function(format!("{id}/by=serde_json"), |b| {
                let outputs = || output(&data);
                let encode = |output| encode_with_serde_json(output, is_binary);
                b.iter_batched(outputs, encode, BatchSize::SmallInput);
            });
        }
    }
    group.finish();
}

fn parsed(head: &[u8]) -> Value {
    serde_json::from_slice(head).expect("the head is well formed")
}

criterion_group!(benches, requests_in, responses_out);
criterion_main!(benches);
