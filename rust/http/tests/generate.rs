// SPDX-License-Identifier: Apache-2.0
//! The generate routes (P010, P011, P112-P119) over real sockets.

mod support;

use std::sync::mpsc;
use std::time::Duration;

use support::{Client, Held, Model, Response, TestServer};
use tritongw_engine::clock::monotonic_ns;
use tritongw_engine::{InferenceRequest, ResponseFlags};
use tritongw_types::{DataType, Error, Shape};

const DECOUPLED: Model = Model {
    name: "decoupled",
    max_batch_size: 0,
    more: "model_transaction_policy { decoupled: true }",
    ..Model::HOLD
};

const STREAM: &str = "/v2/models/decoupled/generate_stream";
const SINGLE: &str = "/v2/models/decoupled/generate";

fn send_generate(server: &TestServer, path: &str) -> (Client, Box<InferenceRequest>) {
    let mut client = server.connect();
    let body = br#"{"IN":[1,2],"id":"7"}"#;
    client.send(&support::request_bytes("POST", path, &[], body));
    let request = server.held.take();
    (client, request)
}

/// Sends one response with one INT32 element, or more data.
fn answer(request: &InferenceRequest, value: i32, copies: usize) {
    let responder = request.responder();
    let mut response = responder.new_response();
    let data = value.to_le_bytes().repeat(copies);
    let shape = Shape::from([i64::try_from(copies).expect("few")]);
    let added = response.add_output_bytes("OUT", DataType::Int32, shape, data.into());
    added.expect("host memory");
    let sent = responder.send(Some(response), ResponseFlags::NONE);
    sent.expect("not final yet");
}

fn fail(request: &InferenceRequest, message: &str) {
    let responder = request.responder();
    let mut response = responder.new_response();
    response.set_error(Error::unavailable(message));
    let sent = responder.send(Some(response), ResponseFlags::NONE);
    sent.expect("not final yet");
}

fn end(request: Box<InferenceRequest>) {
    let sent = request.responder().send(None, ResponseFlags::FINAL);
    sent.expect("final once");
    request.release();
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline_ns = monotonic_ns() + 30_000_000_000;
    while !holds() {
        assert!(monotonic_ns() < deadline_ns, "{what}");
        std::thread::yield_now();
    }
}

fn event(value: i32) -> String {
    format!(
        "data: {{\"OUT\":{value},\"id\":\"7\",\"model_name\":\"decoupled\",\"model_version\":\"1\"}}\n\n"
    )
}

#[test]
fn a_plain_model_answers_with_one_sorted_object() {
    let server = TestServer::start(&[Model::ECHO]);
    let generate = |body: &str| server.post("/v2/models/echo/generate", &[], body.as_bytes());
    let response = generate(r#"{"IN":[1,2],"id":"a","temperature":0.5,"parameters":{"top":3}}"#);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(
        response.text(),
        r#"{"OUT":[1,2],"id":"a","model_name":"echo","model_version":"1","temperature":0.5,"top":3}"#
    );
    let single = r#"{"OUT":5,"model_name":"echo","model_version":"1"}"#;
    assert_eq!(generate(r#"{"IN":5}"#).text(), single);
    let stream = server.post("/v2/models/echo/generate_stream", &[], br#"{"IN":5}"#);
    assert_eq!(
        stream.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(stream.text(), format!("data: {single}\n\n"));
}

#[test]
fn responses_leave_as_they_come() {
    let server = TestServer::start(&[DECOUPLED]);
    let (mut client, request) = send_generate(&server, STREAM);
    assert_eq!(request.id().as_str(), "7");
    answer(&request, 1, 1);
    let head = client.response_head();
    assert_eq!(head.status, 200);
    assert_eq!(
        head.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(client.chunk(), event(1).as_bytes());
    answer(&request, 2, 1);
    assert_eq!(client.chunk(), event(2).as_bytes());
    fail(&request, "no more");
    assert_eq!(client.chunk(), b"data: {\"error\":\"no more\"}\n\n");
    answer(&request, 3, 1);
    assert_eq!(client.chunk(), event(3).as_bytes());
    let responder = request.responder().clone();
    end(request);
    assert_eq!(client.chunk(), b"");
    assert!(!responder.is_cancelled());
    assert_eq!(
        client.request("GET", "/v2/health/live", &[], b"").status,
        200
    );
}

#[test]
fn the_first_response_decides_the_status() {
    let server = TestServer::start(&[DECOUPLED]);
    let run = |path: &str, script: &[Option<i32>]| -> Response {
        let (mut client, request) = send_generate(&server, path);
        for step in script {
            match step {
                Some(value) => answer(&request, *value, 1),
                None => fail(&request, "it failed"),
            }
        }
        end(request);
        client.response()
    };
    let failed = "data: {\"error\":\"it failed\"}\n\n";
    let response = run(STREAM, &[None, Some(1)]);
    assert_eq!(
        (response.status, response.text()),
        (503, &*format!("{failed}{}", event(1)))
    );
    let response = run(STREAM, &[Some(1), None]);
    assert_eq!(
        (response.status, response.text()),
        (200, &*format!("{}{failed}", event(1)))
    );
    let response = run(STREAM, &[]);
    assert_eq!((response.status, response.text()), (200, ""));

    let one = run(SINGLE, &[Some(1)]);
    assert_eq!((one.status, one.json()["OUT"].as_i64()), (200, Some(1)));
    assert_eq!(run(SINGLE, &[None]).error(), (503, "it failed".to_owned()));
    let text = "generate expects model to produce exactly 1 response, use generate stream for \
                model that generates various number of responses";
    for script in [&[][..], &[Some(1), Some(2)], &[Some(1), None]] {
        assert_eq!(run(SINGLE, script).error(), (200, text.to_owned()));
    }
    assert_eq!(
        run(SINGLE, &[None, Some(1)]).error(),
        (503, text.to_owned())
    );
}

#[test]
fn a_client_that_goes_cancels_its_request() {
    let server = TestServer::start(&[DECOUPLED]);
    // Before the first response, after it, and while the one answer is awaited.
    for (path, responses) in [(STREAM, 0), (STREAM, 1), (SINGLE, 0)] {
        let (mut client, request) = send_generate(&server, path);
        for value in 0..responses {
            answer(&request, value, 1);
            client.response_head();
        }
        assert!(!request.is_cancelled());
        drop(client);
        wait_until("not cancelled", || request.is_cancelled());
        answer(&request, 9, 1);
        end(request);
    }
}

#[test]
fn a_model_that_asks_is_held_back_until_its_client_reads() {
    let server = TestServer::start(&[DECOUPLED]);
    let (mut client, request) = send_generate(&server, STREAM);
    // Kernel and connection buffer some; then the model is asked to wait.
    let mut sent = 0;
    while request.responder().has_room() {
        answer(&request, 1, 50_000);
        sent += 1;
        assert!(sent < 2000, "the client reads nothing, yet there is room");
    }
    let (resume, resumed) = mpsc::channel();
    request.responder().when_room(Box::new(move || {
        // The test may have ended.
        let _ = resume.send(());
    }));
    assert!(resumed.try_recv().is_err());
    assert_eq!(client.response_head().status, 200);
    for _ in 0..sent {
        assert!(client.chunk().starts_with(b"data: {\"OUT\":[1,1,"));
    }
    resumed
        .recv_timeout(Duration::from_secs(30))
        .expect("room again");
    assert!(!request.is_cancelled());
    end(request);
    assert_eq!(client.chunk(), b"");
}

#[test]
fn a_model_that_does_not_ask_is_cancelled_at_the_limit() {
    let server = TestServer::start(&[DECOUPLED]);
    let (mut client, request) = send_generate(&server, STREAM);
    let mut sent = 0;
    while !request.is_cancelled() {
        answer(&request, 1, 250_000);
        sent += 1;
        assert!(
            sent < 1000,
            "a gigabyte is kept for a client that does not read"
        );
    }
    for _ in 0..10 {
        answer(&request, 1, 250_000);
    }
    end(request);
    let response = client.response();
    let last = "data: {\"error\":\"the request was cancelled since its client did not read the \
                responses\"}\n\n";
    assert!(response.text().ends_with(last));
}

#[test]
fn an_inference_is_no_generation_and_the_other_way_round() {
    let server = TestServer::start(&[DECOUPLED, Model::ECHO]);
    let refused = server.post("/v2/models/decoupled/infer", &[], b"{}");
    assert_eq!(refused.status, 501);
    let packed = server.post(
        "/v2/models/echo/generate",
        &[("Content-Encoding", "gzip")],
        br#"{"IN":5}"#,
    );
    let text = "Unsupported content-encoding, only 'identity' is supported.";
    assert_eq!(packed.error(), (400, text.to_owned()));
    assert_eq!(server.get("/v2/models/echo/generate").status, 405);
}

#[test]
fn no_load_header_without_a_load() {
    let server = TestServer::start(&[Model::ECHO]);
    let headers = [("endpoint-load-metrics-format", "json")];
    let response = server.post("/v2/models/echo/generate", &headers, br#"{"IN":5}"#);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("endpoint-load-metrics"), None);
}

#[test]
fn a_model_that_gives_no_final_response_ends_its_stream_with_an_error() {
    let server = TestServer::start(&[DECOUPLED]);
    let (mut client, request) = send_generate(&server, STREAM);
    answer(&request, 1, 1);
    drop(request);
    let response = client.response();
    let last = "data: {\"error\":\"model 'decoupled' gave no final response to the request\"}\n\n";
    assert_eq!(response.text(), format!("{}{last}", event(1)));
}

#[test]
fn a_plain_request_is_answered_beside_a_stream() {
    let server = TestServer::start(&[DECOUPLED, Model::HOLD]);
    let (_client, stream) = send_generate(&server, STREAM);
    answer(&stream, 1, 1);
    let mut other = server.connect();
    other.send(&support::request_bytes(
        "POST",
        "/v2/models/hold/generate",
        &[],
        br#"{"IN":5}"#,
    ));
    Held::answer(server.held.take());
    assert_eq!(other.response().json()["OUT"].as_i64(), Some(5));
    end(stream);
}
