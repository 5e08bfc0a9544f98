// SPDX-License-Identifier: Apache-2.0
//! Routes, requests and responses, over a socket.

mod support;

use serde_json::{Value, json};
use support::{Model, TestServer};
use tritongw_http::{HttpOptions, MetricsServer};

const TWO_INPUTS: Model = Model {
    name: "two",
    max_batch_size: 0,
    inputs: &[("IN0", "TYPE_FP32", "2"), ("IN1", "TYPE_FP16", "2, -1")],
    ..Model::ECHO
};

const STRINGS: Model = Model {
    name: "string",
    max_batch_size: 0,
    inputs: &[("IN", "TYPE_STRING", "1")],
    ..Model::ECHO
};

#[test]
fn health_routes_have_no_body() {
    let server = TestServer::start(&[Model::ECHO]);
    let paths = [
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/echo/ready",
        "/v2/models/echo/versions/1/ready",
    ];
    for path in paths {
        let response = server.get(path);
        assert_eq!((response.status, response.text()), (200, ""), "{path}");
        assert_eq!(response.header("content-type"), None, "{path}");
    }
    let unknown = (
        404,
        "Request for unknown model: 'nope' is not found".to_owned(),
    );
    assert_eq!(server.get("/v2/models/nope/ready").error(), unknown);
}

#[test]
fn metadata_tells_server_and_models() {
    let server = TestServer::start(&[Model::ECHO, TWO_INPUTS]);
    let response = server.get("/v2?ignored=1");
    assert_eq!(
        (response.status, response.header("content-type")),
        (200, Some("application/json"))
    );
    let metadata = response.json();
    assert_eq!(metadata["name"], "triton");
    assert_eq!(metadata["version"], server.engine.version());
    assert_eq!(metadata["extensions"], json!(server.engine.extensions()));
    let response = server.get("/v2/models/echo");
    let expected = r#"{"name":"echo","versions":["1"],"platform":"fake","inputs":[{"name":"IN","datatype":"INT32","shape":[-1,-1]}],"outputs":[{"name":"OUT","datatype":"INT32","shape":[-1,-1]}]}"#;
    assert_eq!(response.text(), expected);
    assert_eq!(server.get("/v2/models/%65cho/versions/1").text(), expected);
    let two = server.get("/v2/models/two").json();
    assert_eq!(
        two["inputs"][1],
        json!({"name": "IN1", "datatype": "FP16", "shape": [2, -1]})
    );
    let missing = (
        404,
        "Request for unknown model: 'echo' version 9 is not found".to_owned(),
    );
    assert_eq!(server.get("/v2/models/echo/versions/9").error(), missing);
}

#[test]
fn config_is_the_canonical_json() {
    let server = TestServer::start(&[Model::ECHO]);
    let response = server.get("/v2/models/echo/config");
    let model = server.engine.model("echo", None).expect("loaded");
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.text(), model.config().to_json());
    assert_eq!(response.json()["max_batch_size"], 8);
    let unknown = (
        404,
        "Request for unknown model: 'nope' is not found".to_owned(),
    );
    assert_eq!(server.get("/v2/models/nope/config").error(), unknown);
}

#[test]
fn statistics_count_what_was_done() {
    let server = TestServer::start(&[Model::ECHO, TWO_INPUTS]);
    let fresh = server.get("/v2/models/echo/stats");
    let none = r#"{"count":0,"ns":0}"#;
    let expected = format!(
        r#"{{"model_stats":[{{"name":"echo","version":"1","last_inference":0,"inference_count":0,"execution_count":0,"inference_stats":{{"success":{none},"fail":{none},"queue":{none},"compute_input":{none},"compute_infer":{none},"compute_output":{none},"cache_hit":{none},"cache_miss":{none}}},"response_stats":{{}},"batch_stats":[],"memory_usage":[]}}]}}"#
    );
    assert_eq!(fresh.text(), expected);
    infer(
        &server,
        &json!({"inputs": [int32("IN", &[3, 1], &[1, 2, 3])]}),
    );
    let statistics = &server.get("/v2/models/echo/versions/1/stats").json()["model_stats"][0];
    assert_eq!(statistics["inference_count"], 3);
    assert_eq!(statistics["execution_count"], 1);
    assert_eq!(statistics["inference_stats"]["success"]["count"], 1);
    assert_eq!(statistics["batch_stats"][0]["batch_size"], 3);
    assert_eq!(statistics["batch_stats"][0]["compute_infer"]["count"], 1);
    assert_ne!(statistics["last_inference"], 0);
    let all = server.get("/v2/models/stats").json();
    let names: Vec<_> = all["model_stats"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|m| &m["name"])
        .collect();
    assert_eq!(names, ["echo", "two"]);
    let unknown = (400, "requested model 'nope' is not available".to_owned());
    assert_eq!(server.get("/v2/models/nope/stats").error(), unknown);
    let version = (
        400,
        "requested model version is not available for model 'echo'".to_owned(),
    );
    assert_eq!(
        server.get("/v2/models/echo/versions/9/stats").error(),
        version
    );
}

#[test]
fn unknown_paths_and_verbs_are_refused() {
    let server = TestServer::start(&[Model::ECHO]);
    for path in [
        "/",
        "/foo",
        "/v2/",
        "/v2/models",
        "/v2/models/echo/",
        "/metrics",
        "/v2/health/live/",
    ] {
        assert_eq!(
            server.get(path).text(),
            r#"{"error":"Not Found"}"#,
            "{path}"
        );
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    let wrong = [
        ("GET", "/v2/models/echo/infer"),
        ("PUT", "/v2/models/echo/infer"),
        ("POST", "/v2"),
        ("POST", "/v2/health/live"),
        ("DELETE", "/v2/models/echo"),
        ("OPTIONS", "/v2"),
        ("GET", "/v2/repository/index"),
    ];
    for (verb, path) in wrong {
        let response = server.connect().request(verb, path, &[], b"");
        assert_eq!(response.status, 405, "{verb} {path}");
        assert_eq!(
            response.text(),
            r#"{"error":"Method Not Allowed"}"#,
            "{verb} {path}"
        );
    }
}

#[test]
fn json_is_answered_with_json() {
    let server = TestServer::start(&[Model::ECHO]);
    let body = r#"{"id":"42","parameters":{"custom":"x","priority":0},"inputs":[{"name":"IN","shape":[2,2],"datatype":"INT32","data":[[1,2],[3,-4]]}]}"#;
    let response = server.post("/v2/models/echo/versions/1/infer", &[], body.as_bytes());
    assert_eq!(
        response.text(),
        r#"{"id":"42","model_name":"echo","model_version":"1","parameters":{"custom":"x"},"outputs":[{"name":"OUT","datatype":"INT32","shape":[2,2],"data":[1,2,3,-4]}]}"#
    );
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("inference-header-content-length"), None);
}

/// More JSON than the network thread reads and writes itself.
#[test]
fn long_json_goes_in_and_out_whole() {
    let server = TestServer::start(&[Model::ECHO]);
    let data: Vec<i32> = (0..200_000).collect();
    let body = json!({ "inputs": [int32("IN", &[1, 200_000], &data)] });
    assert!(body.to_string().len() > 1 << 20);
    assert_eq!(infer(&server, &body)["outputs"][0]["data"], json!(data));
    let cut = body.to_string().replace("199999", "nothing");
    let answer = server.post("/v2/models/echo/infer", &[], cut.as_bytes());
    assert_eq!(answer.status, 400, "an error comes back from there as well");
}

#[test]
fn binary_tensors_go_in_and_out() {
    let server = TestServer::start(&[TWO_INPUTS]);
    let head = json!({
        "inputs": [
            {"name": "IN0", "datatype": "FP32", "shape": [2], "data": [0.1, 2]},
            {"name": "IN1", "datatype": "FP16", "shape": [2, 1], "parameters": {"binary_data_size": 4}},
        ],
        "outputs": [
            {"name": "OUT0", "parameters": {"binary_data": false}},
            {"name": "OUT1", "parameters": {"binary_data": true}},
        ],
    })
    .to_string();
    let body = [head.as_bytes(), &[1, 2, 3, 4]].concat();
    let length = head.len().to_string();
    let headers = [("Inference-Header-Content-Length", length.as_str())];
    let response = server.post("/v2/models/two/infer", &headers, &body);
    let expected = r#"{"model_name":"two","model_version":"1","outputs":[{"name":"OUT0","datatype":"FP32","shape":[2],"data":[0.10000000149011612,2.0]},{"name":"OUT1","datatype":"FP16","shape":[2,1],"parameters":{"binary_data_size":4}}]}"#;
    assert_eq!(
        response.header("content-type"),
        Some("application/octet-stream")
    );
    let head_length = expected.len().to_string();
    assert_eq!(
        response.header("inference-header-content-length"),
        Some(head_length.as_str())
    );
    assert_eq!(response.body, [expected.as_bytes(), &[1, 2, 3, 4]].concat());
}

#[test]
fn empty_binary_outputs_need_no_header() {
    let server = TestServer::start(&[Model::ECHO]);
    let body =
        json!({"parameters": {"binary_data_output": true}, "inputs": [int32("IN", &[1, 0], &[])]});
    let response = server.post("/v2/models/echo/infer", &[], body.to_string().as_bytes());
    assert_eq!(
        response.text(),
        r#"{"model_name":"echo","model_version":"1","outputs":[{"name":"OUT","datatype":"INT32","shape":[1,0],"parameters":{"binary_data_size":0}}]}"#
    );
    assert_eq!(response.header("inference-header-content-length"), None);
    assert_eq!(response.header("content-type"), Some("application/json"));
}

#[test]
fn a_raw_body_is_the_only_input() {
    let several_axes = Model {
        name: "axes",
        max_batch_size: 0,
        inputs: &[("IN", "TYPE_FP32", "-1, -1")],
        ..Model::ECHO
    };
    let pairs = Model {
        name: "pairs",
        max_batch_size: 0,
        inputs: &[("IN", "TYPE_INT16", "2, -1")],
        ..Model::ECHO
    };
    let server = TestServer::start(&[Model::ECHO, TWO_INPUTS, STRINGS, several_axes, pairs]);
    let raw = |model: &str, body: &[u8]| {
        let path = format!("/v2/models/{model}/infer");
        server.post(&path, &[("Inference-Header-Content-Length", "0")], body)
    };
    let response = raw("echo", &[1, 0, 0, 0, 2, 0, 0, 0]);
    let head = r#"{"model_name":"echo","model_version":"1","outputs":[{"name":"OUT","datatype":"INT32","shape":[1,2],"parameters":{"binary_data_size":8}}]}"#;
    assert_eq!(
        response.body,
        [head.as_bytes(), &[1, 0, 0, 0, 2, 0, 0, 0]].concat()
    );
    let response = raw("string", b"hello");
    assert!(
        response.body.ends_with(b"}]}\x05\0\0\0hello"),
        "{response:?}"
    );
    assert!(raw("pairs", &[0; 12]).body.starts_with(br#"{"model_name":"pairs","model_version":"1","outputs":[{"name":"OUT","datatype":"INT16","shape":[2,3]"#));
    let refused = |model: &str, body: &[u8], message: &str| {
        let expected = (400, format!("[request id: <id_unknown>] {message}"));
        assert_eq!(raw(model, body).error(), expected);
    };
    refused(
        "echo",
        &[0; 7],
        "input byte size mismatch for input 'raw_input' for model 'echo'. Expected 4, got 7",
    );
    refused(
        "two",
        &[0; 8],
        "Raw request must only have 1 input (found 1) to be deduced but got 2 inputs in 'two' model configuration",
    );
    refused(
        "axes",
        &[0; 8],
        "The shape of the raw input 'IN' can not be deduced because there are more than one variable-sized dimension",
    );
    let no_body = server.post("/v2/models/two/infer", &[], b"");
    assert!(
        no_body
            .text()
            .contains("Raw request must only have 1 input"),
        "{no_body:?}"
    );
}

#[test]
fn wrong_bodies_are_refused_in_tritons_words() {
    let server = TestServer::start(&[Model::ECHO]);
    let post = |headers: &[(&str, &str)], body: &[u8]| {
        server.post("/v2/models/echo/infer", headers, body).error()
    };
    let invalid = |message: &str| (400, message.to_owned());
    assert_eq!(
        post(&[], b"{\"inputs\":[1,}"),
        invalid("failed to parse the request JSON buffer: Invalid value. at 13")
    );
    assert_eq!(
        post(&[("Inference-Header-Content-Length", "9")], b"{}"),
        invalid("inference header size should be in range (0, 2), got: 9")
    );
    let binary = br#"{"inputs":[{"name":"IN","datatype":"INT32","shape":[1,1],"parameters":{"binary_data_size":4}}]}"#;
    assert_eq!(
        post(&[], binary),
        invalid("unexpected size for input 'IN', expecting 4 additional bytes for model 'echo'")
    );
    assert_eq!(
        post(
            &[("Inference-Header-Content-Length", "13")],
            b"{\"inputs\":[]}x"
        ),
        invalid("unexpected additional input data for model 'echo'")
    );
    let count = json!({"inputs": [int32("IN", &[1, 3], &[1])]}).to_string();
    let message = "Unable to parse 'data': Shape does not match true shape of 'data' field";
    assert_eq!(post(&[], count.as_bytes()), (500, message.to_owned()));
    let batch =
        json!({"id": "abc", "inputs": [int32("IN", &[9, 1], &[1, 2, 3, 4, 5, 6, 7, 8, 9])]});
    assert_eq!(
        post(&[], batch.to_string().as_bytes()),
        invalid("[request id: abc] inference request batch-size must be <= 8 for 'echo'")
    );
    let twice = json!({"inputs": [int32("IN", &[1, 1], &[1]), int32("IN", &[1, 1], &[1])]});
    assert_eq!(
        post(&[], twice.to_string().as_bytes()),
        invalid("[request id: <id_unknown>] input 'IN' already exists in request")
    );
}

#[test]
fn models_that_cannot_be_asked_say_why() {
    let decoupled = Model {
        name: "decoupled",
        more: "model_transaction_policy { decoupled: true }",
        ..Model::ECHO
    };
    let fails = Model {
        name: "fails",
        behaviour: "fail",
        ..Model::ECHO
    };
    let server = TestServer::start(&[decoupled, fails]);
    let body = json!({"inputs": [int32("IN", &[1, 1], &[1])]}).to_string();
    let post = |model: &str| {
        server
            .post(&format!("/v2/models/{model}/infer"), &[], body.as_bytes())
            .error()
    };
    let unknown = (
        404,
        "Request for unknown model: 'nope' is not found".to_owned(),
    );
    assert_eq!(post("nope"), unknown);
    let message = "HTTP end point doesn't support models with decoupled transaction policy";
    assert_eq!(post("decoupled"), (501, message.to_owned()));
    assert_eq!(
        post("fails"),
        (503, "the backend is out of order".to_owned())
    );
}

#[test]
fn a_panic_is_its_requests_error() {
    let panics = Model {
        name: "panics",
        behaviour: "panic",
        ..Model::ECHO
    };
    let memory = Model {
        name: "memory",
        behaviour: "panic_memory",
        ..Model::ECHO
    };
    let server = TestServer::start(&[panics, memory, Model::ECHO]);
    let body = json!({"inputs": [int32("IN", &[1, 1], &[1])]}).to_string();
    let mut client = server.connect();
    for model in ["panics", "memory"] {
        let path = format!("/v2/models/{model}/infer");
        let response = client.request("POST", &path, &[], body.as_bytes());
        assert_eq!(response.status, 500, "{response:?}");
    }
    let response = client.request("POST", "/v2/models/echo/infer", &[], body.as_bytes());
    assert_eq!(response.status, 200, "the connection lives");
}

#[test]
fn large_bodies_are_received_in_the_models_memory() {
    let memory = Model {
        name: "memory",
        behaviour: "memory",
        ..Model::ECHO
    };
    let server = TestServer::start(&[memory]);
    let values: Vec<i32> = (0..100_000).collect();
    let head = json!({
        "parameters": {"binary_data_output": true},
        "inputs": [{"name": "IN", "datatype": "INT32", "shape": [1, values.len()],
            "parameters": {"binary_data_size": values.len() * 4}}],
    })
    .to_string();
    let data: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let length = head.len().to_string();
    let headers = [("Inference-Header-Content-Length", length.as_str())];
    let body = [head.as_bytes(), &data].concat();
    let response = server.post("/v2/models/memory/infer", &headers, &body);
    assert_eq!(response.status, 200);
    assert!(response.body.ends_with(&data));
    assert_eq!(server.held.frozen(), 1);
    let small = json!({"inputs": [int32("IN", &[1, 1], &[1])]}).to_string();
    assert_eq!(
        server
            .post("/v2/models/memory/infer", &[], small.as_bytes())
            .status,
        200
    );
    assert_eq!(server.held.frozen(), 1, "not worth it");
}

#[test]
fn bodies_cut_anywhere_arrive_whole_and_leave_the_next_request_alone() {
    let memory = Model {
        name: "memory",
        behaviour: "memory",
        ..Model::ECHO
    };
    let server = TestServer::start(&[memory]);
    let data: Vec<u8> = (0_i32..5000).flat_map(i32::to_le_bytes).collect();
    let head = json!({
        "parameters": {"binary_data_output": true},
        "inputs": [{"name": "IN", "datatype": "INT32", "shape": [1, data.len() / 4],
            "parameters": {"binary_data_size": data.len()}}],
    })
    .to_string();
    let length = head.len().to_string();
    let headers = [("Inference-Header-Content-Length", length.as_str())];
    let body = [head.as_bytes(), &data].concat();
    let request = support::request_bytes("POST", "/v2/models/memory/infer", &headers, &body);
    let twice = [&request[..], &request[..]].concat();
    let mut client = server.connect();
    let step = request.len() / 7;
    for cut in (1..request.len()).step_by(step).chain([request.len() - 1]) {
        // Whether or not the server sees the cut, the bytes must be the same.
        client.send(&twice[..cut]);
        std::thread::yield_now();
        client.send(&twice[cut..]);
        for _ in 0..2 {
            let response = client.response();
            assert_eq!(response.status, 200, "{cut}");
            assert!(response.body.ends_with(&data), "{cut}");
        }
    }
}

#[test]
fn the_metrics_port_serves_metrics_only() {
    let server = TestServer::start(&[Model::ECHO]);
    let engine = std::sync::Arc::clone(&server.engine);
    let metrics = MetricsServer::start("127.0.0.1", 0, engine).expect("a free port");
    let mut client = support::Client::connect(metrics.local_addr());
    for path in ["/metrics", "/metrics/"] {
        let response = client.request("GET", path, &[], b"");
        assert_eq!(
            response.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        let line = r#"nv_inference_request_success{model="echo",version="1"} 0"#;
        assert!(response.text().lines().any(|known| known == line), "{path}");
    }
    for path in ["/", "/foo", "/v2"] {
        let response = client.request("GET", path, &[], b"");
        assert_eq!((response.status, response.text()), (200, ""), "{path}");
    }
    let response = client.request("POST", "/metrics", &[], b"");
    assert_eq!(response.error(), (405, "Method Not Allowed".to_owned()));
}

#[test]
fn an_address_is_no_unix_socket() {
    let server = TestServer::start(&[Model::ECHO]);
    let address = "unix:/tmp/socket";
    let options = HttpOptions {
        address: address.to_owned(),
        port: 0,
        ..HttpOptions::default()
    };
    let engine = std::sync::Arc::clone(&server.engine);
    let error = tritongw_http::HttpServer::start(&options, engine);
    let error = error.expect_err("no address of the internet");
    let message = format!("failed to start http service at {address}:0: ");
    assert!(error.message().starts_with(&message), "{error}");
}

#[test]
fn a_taken_port_is_an_error() {
    let server = TestServer::start(&[]);
    let port = server.http.local_addr().port();
    let options = HttpOptions {
        address: "127.0.0.1".to_owned(),
        port,
        ..HttpOptions::default()
    };
    let engine = std::sync::Arc::clone(&server.engine);
    let error = tritongw_http::HttpServer::start(&options, engine).expect_err("taken");
    let message = format!("Socket '127.0.0.1:{port}' already in use");
    assert_eq!(error.message(), message);
}

fn int32(name: &str, shape: &[i64], data: &[i32]) -> Value {
    json!({"name": name, "datatype": "INT32", "shape": shape, "data": data})
}

fn infer(server: &TestServer, body: &Value) -> Value {
    let response = server.post("/v2/models/echo/infer", &[], body.to_string().as_bytes());
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}
