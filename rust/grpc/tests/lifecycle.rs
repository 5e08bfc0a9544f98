// SPDX-License-Identifier: Apache-2.0
//! Deadlines, clients that leave, servers that stop, many clients at once.

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use support::client::Call;
use support::{PATIENCE, serve, serve_with};
use tritongw_engine::backend::Backend;
use tritongw_engine::{Server, ServerOptions};
use tritongw_grpc::{GrpcOptions, GrpcServer};
use tritongw_protocol::pb;
use tritongw_protocol::pb::model_infer_request::InferInputTensor;
use tritongw_types::ErrorCode;

const DEADLINE_EXCEEDED: u8 = 4;
const UNAVAILABLE: u8 = 14;

fn infer(model: &str) -> Call {
    let input = InferInputTensor {
        name: "INPUT0".to_owned(),
        datatype: "FP32".to_owned(),
        shape: vec![1],
        ..InferInputTensor::default()
    };
    let request = pb::ModelInferRequest {
        model_name: model.to_owned(),
        inputs: vec![input],
        raw_input_contents: vec![Bytes::from_static(&[0, 0, 128, 63])],
        ..pb::ModelInferRequest::default()
    };
    Call::new(
        "/inference.GRPCInferenceService/ModelInfer",
        &request.encode_to_vec(),
    )
}

#[test]
fn a_deadline_ends_the_call_and_cancels_the_request() {
    let fixture = serve();
    let mut client = fixture.client();
    // Long enough for the request to be with the backend by then, on a busy machine too.
    let answer = client.send(infer("hold").header("grpc-timeout", "1S"));
    assert_eq!(
        (answer.code(), answer.text().as_str()),
        (DEADLINE_EXCEEDED, "Deadline Exceeded")
    );
    assert!(fixture.next_held().request.is_cancelled());
    let answer = client.send(infer("id_fp32").header("grpc-timeout", "1H"));
    assert_eq!(answer.code(), 0);
}

#[test]
fn a_client_that_gives_a_call_up_cancels_the_request() {
    let fixture = serve();
    let mut client = fixture.client();
    let call = client.start_and_flush(infer("hold"));
    let held = fixture.next_held();
    assert!(!held.request.is_cancelled());
    call.abort();
    // The server reads the reset before the call that follows it.
    client.settle();
    assert!(held.request.is_cancelled());
}

#[test]
fn a_client_that_disconnects_cancels_its_requests() {
    let fixture = serve();
    let mut client = fixture.client();
    client.start_and_flush(infer("hold"));
    let held = fixture.next_held();
    drop(client);
    // Waits for the call to end, which only the lost connection can bring about.
    fixture.grpc.stop(PATIENCE);
    assert!(held.request.is_cancelled());
}

#[test]
fn a_server_that_stops_answers_what_it_has_and_refuses_the_rest() {
    let fixture = serve();
    let mut client = fixture.client();
    let address = fixture.grpc.local_addr();
    let under_way = client.start_and_flush(infer("hold"));
    let held = fixture.next_held();
    let grpc = fixture.grpc;
    let stopping = std::thread::spawn(move || grpc.stop(PATIENCE));
    let refused = loop {
        let answer = client.send(infer("id_fp32"));
        if answer.code() != 0 {
            break answer;
        }
    };
    assert_eq!(refused.code(), UNAVAILABLE);
    let text = "GRPC server is shutting down and has stopped accepting new requests.";
    assert_eq!(refused.text(), text);
    client.settle();
    held.answer();
    let answer = client.wait(under_way);
    assert_eq!(
        answer.message::<pb::ModelInferResponse>().model_name,
        "hold"
    );
    drop(client);
    stopping.join().expect("it stops");
    assert!(
        std::net::TcpStream::connect(address).is_err(),
        "the port is closed"
    );
}

#[test]
fn an_engine_that_stops_has_inference_refused() {
    let fixture = serve();
    fixture.engine.stop(Duration::ZERO);
    let answer = fixture.client().send(infer("id_fp32"));
    assert_eq!(answer.code(), UNAVAILABLE);
}

#[test]
fn calls_still_open_after_the_timeout_are_cancelled() {
    let fixture = serve();
    let mut client = fixture.client();
    client.start_and_flush(infer("hold"));
    let held = fixture.next_held();
    fixture.grpc.stop(Duration::ZERO);
    assert!(held.request.is_cancelled());
}

#[test]
fn many_connections_with_many_calls_each_get_their_own_answers() {
    let fixture = serve_with(&GrpcOptions {
        thread_count: 3,
        ..GrpcOptions::default()
    });
    std::thread::scope(|scope| {
        for of_client in 0..4u8 {
            let fixture_address = fixture.grpc.local_addr();
            scope.spawn(move || {
                let mut client = support::client::Client::connect(fixture_address);
                let calls: Vec<_> = (0..50u8)
                    .map(|i| {
                        let data = [of_client, i, 0, 0].map(|byte| byte);
                        let input = InferInputTensor {
                            name: "INPUT0".to_owned(),
                            datatype: "INT8".to_owned(),
                            shape: vec![4],
                            ..InferInputTensor::default()
                        };
                        let request = pb::ModelInferRequest {
                            model_name: "id_int8".to_owned(),
                            id: format!("{of_client}-{i}"),
                            inputs: vec![input],
                            raw_input_contents: vec![Bytes::copy_from_slice(&data)],
                            ..pb::ModelInferRequest::default()
                        };
                        let path = "/inference.GRPCInferenceService/ModelInfer";
                        (i, client.start(Call::new(path, &request.encode_to_vec())))
                    })
                    .collect();
                for (i, call) in calls {
                    let response: pb::ModelInferResponse = client.wait(call).message();
                    assert_eq!(response.id, format!("{of_client}-{i}"));
                    assert_eq!(response.raw_output_contents[0], [of_client, i, 0, 0][..]);
                }
            });
        }
    });
}

#[test]
fn a_port_that_is_taken_is_an_error_with_its_name() {
    let repository = tempfile::TempDir::new().expect("a temporary directory");
    let options = ServerOptions {
        model_repositories: vec![repository.path().to_owned()],
        ..ServerOptions::default()
    };
    let backends: Vec<Arc<dyn Backend>> = Vec::new();
    let engine = Server::new(options, backends).expect("an empty repository");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let options = GrpcOptions {
        address: "127.0.0.1".to_owned(),
        port,
        ..GrpcOptions::default()
    };
    let error = GrpcServer::start(&options, &engine).expect_err("the port is taken");
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert_eq!(
        error.message(),
        format!("Socket '127.0.0.1:{port}' already in use")
    );
}
