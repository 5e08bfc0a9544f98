// SPDX-License-Identifier: Apache-2.0
//! Routes that need a key (C044, C100-C109, P037): every route is closed with its group and with
//! no other.

mod support;

use support::{Client, Model, TestServer};
use tritongw_http::HttpOptions;
use tritongw_types::{ApiGroup, RestrictedApis};

/// Every form of every route (P001-P023), and its group.
const ROUTES: &[(&str, &str, ApiGroup)] = &[
    ("GET", "/v2", ApiGroup::Metadata),
    ("GET", "/v2/health/live", ApiGroup::Health),
    ("GET", "/v2/health/ready", ApiGroup::Health),
    ("GET", "/v2/models/echo", ApiGroup::Metadata),
    ("GET", "/v2/models/echo/versions/1", ApiGroup::Metadata),
    ("GET", "/v2/models/echo/ready", ApiGroup::Health),
    ("GET", "/v2/models/echo/versions/1/ready", ApiGroup::Health),
    ("GET", "/v2/models/echo/config", ApiGroup::ModelConfig),
    (
        "GET",
        "/v2/models/echo/versions/1/config",
        ApiGroup::ModelConfig,
    ),
    ("GET", "/v2/models/echo/stats", ApiGroup::Statistics),
    (
        "GET",
        "/v2/models/echo/versions/1/stats",
        ApiGroup::Statistics,
    ),
    ("GET", "/v2/models/stats", ApiGroup::Statistics),
    ("POST", "/v2/models/echo/infer", ApiGroup::Inference),
    (
        "POST",
        "/v2/models/echo/versions/1/infer",
        ApiGroup::Inference,
    ),
    ("POST", "/v2/models/echo/generate", ApiGroup::Inference),
    (
        "POST",
        "/v2/models/echo/versions/1/generate",
        ApiGroup::Inference,
    ),
    (
        "POST",
        "/v2/models/echo/generate_stream",
        ApiGroup::Inference,
    ),
    (
        "POST",
        "/v2/models/echo/versions/1/generate_stream",
        ApiGroup::Inference,
    ),
    ("GET", "/v2/models/echo/trace/setting", ApiGroup::Trace),
    ("POST", "/v2/models/echo/trace/setting", ApiGroup::Trace),
    ("GET", "/v2/trace/setting", ApiGroup::Trace),
    ("POST", "/v2/trace/setting", ApiGroup::Trace),
    ("GET", "/v2/logging", ApiGroup::Logging),
    ("POST", "/v2/logging", ApiGroup::Logging),
    ("POST", "/v2/repository/index", ApiGroup::ModelRepository),
    ("POST", "/v2/repository/r/index", ApiGroup::ModelRepository),
    (
        "POST",
        "/v2/repository/models/echo/load",
        ApiGroup::ModelRepository,
    ),
    (
        "POST",
        "/v2/repository/models/echo/unload",
        ApiGroup::ModelRepository,
    ),
    (
        "GET",
        "/v2/systemsharedmemory/status",
        ApiGroup::SharedMemory,
    ),
    (
        "GET",
        "/v2/systemsharedmemory/region/r/status",
        ApiGroup::SharedMemory,
    ),
    (
        "POST",
        "/v2/systemsharedmemory/region/r/register",
        ApiGroup::SharedMemory,
    ),
    (
        "POST",
        "/v2/systemsharedmemory/unregister",
        ApiGroup::SharedMemory,
    ),
    (
        "POST",
        "/v2/systemsharedmemory/region/r/unregister",
        ApiGroup::SharedMemory,
    ),
    ("GET", "/v2/cudasharedmemory/status", ApiGroup::SharedMemory),
    (
        "GET",
        "/v2/cudasharedmemory/region/r/status",
        ApiGroup::SharedMemory,
    ),
    (
        "POST",
        "/v2/cudasharedmemory/region/r/register",
        ApiGroup::SharedMemory,
    ),
    (
        "POST",
        "/v2/cudasharedmemory/unregister",
        ApiGroup::SharedMemory,
    ),
    (
        "POST",
        "/v2/cudasharedmemory/region/r/unregister",
        ApiGroup::SharedMemory,
    ),
];

const REFUSAL: &str = "This API is restricted, expecting header 'X-Key'";

fn start(restrictions: &[&str]) -> TestServer {
    let restricted_apis = RestrictedApis::parse(restrictions.iter().copied(), "");
    let options = HttpOptions {
        restricted_apis: restricted_apis.expect("restrictions"),
        ..HttpOptions::default()
    };
    TestServer::start_with(&[Model::ECHO], options)
}

/// Returns whether a request was refused at the gate.
fn is_refused(client: &mut Client, verb: &str, path: &str, headers: &[(&str, &str)]) -> bool {
    let response = client.request(verb, path, headers, b"{}");
    if response.status != 403 {
        return false;
    }
    assert_eq!(response.error().1, REFUSAL, "{verb} {path}");
    true
}

#[test]
fn every_route_is_closed_with_its_group_and_no_other() {
    for group in ApiGroup::ALL {
        let server = start(&[&format!("{}:X-Key=secret", group.as_str())]);
        let mut client = server.connect();
        for (verb, path, of_group) in ROUTES {
            let is_closed = is_refused(&mut client, verb, path, &[]);
            assert_eq!(
                is_closed,
                *of_group == group,
                "{verb} {path} with {group:?}"
            );
        }
    }
}

#[test]
fn only_the_whole_key_opens_a_route() {
    let all = ApiGroup::ALL.map(ApiGroup::as_str).join(",");
    let server = start(&[&format!("{all}:X-Key=secret")]);
    let mut client = server.connect();
    for (verb, path, _) in ROUTES {
        for key in ["", "secre", "secrets", "Secret", "other"] {
            assert!(
                is_refused(&mut client, verb, path, &[("X-Key", key)]),
                "{path} {key}"
            );
        }
        assert!(
            is_refused(&mut client, verb, path, &[("X-Other", "secret")]),
            "{path}"
        );
        assert!(
            !is_refused(&mut client, verb, path, &[("x-key", "secret")]),
            "{path}"
        );
    }
}

#[test]
fn the_gate_is_before_verbs_names_and_bodies() {
    let server = start(&["inference,health,metadata:X-Key=secret"]);
    let mut client = server.connect();
    for (verb, path) in [
        ("DELETE", "/v2/health/live"),
        ("GET", "/v2/models/echo/infer"),
        ("POST", "/v2/models/unknown/infer"),
        ("GET", "/v2/models/unknown"),
        ("GET", "/v2/models/e%63ho/versions/99999999999999999999"),
        ("GET", "/v2?query=1"),
    ] {
        assert!(is_refused(&mut client, verb, path, &[]), "{verb} {path}");
    }
    let unknown = client.request("GET", "/v2/nothing", &[], b"");
    assert_eq!(unknown.status, 404);
}
