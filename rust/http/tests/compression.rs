// SPDX-License-Identifier: Apache-2.0
//! Compressed bodies in both directions (P104, P105, P107) over real sockets.

mod support;

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use support::{Model, Response, TestServer};
use tritongw_http::HttpOptions;

const INFER: &str = "/v2/models/echo/infer";
const BODY: &str = r#"{"inputs":[{"name":"IN","datatype":"INT32","shape":[1,3],"data":[1,2,3]}]}"#;

fn pack(coding: &str, data: &[u8]) -> Vec<u8> {
    if coding == "gzip" {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).expect("memory");
        return encoder.finish().expect("memory");
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn unpack(response: &Response) -> Vec<u8> {
    let mut data = Vec::new();
    let read = match response.header("content-encoding") {
        Some("gzip") => GzDecoder::new(&response.body[..]).read_to_end(&mut data),
        Some("deflate") => ZlibDecoder::new(&response.body[..]).read_to_end(&mut data),
        other => panic!("{other:?}"),
    };
    read.expect("a compressed body");
    data
}

#[test]
fn compressed_requests_are_read() {
    let server = TestServer::start(&[Model::ECHO]);
    for coding in ["gzip", "deflate"] {
        let packed = pack(coding, BODY.as_bytes());
        let response = server.post(INFER, &[("Content-Encoding", coding)], &packed);
        assert_eq!(
            response.json()["outputs"][0]["data"],
            serde_json::json!([1, 2, 3])
        );
    }
    let plain = server.post(INFER, &[("Content-Encoding", "identity")], BODY.as_bytes());
    assert_eq!(plain.status, 200);
}

#[test]
fn the_head_of_a_compressed_binary_request_is_measured_uncompressed() {
    let server = TestServer::start(&[Model::ECHO]);
    let head = r#"{"inputs":[{"name":"IN","datatype":"INT32","shape":[1,2],"parameters":{"binary_data_size":8}}],"parameters":{"binary_data_output":true}}"#;
    let tensor = [5, 0, 0, 0, 6, 0, 0, 0];
    let packed = pack("gzip", &[head.as_bytes(), &tensor].concat());
    let length = head.len().to_string();
    let headers = [
        ("Content-Encoding", "gzip"),
        ("Inference-Header-Content-Length", &*length),
        ("Accept-Encoding", "deflate"),
    ];
    let response = server.post(INFER, &headers, &packed);
    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("content-type"),
        Some("application/octet-stream")
    );
    let length = response
        .header("inference-header-content-length")
        .expect("binary");
    let body = unpack(&response);
    assert_eq!(&body[length.parse::<usize>().expect("a length")..], tensor);
}

#[test]
fn responses_are_compressed_as_the_client_likes() {
    let server = TestServer::start(&[Model::ECHO]);
    let plain = server.post(INFER, &[], BODY.as_bytes());
    assert_eq!(plain.header("content-encoding"), None);
    for (accepted, coding) in [("gzip", "gzip"), ("gzip;q=0.1, deflate", "deflate")] {
        let headers = [("Accept-Encoding", accepted)];
        let response = server.post(INFER, &headers, BODY.as_bytes());
        assert_eq!(response.header("content-encoding"), Some(coding));
        assert_eq!(unpack(&response), plain.body);
    }
    for accepted in ["identity", "br", "*", "gzip;q=0"] {
        let headers = [("Accept-Encoding", accepted)];
        assert_eq!(
            server.post(INFER, &headers, BODY.as_bytes()),
            plain,
            "{accepted}"
        );
    }
    // Only inference is compressed.
    let headers = [("Accept-Encoding", "gzip")];
    let metadata = server.connect().request("GET", "/v2", &headers, b"");
    assert_eq!(metadata.header("content-encoding"), None);
}

#[test]
fn other_codings_are_refused_with_those_there_are() {
    let server = TestServer::start(&[Model::ECHO]);
    for coding in ["br", "", "gzip, deflate"] {
        let response = server.post(INFER, &[("Content-Encoding", coding)], BODY.as_bytes());
        assert_eq!(
            response.error(),
            (501, "Unsupported compression type".to_owned())
        );
        assert_eq!(response.header("accept-encoding"), Some("gzip, deflate"));
    }
}

#[test]
fn what_a_body_expands_to_is_limited() {
    let options = HttpOptions {
        max_input_size: 100_000,
        ..HttpOptions::default()
    };
    let server = TestServer::start_with(&[Model::ECHO], options);
    let mut client = server.connect();
    for coding in ["gzip", "deflate"] {
        let bomb = pack(coding, &vec![b' '; 50_000_000]);
        assert!(bomb.len() < 100_000);
        let headers = [("Content-Encoding", coding)];
        let (status, text) = client.request("POST", INFER, &headers, &bomb).error();
        assert_eq!(status, 400);
        assert!(
            text.contains("100000 bytes") && text.contains("--http-max-input-size"),
            "{text}"
        );
        let packed = pack(coding, BODY.as_bytes());
        assert_eq!(client.request("POST", INFER, &headers, &packed).status, 200);
        let cut_off = &packed[..packed.len() - 3];
        assert_eq!(
            client.request("POST", INFER, &headers, cut_off).error().0,
            400
        );
        assert_eq!(
            client
                .request("POST", INFER, &headers, BODY.as_bytes())
                .error()
                .0,
            400
        );
        assert_eq!(client.request("POST", INFER, &headers, b"").error().0, 400);
    }
}
