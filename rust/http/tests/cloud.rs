// SPDX-License-Identifier: Apache-2.0
//! The ports of Vertex AI (P168-P172) and SageMaker (P158, P159, P164, P166) over real sockets.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use support::{Client, Model, Response, TestServer};
use tritongw_http::{
    HttpOptions, HttpServer, SageMakerInference, SageMakerOptions, SageMakerPing, VertexAiOptions,
};
use tritongw_types::{ApiGroup, RestrictedApis};

const BODY: &[u8] = br#"{"inputs":[{"name":"IN","datatype":"INT32","shape":[1,2],"data":[1,2]}]}"#;
const ANSWER: &str = r#"{"model_name":"echo","model_version":"1","outputs":[{"name":"OUT","datatype":"INT32","shape":[1,2],"data":[1,2]}]}"#;
const REDIRECT: &str = "X-Vertex-Ai-Triton-Redirect";

fn local() -> HttpOptions {
    HttpOptions {
        address: "127.0.0.1".to_owned(),
        port: 0,
        ..HttpOptions::default()
    }
}

fn vertex_options() -> VertexAiOptions {
    VertexAiOptions {
        http: local(),
        predict_route: "/v1/models/m:predict".to_owned(),
        health_route: "/healthy".to_owned(),
        default_model: None,
    }
}

fn send(
    address: SocketAddr,
    verb: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    Client::connect(address).request(verb, path, headers, body)
}

/// A Vertex AI port beside a server.
struct Vertex {
    port: HttpServer,
    server: TestServer,
}

impl Vertex {
    fn start(options: &VertexAiOptions) -> Self {
        let server = TestServer::start(&[Model::ECHO]);
        let port = HttpServer::start_vertex_ai(options, Arc::clone(&server.engine));
        let port = port.expect("a free port");
        Self { port, server }
    }

    fn predict(&self, headers: &[(&str, &str)], body: &[u8]) -> Response {
        send(
            self.port.local_addr(),
            "POST",
            "/v1/models/m:predict",
            headers,
            body,
        )
    }

    fn redirect(&self, target: &str) -> Response {
        self.predict(&[(REDIRECT, target)], b"{}")
    }
}

#[test]
fn vertex_has_two_routes() {
    let vertex = Vertex::start(&vertex_options());
    let address = vertex.port.local_addr();
    assert_eq!(send(address, "GET", "/healthy", &[], b"").status, 200);
    assert_eq!(send(address, "POST", "/healthy", &[], b"").status, 405);
    assert_eq!(vertex.predict(&[], BODY).text(), ANSWER);
    let get = send(address, "GET", "/v1/models/m:predict", &[], b"");
    assert_eq!(get.error(), (405, "Method Not Allowed".to_owned()));
    for path in [
        "/",
        "/healthy/",
        "/v2",
        "/v2/models/echo/infer",
        "/v1/models/m",
    ] {
        let response = send(address, "POST", path, &[], BODY);
        assert_eq!((response.status, response.text()), (400, ""), "{path}");
    }
}

#[test]
fn vertex_redirects_to_what_changes_nothing() {
    let vertex = Vertex::start(&vertex_options());
    for path in [
        "v2",
        "v2/health/live",
        "v2/health/ready",
        "v2/models/echo",
        "v2/models/echo/versions/1/ready",
        "v2/models/echo/config",
        "v2/models/echo/stats",
        "v2/models/stats",
    ] {
        let direct = vertex.server.get(&format!("/{path}"));
        let redirected = vertex.redirect(path);
        assert_eq!(redirected.status, direct.status, "{path}");
        assert_eq!(redirected.text(), direct.text(), "{path}");
    }
    let infer = [(REDIRECT, "v2/models/echo/infer")];
    assert_eq!(vertex.predict(&infer, BODY).text(), ANSWER);
    let generate = [(REDIRECT, "v2/models/echo/generate")];
    assert_eq!(
        vertex.predict(&generate, br#"{"IN":5}"#).json()["OUT"].as_i64(),
        Some(5)
    );
    let metrics = vertex.redirect("metrics");
    assert!(metrics.text().contains("nv_inference_request_success"));
    let get = send(
        vertex.port.local_addr(),
        "GET",
        "/v1/models/m:predict",
        &[(REDIRECT, "v2")],
        b"",
    );
    assert_eq!((get.status, get.text()), (405, ""));
}

#[test]
fn vertex_redirects_nowhere_else() {
    let vertex = Vertex::start(&vertex_options());
    for path in [
        "v2/repository/models/echo/load",
        "v2/repository/models/echo/unload",
        "v2/systemsharedmemory/region/r/register",
        "v2/systemsharedmemory/unregister",
        "v2/cudasharedmemory/region/r/register",
        "v2/cudasharedmemory/region/r/unregister",
        "v2/trace/setting",
        "v2/models/echo/trace/setting",
        "v2/logging",
    ] {
        let response = vertex.redirect(path);
        assert_eq!(response.error().0, 403, "{path}");
    }
    for path in [
        "",
        "nope",
        "/v2",
        "v2/",
        "v2?x=1",
        "v2/../metrics",
        "metrics/",
        "v2 /models",
        "\u{e9}",
    ] {
        let response = vertex.redirect(path);
        assert_eq!((response.status, response.text()), (400, ""), "{path}");
    }
}

#[test]
fn restrictions_hold_on_every_way_in() {
    let all = ApiGroup::ALL.map(ApiGroup::as_str).join(",");
    let restricted = RestrictedApis::parse([format!("{all}:X-Key=secret").as_str()], "");
    let mut options = vertex_options();
    options.http.restricted_apis = restricted.expect("a restriction");
    let vertex = Vertex::start(&options);
    let address = vertex.port.local_addr();
    let key = ("X-Key", "secret");
    let refused = (
        403,
        "This API is restricted, expecting header 'X-Key'".to_owned(),
    );
    assert_eq!(send(address, "GET", "/healthy", &[], b"").error(), refused);
    assert_eq!(send(address, "GET", "/healthy", &[key], b"").status, 200);
    assert_eq!(vertex.predict(&[], BODY).error(), refused);
    assert_eq!(vertex.predict(&[key], BODY).status, 200);
    for path in [
        "v2",
        "v2/health/live",
        "v2/models/echo",
        "v2/models/echo/config",
        "v2/models/stats",
        "v2/repository/index",
        "v2/systemsharedmemory/status",
        "v2/models/echo/infer",
        "v2/models/echo/generate_stream",
        "metrics",
    ] {
        assert_eq!(vertex.redirect(path).error(), refused, "{path}");
        let opened = vertex.predict(&[key, (REDIRECT, path)], b"{}");
        assert_ne!(opened.status, 403, "{path}");
    }

    let sagemaker = SageMakerOptions {
        http: options.http,
        default_model: "echo".to_owned(),
        ..SageMakerOptions::default()
    };
    let port = HttpServer::start_sagemaker(&sagemaker, Arc::clone(&vertex.server.engine));
    let port = port.expect("a free port");
    let address = port.local_addr();
    assert_eq!(send(address, "GET", "/ping", &[], b"").error(), refused);
    assert_eq!(send(address, "GET", "/ping", &[key], b"").status, 200);
    assert_eq!(
        send(address, "POST", "/invocations", &[], BODY).error(),
        refused
    );
    assert_eq!(
        send(address, "POST", "/invocations", &[key], BODY).status,
        200
    );
}

#[test]
fn vertex_needs_routes_and_a_default_model() {
    let server = TestServer::start(&[Model::ECHO, Model::HOLD]);
    let start = |change: fn(&mut VertexAiOptions)| {
        let mut options = vertex_options();
        options.default_model = Some("hold".to_owned());
        change(&mut options);
        HttpServer::start_vertex_ai(&options, Arc::clone(&server.engine))
            .map(|_| ())
            .map_err(|error| error.message().to_owned())
    };
    assert_eq!(start(|_| {}), Ok(()));
    let message = |text: &str| Err(text.to_owned());
    assert_eq!(
        start(|options| options.predict_route.clear()),
        message("API_PREDICT_ROUTE is not defined for Vertex AI endpoint")
    );
    assert_eq!(
        start(|options| options.health_route.clear()),
        message("AIP_HEALTH_ROUTE is not defined for Vertex AI endpoint")
    );
    assert_eq!(
        start(|options| options.default_model = None),
        message(
            "Expect the model repository contains only a single model if default model is not \
             specified"
        )
    );
    assert_eq!(
        start(|options| options.default_model = Some("other".to_owned())),
        message("Expect the default model 'other' is loaded")
    );
}

fn binary_body() -> (String, Vec<u8>) {
    let head = r#"{"inputs":[{"name":"IN","datatype":"INT32","shape":[1,2],"parameters":{"binary_data_size":8}}],"parameters":{"binary_data_output":true}}"#;
    let body = [head.as_bytes(), &[1, 0, 0, 0, 2, 0, 0, 0]].concat();
    (head.len().to_string(), body)
}

#[test]
fn vertex_reads_the_head_length_from_the_media_type() {
    let vertex = Vertex::start(&vertex_options());
    let media_type = "application/vnd.vertex-ai-triton.binary+json;json-header-size=";
    let (length, body) = binary_body();
    let response = vertex.predict(&[("Content-Type", &format!("{media_type}{length}"))], &body);
    assert_eq!(
        response.header("content-type"),
        Some("application/octet-stream")
    );
    let head = response
        .header("inference-header-content-length")
        .expect("binary");
    let head: usize = head.parse().expect("a length");
    assert_eq!(response.body[head..], [1, 0, 0, 0, 2, 0, 0, 0]);
    let (status, text) = vertex
        .predict(&[("Content-Type", &format!("{media_type}9999"))], &body)
        .error();
    assert_eq!(status, 400);
    assert_eq!(
        text,
        format!(
            "inference header size should be in range (0, {}), got: 9999",
            body.len()
        )
    );
    // Nor is the header of the HTTP port looked at.
    let json = vertex.predict(&[("Inference-Header-Content-Length", "5")], BODY);
    assert_eq!(json.text(), ANSWER);
}

/// A SageMaker port beside a server.
struct SageMaker {
    port: HttpServer,
    server: TestServer,
}

impl SageMaker {
    fn start(edit: impl FnOnce(&mut SageMakerOptions)) -> Self {
        let server = TestServer::start(&[Model::ECHO]);
        let mut options = SageMakerOptions {
            http: local(),
            default_model: "echo".to_owned(),
            ..SageMakerOptions::default()
        };
        edit(&mut options);
        let port = HttpServer::start_sagemaker(&options, Arc::clone(&server.engine));
        let port = port.expect("a free port");
        Self { port, server }
    }

    fn send(&self, verb: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        send(self.port.local_addr(), verb, path, headers, body)
    }

    fn invoke(&self, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.send("POST", "/invocations", headers, body)
    }
}

#[test]
fn sagemaker_pings_and_invokes() {
    let port = SageMaker::start(|_| {});
    assert_eq!(port.send("GET", "/ping", &[], b"").status, 200);
    assert_eq!(port.send("POST", "/ping", &[], b"").status, 405);
    assert_eq!(port.invoke(&[], BODY).text(), ANSWER);
    assert_eq!(port.send("GET", "/invocations", &[], b"").status, 405);
    let other = port.send("GET", "/v2", &[], b"");
    assert_eq!((other.status, other.text()), (400, ""));

    let media_type = "application/vnd.sagemaker-triton.binary+json;json-header-size=";
    let (length, body) = binary_body();
    let content_type = format!("{media_type}{length}");
    let binary = port.invoke(&[("Content-Type", &content_type)], &body);
    let answered = binary.header("content-type").expect("a type");
    let head: usize = answered
        .strip_prefix(media_type)
        .and_then(|length| length.parse().ok())
        .expect("the length of the head");
    assert_eq!(binary.header("inference-header-content-length"), None);
    assert_eq!(binary.body[head..], [1, 0, 0, 0, 2, 0, 0, 0]);

    let plain = port.invoke(&[("Accept-Encoding", "gzip")], BODY);
    assert_eq!(plain.text(), ANSWER);
    let packed = port.invoke(&[("Content-Encoding", "gzip")], BODY);
    assert_eq!(
        packed.error(),
        (501, "Unsupported compression type".to_owned())
    );
}

#[test]
fn sagemaker_invocations_may_generate() {
    let generates = |inference| {
        let port = SageMaker::start(|options| options.inference = inference);
        port.invoke(&[], br#"{"IN":5}"#)
    };
    let whole = generates(SageMakerInference::Generate);
    assert_eq!(whole.json()["OUT"].as_i64(), Some(5));
    let stream = generates(SageMakerInference::GenerateStream);
    assert!(stream.text().starts_with("data: {\"OUT\":5,"));
    assert_eq!(
        SageMakerInference::from_name("generate"),
        Some(SageMakerInference::Generate)
    );
    assert_eq!(SageMakerInference::from_name("other"), None);
}

#[test]
fn a_live_ping_answers_while_the_server_is_not_ready() {
    let pinged = |ping| {
        let port = SageMaker::start(|options| options.ping = ping);
        port.server.engine.begin_exit();
        port.send("GET", "/ping", &[], b"").status
    };
    assert_eq!(pinged(SageMakerPing::Ready), 400);
    assert_eq!(pinged(SageMakerPing::Live), 200);
}

#[test]
fn routes_of_a_multi_model_endpoint_are_restricted() {
    let port = SageMaker::start(|options| {
        let restricted = RestrictedApis::parse(["model-repository,inference:key=secret"], "");
        options.http.restricted_apis = restricted.expect("a restriction");
    });
    for (verb, path) in [
        ("GET", "/models"),
        ("POST", "/models"),
        ("GET", "/models/m"),
        ("DELETE", "/models/m"),
        ("POST", "/models/m/invoke"),
    ] {
        let refused = port.send(verb, path, &[], b"{}");
        assert_eq!(refused.status, 403, "{verb} {path}");
    }
    let key = [("key", "secret")];
    assert_eq!(
        port.send("GET", "/models", &key, b"").text(),
        "{\"models\":[]}"
    );
    assert_eq!(
        port.send("POST", "/models/m/invoke", &key, BODY).status,
        404
    );
}
