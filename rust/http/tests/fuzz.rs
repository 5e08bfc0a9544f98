// SPDX-License-Identifier: Apache-2.0
//! Requests that no client of good faith sends: heads and bodies, and whole connections.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use support::{Model, TestServer};
use tritongw_engine::buffer::InputBuffer;
use tritongw_http::codec::{
    HeadInput, inference_header_length, parse_infer_head, split_binary_tensors,
};
use tritongw_types::{BytesElements, DataType, byte_size};

/// A head is refused with a text, or each tensor it holds has the size its shape says; texts are
/// whole.
#[test]
fn fuzz_json_body() {
    tritongw_fuzzing::fuzz!("json_body", |input: &[u8]| {
        match parse_infer_head(input) {
            Ok(head) => head.inputs.iter().for_each(check_json_tensor),
            Err(error) => assert!(!error.message().is_empty()),
        }
    });
}

fn check_json_tensor(input: &HeadInput) {
    let tensor = &input.tensor;
    let size: usize = tensor.data.iter().map(InputBuffer::byte_size).sum();
    if input.binary_data_size.is_some() || input.shared_memory.is_some() {
        assert_eq!(size, 0);
        return;
    }
    if tensor.shape.element_count().is_err() {
        return;
    }
    if tensor.shape.is_empty() {
        return; // Refused later, with a text that names the model's shape.
    }
    match byte_size(tensor.data_type, &tensor.shape) {
        Ok(Some(expected)) => assert_eq!(size, expected),
        Ok(None) => {
            let pieces = tensor.data.iter().filter_map(InputBuffer::as_host);
            let data: Vec<u8> = pieces.flatten().copied().collect();
            // How many there are is for the engine to check, which knows the model.
            assert!(BytesElements::new(&data).all(|element| element.is_ok()));
        }
        Err(_) => panic!("{}: no size", tensor.data_type),
    }
    assert_ne!(tensor.data_type, DataType::Fp16, "no JSON form");
}

/// The first line is the value of the length header, the rest is the body.
#[test]
fn fuzz_binary_split() {
    tritongw_fuzzing::fuzz!("binary_split", |input: &[u8]| {
        let end = input.iter().position(|byte| *byte == b'\n');
        let (header, body) = input.split_at(end.unwrap_or(0));
        let mut body = Bytes::copy_from_slice(body.strip_prefix(b"\n").unwrap_or(body));
        let Ok(length) = inference_header_length(Some(header), body.len()) else {
            return;
        };
        assert!(length <= body.len());
        let Ok(mut head) = parse_infer_head(&body.split_to(length)) else {
            return;
        };
        let rest = body.len();
        if split_binary_tensors(&mut head.inputs, body, "m").is_ok() {
            let announced = head
                .inputs
                .iter()
                .filter_map(|input| input.binary_data_size);
            assert_eq!(announced.sum::<u64>(), rest as u64);
            for input in &head.inputs {
                if let Some(size) = input.binary_data_size {
                    let taken = input.tensor.data.iter().map(InputBuffer::byte_size);
                    assert_eq!(taken.sum::<usize>() as u64, size);
                }
            }
        }
    });
}

/// Whatever arrives, answers are HTTP and the next connection is served.
#[test]
fn fuzz_connection() {
    let server = TestServer::start(&[Model::ECHO]);
    let server = std::panic::AssertUnwindSafe(&server);
    tritongw_fuzzing::fuzz!("connection", |input: &[u8]| {
        let answer = exchange(&server, input);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1."),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        let live = server.get("/v2/health/live");
        assert_eq!(live.status, 200);
    });
}

/// Sends `input` on a connection of its own, ends it, and returns what comes back.
fn exchange(server: &TestServer, input: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.http.local_addr()).expect("a listener");
    let timeout = Some(Duration::from_secs(20));
    stream.set_read_timeout(timeout).expect("a timeout");
    // Closed on us in the middle: what it said before still counts.
    let _ = stream.write_all(input);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    answer
}
