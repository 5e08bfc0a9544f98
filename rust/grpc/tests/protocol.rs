// SPDX-License-Identifier: Apache-2.0
//! gRPC itself: framing, compression, sizes, what is no call at all.

mod support;

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use support::client::{Call, frame};
use support::{serve, serve_with};
use tritongw_grpc::GrpcOptions;
use tritongw_protocol::pb;

const MODEL_METADATA: &str = "/inference.GRPCInferenceService/ModelMetadata";
const RESOURCE_EXHAUSTED: u8 = 8;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;

fn metadata_request() -> Vec<u8> {
    let name = "add_sub".to_owned();
    pb::ModelMetadataRequest {
        name,
        version: String::new(),
    }
    .encode_to_vec()
}

#[test]
fn an_answer_has_the_headers_and_trailers_of_grpc() {
    let fixture = serve();
    let answer = fixture
        .client()
        .send(Call::new(MODEL_METADATA, &metadata_request()));
    assert_eq!(answer.http_status, 200);
    assert_eq!(answer.headers["content-type"], "application/grpc");
    assert_eq!(
        answer.headers["grpc-accept-encoding"],
        "identity, deflate, gzip"
    );
    assert_eq!(
        answer.trailers.as_ref().expect("trailers")["grpc-status"],
        "0"
    );
    assert_eq!(
        answer.message::<pb::ModelMetadataResponse>().name,
        "add_sub"
    );
}

#[test]
fn a_message_may_be_cut_anywhere() {
    let fixture = serve();
    let mut client = fixture.client();
    let framed = frame(0, &metadata_request());
    for size in 1..framed.len() {
        let pieces: Vec<_> = framed.chunks(size).map(Bytes::copy_from_slice).collect();
        let answer = client.send(Call::of_frames(MODEL_METADATA, pieces));
        assert_eq!(
            answer.message::<pb::ModelMetadataResponse>().name,
            "add_sub",
            "{size}"
        );
    }
}

#[test]
fn the_first_of_several_messages_is_answered() {
    let fixture = serve();
    let mut client = fixture.client();
    let both = [frame(0, &metadata_request()), frame(0, b"\xff")].concat();
    let answer = client.send(Call::of_frames(MODEL_METADATA, [Bytes::from(both)]));
    assert_eq!(
        answer.message::<pb::ModelMetadataResponse>().name,
        "add_sub"
    );
    let open = Call::new(MODEL_METADATA, &metadata_request()).without_end();
    let answer = client.send(open);
    assert_eq!(
        answer.message::<pb::ModelMetadataResponse>().name,
        "add_sub"
    );
}

#[test]
fn compressed_messages_are_read() {
    let fixture = serve();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(&metadata_request())
        .expect("writes to memory");
    let message = frame(1, &encoder.finish().expect("writes to memory"));
    let mut client = fixture.client();
    let call = Call::of_frames(MODEL_METADATA, [message.clone()]);
    let answer = client.send(call.header("grpc-encoding", "gzip"));
    assert_eq!(
        answer.message::<pb::ModelMetadataResponse>().name,
        "add_sub"
    );
    let unannounced = client.send(Call::of_frames(MODEL_METADATA, [message.clone()]));
    assert_eq!(unannounced.code(), INTERNAL);
    let call = Call::of_frames(MODEL_METADATA, [message]);
    let unknown = client.send(call.header("grpc-encoding", "snappy"));
    assert_eq!(unknown.code(), UNIMPLEMENTED);
    assert_eq!(
        unknown.headers["grpc-accept-encoding"],
        "identity, deflate, gzip"
    );
}

#[test]
fn a_message_above_the_limit_is_refused_by_its_prefix() {
    let options = GrpcOptions {
        max_message_size: 100,
        ..GrpcOptions::default()
    };
    let fixture = serve_with(&options);
    let mut client = fixture.client();
    let prefix = Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]);
    let answer = client.send(Call::of_frames(MODEL_METADATA, [prefix]).without_end());
    let text = "SERVER: Received message larger than max (4294967295 vs. 100)";
    assert_eq!(
        (answer.code(), answer.text().as_str()),
        (RESOURCE_EXHAUSTED, text)
    );
    client.settle();
}

#[test]
fn an_answer_above_the_limit_is_refused() {
    let input = pb::model_infer_request::InferInputTensor {
        name: "INPUT0".to_owned(),
        datatype: "INT8".to_owned(),
        shape: vec![60],
        ..Default::default()
    };
    let request = pb::ModelInferRequest {
        model_name: "id_int8".to_owned(),
        inputs: vec![input],
        raw_input_contents: vec![Bytes::from_static(&[1; 60])],
        ..Default::default()
    };
    // The answer is a little larger: it names the version, and its tensor is an output.
    let max_message_size = request.encoded_len();
    let fixture = serve_with(&GrpcOptions {
        max_message_size,
        ..GrpcOptions::default()
    });
    let answer = fixture.client().call("ModelInfer", &request);
    let text = format!(
        "SERVER: Sent message larger than max ({} vs. {max_message_size})",
        max_message_size + 4
    );
    assert_eq!((answer.code(), answer.text()), (RESOURCE_EXHAUSTED, text));
}

#[test]
fn a_prefix_that_is_none_is_refused() {
    let fixture = serve();
    let mut client = fixture.client();
    let answer = client.send(Call::of_frames(MODEL_METADATA, [frame(7, b"")]));
    assert_eq!(
        (answer.code(), answer.text().as_str()),
        (INTERNAL, "Bad GRPC frame type 0x07")
    );
    client.settle();
}

#[test]
fn what_is_no_call_of_a_known_method_is_refused() {
    let fixture = serve();
    let mut client = fixture.client();
    for path in ["/inference.GRPCInferenceService/Nope", "/nope.Nope/X"] {
        let answer = client.send(Call::new(path, &[]));
        assert_eq!(
            (answer.code(), answer.text().as_str()),
            (UNIMPLEMENTED, ""),
            "{path}"
        );
    }
    let json = Call::new(MODEL_METADATA, &[]).header("content-type", "application/json");
    assert_eq!(client.send(json).http_status, 415);
    client.settle();
}

#[test]
fn bytes_that_are_no_http_2_end_their_connection_only() {
    use std::io::Read;

    let fixture = serve();
    let mut client = fixture.client();
    let mut stranger = std::net::TcpStream::connect(fixture.grpc.local_addr()).expect("listens");
    stranger
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("connected");
    let mut answer = Vec::new();
    // The server may close with unread bytes in its socket, which resets the connection.
    let _ = stranger.read_to_end(&mut answer);
    client.settle();
}
