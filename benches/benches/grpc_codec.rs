// SPDX-License-Identifier: Apache-2.0
//! What the messages of `ModelInfer` cost, ours and prost's.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use tritongw_benches::{ELEMENT_COUNTS, fp32_elements, int32_elements, wire_bytes};
use tritongw_grpc::codec::{
    Envelope, InferOutput, InferResponse, Segments, decode_infer_request, encode_infer_response,
};
use tritongw_protocol::pb::model_infer_request::InferInputTensor;
use tritongw_protocol::pb::model_infer_response::InferOutputTensor;
use tritongw_protocol::pb::{InferTensorContents, ModelInferRequest, ModelInferResponse};
use tritongw_types::{CName, DataType, Shape};

/// Compression flag and length before each message.
const PREFIX_LENGTH: usize = 5;

/// Makes the requests of one tensor, by the field it comes in.
fn requests(element_count: usize) -> [(&'static str, ModelInferRequest); 3] {
    let fp32 = fp32_elements(element_count);
    let raw = Bytes::from(wire_bytes(&fp32, f32::to_le_bytes));
    let request = |data_type: DataType, contents| ModelInferRequest {
        model_name: "identity".to_owned(),
        id: "1".to_owned(),
        inputs: vec![InferInputTensor {
            name: "INPUT0".to_owned(),
            datatype: data_type.as_str().to_owned(),
            shape: vec![1, element_count as i64],
            contents,
            ..InferInputTensor::default()
        }],
        ..ModelInferRequest::default()
    };
    let fp32_contents = InferTensorContents {
        fp32_contents: fp32,
        ..Default::default()
    };
    let int_contents = InferTensorContents {
        int_contents: int32_elements(element_count),
        ..Default::default()
    };
    let mut with_raw = request(DataType::Fp32, None);
    with_raw.raw_input_contents.push(raw);
    [
        ("raw", with_raw),
        ("fp32", request(DataType::Fp32, Some(fp32_contents))),
        ("int32", request(DataType::Int32, Some(int_contents))),
    ]
}

/// Reads a message and makes its tensor, as the door does.
fn decode(message: &Bytes) -> Bytes {
    let request = decode_infer_request(message).expect("the message is well formed");
    let input = &request.inputs[0];
    match &input.contents {
        None => request.raw_input_contents[0].clone(),
        Some(contents) => contents
            .to_tensor(DataType::from_protocol_str(input.datatype), message)
            .expect("the contents are of the input's type"),
    }
}

fn decode_with_prost(message: &Bytes) -> Bytes {
    let request = ModelInferRequest::decode(message.clone()).expect("the message is well formed");
    match &request.inputs[0].contents {
        None => request.raw_input_contents[0].clone(),
        Some(contents) if contents.fp32_contents.is_empty() => {
            Bytes::from(wire_bytes(&contents.int_contents, i32::to_le_bytes))
        }
        Some(contents) => Bytes::from(wire_bytes(&contents.fp32_contents, f32::to_le_bytes)),
    }
}

/// From the message to the tensor in the wire's layout.
fn requests_in(c: &mut Criterion) {
    let mut group = c.benchmark_group("grpc_codec");
    for element_count in ELEMENT_COUNTS {
        for (contents, request) in requests(element_count) {
            let message = Bytes::from(request.encode_to_vec());
            assert_eq!(decode(&message), decode_with_prost(&message));
            let id = format!("decode/contents={contents}/elements={element_count}");
            group.throughput(Throughput::Bytes(message.len() as u64));
            group.bench_function(format!("{id}/by=tritongw"), |b| b.iter(|| decode(&message)));
            group.bench_function(format!("{id}/by=prost"), |b| {
                b.iter(|| decode_with_prost(&message));
            });
        }
    }
    group.finish();
}

fn output(element_count: usize) -> InferOutput {
    InferOutput {
        name: CName::new("OUTPUT0"),
        data_type: DataType::Fp32,
        shape: Shape::from_slice(&[1, element_count as i64]),
        data: Bytes::from(wire_bytes(&fp32_elements(element_count), f32::to_le_bytes)),
    }
}

fn encode(outputs: &[InferOutput]) -> Segments {
    let response = InferResponse {
        model_name: "identity",
        model_version: 1,
        id: "1",
        parameters: &[],
        outputs,
    };
    encode_infer_response(&response, Envelope::Unary, usize::MAX).expect("no limit is set")
}

fn encode_with_prost(outputs: &[InferOutput]) -> Bytes {
    let tensor = |output: &InferOutput| InferOutputTensor {
        name: output.name.as_str().to_owned(),
        datatype: output.data_type.as_str().to_owned(),
        shape: output.shape.to_vec(),
        ..InferOutputTensor::default()
    };
    let response = ModelInferResponse {
        model_name: "identity".to_owned(),
        model_version: "1".to_owned(),
        id: "1".to_owned(),
        outputs: outputs.iter().map(tensor).collect(),
        raw_output_contents: outputs.iter().map(|output| output.data.clone()).collect(),
        ..ModelInferResponse::default()
    };
    let length = response.encoded_len();
    let mut message = BytesMut::with_capacity(PREFIX_LENGTH + length);
    message.put_u8(0);
    message.put_u32(length as u32);
    response
        .encode(&mut message)
        .expect("the buffer is large enough");
    message.freeze()
}

/// From the outputs to what is handed to the connection.
fn responses_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("grpc_codec");
    for element_count in ELEMENT_COUNTS {
        let outputs = [output(element_count)];
        let mut ours = encode(&outputs);
        let theirs = encode_with_prost(&outputs);
        assert_eq!(ours.copy_to_bytes(ours.remaining()), theirs);
        let id = format!("encode/contents=raw/elements={element_count}");
        group.throughput(Throughput::Bytes(theirs.len() as u64));
        group.bench_function(format!("{id}/by=tritongw"), |b| b.iter(|| encode(&outputs)));
        group.bench_function(format!("{id}/by=prost"), |b| {
            b.iter(|| encode_with_prost(&outputs))
        });
    }
    group.finish();
}

criterion_group!(benches, requests_in, responses_out);
criterion_main!(benches);
