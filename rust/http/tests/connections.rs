// SPDX-License-Identifier: Apache-2.0
//! What happens to connections: their life, their limits, their end.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use support::{Client, Held, Model, TestServer};
use tritongw_engine::clock::monotonic_ns;
use tritongw_engine::metrics;
use tritongw_http::HttpOptions;

const BODY: &str = r#"{"inputs":[{"name":"IN","shape":[1,1],"datatype":"INT32","data":[7]}]}"#;
const ECHO: &str = "/v2/models/echo/infer";
const HOLD: &str = "/v2/models/hold/infer";

fn one_thread() -> HttpOptions {
    HttpOptions {
        thread_count: 1,
        ..HttpOptions::default()
    }
}

fn infer_request(path: &str) -> String {
    let length = BODY.len();
    format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{BODY}")
}

#[test]
fn a_connection_serves_many_requests() {
    let server = TestServer::start(&[Model::ECHO]);
    let mut client = server.connect();
    for _ in 0..20 {
        assert_eq!(
            client.request("POST", ECHO, &[], BODY.as_bytes()).status,
            200
        );
        assert_eq!(
            client.request("GET", "/v2/health/live", &[], b"").status,
            200
        );
        assert_eq!(client.request("POST", ECHO, &[], b"no json").status, 400);
        assert_eq!(
            client
                .request("POST", "/nowhere", &[], BODY.as_bytes())
                .status,
            404
        );
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = TestServer::start(&[Model::ECHO]);
    let mut client = server.connect();
    let request = |id: usize| {
        let body = BODY.replacen('{', &format!("{{\"id\":\"{id}\","), 1);
        let length = body.len();
        format!("POST {ECHO} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let requests: String = (0..10).map(request).collect();
    client.send(requests.as_bytes());
    for id in 0..10 {
        assert_eq!(client.response().json()["id"], id.to_string());
    }
}

#[test]
fn old_clients_and_those_that_say_so_are_closed() {
    let server = TestServer::start(&[Model::ECHO]);
    let mut client = server.connect();
    client.send(b"GET /v2/health/live HTTP/1.0\r\n\r\n");
    assert_eq!(client.response_head().status, 200);
    client.expect_end();

    let mut client = server.connect();
    let close = [("Connection", "close")];
    assert_eq!(
        client.request("POST", ECHO, &close, BODY.as_bytes()).status,
        200
    );
    client.expect_end();

    let mut client = server.connect();
    for _ in 0..2 {
        client.send(b"GET /v2/health/live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn what_is_not_http_ends_its_connection_only() {
    let server = TestServer::start(&[Model::ECHO]);
    let broken: [&[u8]; 4] = [
        b"garbage\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"\x00\x01\x02\xff\r\n\r\n",
    ];
    for bytes in broken {
        let mut client = server.connect();
        client.send(bytes);
        client.expect_end();
    }
    assert_eq!(server.get("/v2/health/live").status, 200);
}

#[test]
fn a_body_beyond_the_limit_is_refused_before_it_is_read() {
    let options = HttpOptions {
        max_input_size: 1000,
        ..one_thread()
    };
    let server = TestServer::start_with(&[Model::ECHO], options);
    let refusal = |size: &str| {
        let message = format!(
            "Request JSON size{size} exceeds the maximum allowed value of 1000 bytes. Use \
             --http-max-input-size to increase the limit."
        );
        (400, message)
    };
    // The head alone is answered.
    let mut client = server.connect();
    let head = format!("POST {ECHO} HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999999\r\n\r\n");
    client.send(head.as_bytes());
    assert_eq!(client.response().error(), refusal(" of 99999999999 bytes"));
    // A client that sends all the same gets its answer, and may go on.
    let mut client = server.connect();
    let response = client.request("POST", ECHO, &[], &vec![b' '; 3 << 20]);
    assert_eq!(response.error(), refusal(" of 3145728 bytes"));
    assert_eq!(
        client.request("POST", ECHO, &[], BODY.as_bytes()).status,
        200
    );
    // A body that does not tell its length is read up to the limit.
    let mut client = server.connect();
    client.send(format!("POST {ECHO} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes());
    client.send(format!("3e9\r\n{}\r\n", " ".repeat(1001)).as_bytes());
    assert_eq!(client.response().error(), refusal(""));
    client.send(b"0\r\n\r\n");
    assert_eq!(
        client.request("POST", ECHO, &[], BODY.as_bytes()).status,
        200
    );
}

#[test]
fn bodies_at_the_limit_are_read() {
    let options = HttpOptions {
        max_input_size: 1000,
        ..one_thread()
    };
    let server = TestServer::start_with(&[Model::ECHO], options);
    let body = format!("{BODY:1000}");
    assert_eq!(server.post(ECHO, &[], body.as_bytes()).status, 200);
}

#[test]
fn chunks_make_a_body_unless_there_are_too_many() {
    let server = TestServer::start(&[Model::ECHO]);
    let chunked = |chunks: &mut dyn Iterator<Item = String>| {
        let mut client = server.connect();
        let mut bytes = format!("POST {ECHO} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
        chunks.for_each(|chunk| bytes += &format!("{:x}\r\n{chunk}\r\n", chunk.len()));
        bytes += "0\r\n\r\n";
        client.send(bytes.as_bytes());
        client.response()
    };
    let response = chunked(&mut BODY.chars().map(String::from));
    assert_eq!(response.json()["outputs"][0]["data"][0], 7);
    // Longer than the memory that is taken at a time, and cut off in the middle of the data.
    let (front, back) = BODY.split_at(BODY.len() / 2);
    let long = [format!("{}{front}", " ".repeat(5 << 19)), back.to_owned()];
    assert_eq!(
        chunked(&mut long.into_iter()).json()["outputs"][0]["data"][0],
        7
    );
    let blanks = |count: usize| std::iter::repeat_n(" ".to_owned(), count);
    let many = chunked(&mut blanks(65535).chain([BODY.to_owned()]));
    assert_eq!(many.status, 200);
    let too_many = chunked(&mut blanks(65536).chain([BODY.to_owned()]));
    let message = "request body has too many chunks, at most 65536 are allowed";
    assert_eq!(too_many.error(), (400, message.to_owned()));
}

#[test]
fn a_client_that_waits_is_told_to_go_on_only_if_its_body_is_wanted() {
    let options = HttpOptions {
        max_input_size: 1000,
        ..one_thread()
    };
    let server = TestServer::start_with(&[Model::ECHO], options);
    let head = |length: usize| {
        format!(
            "POST {ECHO} HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut client = server.connect();
    client.send(head(BODY.len()).as_bytes());
    assert_eq!(client.response_head().status, 100);
    client.send(BODY.as_bytes());
    assert_eq!(client.response().status, 200);
    let mut client = server.connect();
    client.send(head(1001).as_bytes());
    assert_eq!(client.response().status, 400);
    client.expect_end();
}

#[test]
fn a_slow_body_holds_up_nobody_else() {
    let server = TestServer::start_with(&[Model::ECHO], one_thread());
    let request = infer_request(ECHO);
    let (first, second) = request.split_at(request.len() - 10);
    let mut slow = server.connect();
    slow.send(first.as_bytes());
    assert_eq!(server.post(ECHO, &[], BODY.as_bytes()).status, 200);
    slow.send(second.as_bytes());
    assert_eq!(slow.response().status, 200);
}

#[test]
fn a_slow_model_holds_up_nobody_else() {
    let server = TestServer::start_with(&[Model::ECHO, Model::HOLD], one_thread());
    let mut slow = server.connect();
    slow.send(infer_request(HOLD).as_bytes());
    let request = server.held.take();
    assert_eq!(server.post(ECHO, &[], BODY.as_bytes()).status, 200);
    Held::answer(request);
    assert_eq!(slow.response().status, 200);
}

#[test]
fn a_closed_connection_cancels_its_request() {
    let server = TestServer::start(&[Model::HOLD]);
    let mut client = server.connect();
    client.send(infer_request(HOLD).as_bytes());
    let request = server.held.take();
    assert!(!request.is_cancelled());
    drop(client);
    let deadline_ns = monotonic_ns() + 30_000_000_000;
    while !request.is_cancelled() {
        assert!(monotonic_ns() < deadline_ns, "not cancelled");
        std::thread::yield_now();
    }
    Held::answer(request);
    assert_eq!(server.get("/v2/health/live").status, 200);
}

#[test]
fn a_request_that_its_model_drops_is_an_error() {
    let server = TestServer::start(&[Model::HOLD]);
    let mut client = server.connect();
    client.send(infer_request(HOLD).as_bytes());
    drop(server.held.take());
    let message = "model 'hold' gave no final response to the request";
    assert_eq!(client.response().error(), (500, message.to_owned()));
}

#[test]
fn a_closed_connection_takes_its_request_out_of_the_queue() {
    const WAITS: Model = Model {
        name: "waits",
        more: "dynamic_batching { preferred_batch_size: [8] max_queue_delay_microseconds: 3600000000 }",
        ..Model::ECHO
    };
    let server = TestServer::start(&[WAITS]);
    let deadline_ns = monotonic_ns() + 30_000_000_000;
    let wait_for = |count| {
        let line = format!(
            "nv_inference_pending_request_count{{model=\"waits\",version=\"1\"}} {count}\n"
        );
        while !metrics::render(&server.engine).contains(&line) {
            assert!(monotonic_ns() < deadline_ns, "not {count} requests");
            std::thread::yield_now();
        }
    };
    let mut client = server.connect();
    client.send(infer_request("/v2/models/waits/infer").as_bytes());
    wait_for(1);
    drop(client);
    wait_for(0);
}

#[test]
fn an_answered_request_is_not_cancelled() {
    let server = TestServer::start(&[Model::HOLD]);
    let mut client = server.connect();
    client.send(infer_request(HOLD).as_bytes());
    let request = server.held.take();
    let responder = std::sync::Arc::clone(request.responder());
    Held::answer(request);
    assert_eq!(client.response().status, 200);
    drop(client);
    drop(server.stop(Duration::from_secs(30)));
    assert!(!responder.is_cancelled());
}

#[test]
fn a_head_that_does_not_end_is_cut_off() {
    let options = HttpOptions {
        head_timeout: Duration::from_millis(100),
        idle_timeout: Duration::from_secs(3600),
        ..one_thread()
    };
    let server = TestServer::start_with(&[Model::ECHO], options);
    let mut silent = server.connect();
    let mut used = server.connect();
    assert_eq!(used.request("GET", "/v2/health/live", &[], b"").status, 200);
    for head in ["G", "GET /v2/health/live HTTP/1.1\r\nHost: test\r\n"] {
        let mut dripping = server.connect();
        dripping.send(head.as_bytes());
        dripping.expect_end();
    }
    used.send(b"GET");
    used.expect_end();
    // One that says nothing has only the idle timeout.
    assert_eq!(
        silent.request("GET", "/v2/health/live", &[], b"").status,
        200
    );
}

#[test]
fn a_connection_that_does_nothing_is_closed() {
    let options = HttpOptions {
        idle_timeout: Duration::from_millis(300),
        ..one_thread()
    };
    let server = TestServer::start_with(&[Model::ECHO, Model::HOLD], options);
    let mut waiting = server.connect();
    waiting.send(infer_request(HOLD).as_bytes());
    let request = server.held.take();
    let request_bytes = infer_request(ECHO);
    let parts: [&str; 3] = [
        "",
        "GET /v2/health/live HTTP/1.1\r\nHo",
        &request_bytes[..100],
    ];
    let mut idlers = parts.map(|part| {
        let mut client = server.connect();
        client.send(part.as_bytes());
        client
    });
    idlers.iter_mut().for_each(Client::expect_end);
    // To wait for the model is not to idle: it has now waited longer than any idler may.
    server.connect().expect_end();
    Held::answer(request);
    assert_eq!(waiting.response().status, 200);
}

#[test]
fn stopping_answers_what_is_under_way() {
    let server = TestServer::start(&[Model::HOLD]);
    let address = server.http.local_addr();
    let mut idle = server.connect();
    assert_eq!(idle.request("GET", "/v2/health/live", &[], b"").status, 200);
    let mut busy = server.connect();
    busy.send(infer_request(HOLD).as_bytes());
    let request = server.held.take();
    let stopper = std::thread::spawn(move || server.stop(Duration::from_secs(30)));
    idle.expect_end();
    Held::answer(request);
    assert_eq!(busy.response().status, 200);
    busy.expect_end();
    stopper.join().expect("stops");
    std::net::TcpStream::connect(address).expect_err("nobody listens");
}

#[test]
fn stopping_waits_no_longer_than_it_is_told_to() {
    let server = TestServer::start(&[Model::HOLD]);
    let mut busy = server.connect();
    busy.send(infer_request(HOLD).as_bytes());
    let request = server.held.take();
    let engine = server.stop(Duration::from_millis(10));
    busy.expect_end();
    assert!(request.is_cancelled());
    Held::answer(request);
    drop(engine);
}

#[test]
fn an_exiting_server_refuses_all_but_health() {
    let server = TestServer::start(&[Model::ECHO]);
    server.engine.stop(Duration::from_secs(30));
    let exiting = (503, "Server exiting".to_owned());
    assert_eq!(server.post(ECHO, &[], BODY.as_bytes()).error(), exiting);
    assert_eq!(server.get("/v2").error(), exiting);
    assert_eq!(server.get("/v2/health/live").status, 200);
    assert_eq!(server.get("/v2/health/ready").status, 400);
    assert_eq!(server.get("/v2/health/ready").text(), "");
}

#[test]
fn connections_are_dealt_out_to_all_threads() {
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(2);
    let inline = Model {
        name: "inline",
        behaviour: "inline",
        ..Model::ECHO
    };
    let options = HttpOptions {
        thread_count: threads,
        ..HttpOptions::default()
    };
    let server = TestServer::start_with(&[inline], options);
    let mut names = BTreeSet::new();
    let mut clients: Vec<_> = (0..threads).map(|_| server.connect()).collect();
    for client in &mut clients {
        let response = client.request("POST", "/v2/models/inline/infer", &[], BODY.as_bytes());
        names.insert(response.json()["outputs"][0]["data"][0].to_string());
    }
    let expected: BTreeSet<_> = (0..threads)
        .map(|index| format!("\"http-{index}\""))
        .collect();
    assert_eq!(
        names, expected,
        "inline models run on the network thread of their request"
    );
}

/// What a thread's sockets bring together is dispatched together.
#[test]
fn requests_read_in_one_turn_share_a_batch() {
    let gate = Model {
        name: "gate",
        behaviour: "gate",
        ..Model::ECHO
    };
    let batching = Model {
        more: "dynamic_batching {}",
        ..Model::ECHO
    };
    let server = TestServer::start_with(&[gate, batching], one_thread());
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(
            client.request("GET", "/v2/health/live", &[], b"").status,
            200
        );
    }
    // The one network thread is busy while all requests arrive.
    let mut blocking = server.connect();
    blocking.send(infer_request("/v2/models/gate/infer").as_bytes());
    server.held.wait_at_gate();
    for client in &mut clients {
        client.send(infer_request(ECHO).as_bytes());
    }
    server.held.open_gate();
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    let echo = server.engine.model("echo", None).expect("loaded");
    let batches: Vec<_> = echo.statistics().snapshot().batches.into_keys().collect();
    assert_eq!(batches, [8]);
}

/// Many busy connections: nothing is left undispatched.
#[test]
fn many_connections_are_all_served() {
    let server = TestServer::start_with(&[Model::ECHO], one_thread());
    let mut clients: Vec<_> = (0..200).map(|_| server.connect()).collect();
    for _ in 0..3 {
        for client in &mut clients {
            client.send(infer_request(ECHO).as_bytes());
        }
        for client in &mut clients {
            assert_eq!(client.response().status, 200);
        }
    }
}
