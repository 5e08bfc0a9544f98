// SPDX-License-Identifier: Apache-2.0
use super::*;

fn endpoint(path: &str) -> Option<Endpoint> {
    Route::find(path).map(|route| route.endpoint)
}

#[test]
fn every_route_of_the_table_is_found() {
    let table = [
        ("/v2", Endpoint::ServerMetadata),
        ("/v2/health/live", Endpoint::ServerLive),
        ("/v2/health/ready", Endpoint::ServerReady),
        ("/v2/models/m", Endpoint::ModelMetadata),
        ("/v2/models/m/versions/1", Endpoint::ModelMetadata),
        ("/v2/models/m/ready", Endpoint::ModelReady),
        ("/v2/models/m/versions/12/ready", Endpoint::ModelReady),
        ("/v2/models/m/config", Endpoint::ModelConfig),
        ("/v2/models/m/versions/1/config", Endpoint::ModelConfig),
        ("/v2/models/m/stats", Endpoint::ModelStatistics),
        ("/v2/models/m/versions/1/stats", Endpoint::ModelStatistics),
        ("/v2/models/stats", Endpoint::AllStatistics),
        ("/v2/models/stats/ready", Endpoint::ModelReady),
        ("/v2/models/m/infer", Endpoint::Infer),
        ("/v2/models/m/versions/1/infer", Endpoint::Infer),
        ("/v2/models/m/generate", Endpoint::Generate),
        (
            "/v2/models/m/versions/1/generate_stream",
            Endpoint::GenerateStream,
        ),
        ("/v2/models/m/trace/setting", Endpoint::TraceSetting),
        ("/v2/trace/setting", Endpoint::TraceSetting),
        ("/v2/logging", Endpoint::Logging),
        ("/v2/repository/index", Endpoint::RepositoryIndex),
        ("/v2/repository/r/index", Endpoint::RepositoryIndex),
        ("/v2/repository/models/m/load", Endpoint::RepositoryLoad),
        ("/v2/repository/models/m/unload", Endpoint::RepositoryUnload),
        ("/v2/repository/r/models/m/load", Endpoint::NamedRepository),
        (
            "/v2/repository/r/models/m/unload",
            Endpoint::NamedRepository,
        ),
        (
            "/v2/systemsharedmemory/status",
            Endpoint::SharedMemoryStatus(SharedMemoryKind::System),
        ),
        (
            "/v2/cudasharedmemory/region/r/status",
            Endpoint::SharedMemoryStatus(SharedMemoryKind::Cuda),
        ),
        (
            "/v2/systemsharedmemory/region/r/register",
            Endpoint::SharedMemoryRegister(SharedMemoryKind::System),
        ),
        (
            "/v2/cudasharedmemory/region/r/register",
            Endpoint::SharedMemoryRegister(SharedMemoryKind::Cuda),
        ),
        (
            "/v2/cudasharedmemory/unregister",
            Endpoint::SharedMemoryUnregister(SharedMemoryKind::Cuda),
        ),
        (
            "/v2/systemsharedmemory/region/r/unregister",
            Endpoint::SharedMemoryUnregister(SharedMemoryKind::System),
        ),
    ];
    for (path, expected) in table {
        assert_eq!(endpoint(path), Some(expected), "{path}");
    }
    for endpoint in Endpoint::ALL {
        assert!(
            table.iter().any(|(_, listed)| *listed == endpoint),
            "{endpoint:?}"
        );
    }
}

#[test]
fn other_paths_are_unknown() {
    let paths = [
        "",
        "/",
        "/foo",
        "v2",
        "/v2/",
        "//v2",
        "/v2/health",
        "/v2/health/live/",
        "/v2/models",
        "/v2/models/",
        "/v2/models/m/",
        "/v2/models/m/foo",
        "/v2/models//infer",
        "/v2/models/m//infer",
        "/v2/models/m/versions",
        "/v2/models/m/versions/",
        "/v2/models/m/versions/abc",
        "/v2/models/m/versions/-1/infer",
        "/v2/models/m/versions/1/trace/setting",
        "/v2/models/m/infer/",
        "/v2/systemsharedmemory/register",
        "/v2/repository/models/m",
        "/%76%32",
        "/metrics",
        "/V2/health/live",
    ];
    for path in paths {
        assert_eq!(endpoint(path), None, "{path}");
    }
}

#[test]
fn model_names_are_decoded_once() {
    let model = |path| Route::find(path).expect("a route").model().into_owned();
    assert_eq!(model("/v2/models/add_sub/infer"), "add_sub");
    assert_eq!(model("/v2/models/add%5Fsub/infer"), "add_sub");
    assert_eq!(model("/v2/models/a%2Fb/infer"), "a/b");
    assert_eq!(model("/v2/models/a%252Fb"), "a%2Fb");
    assert_eq!(model("/v2/models/a%zz%4"), "a%zz%4");
    assert_eq!(model("/v2/models/%C3%BC"), "ü");
}

#[test]
fn region_names_are_decoded_once() {
    let region = |path| {
        Route::find(path)
            .expect("a route")
            .region()
            .map(Cow::into_owned)
    };
    assert_eq!(region("/v2/systemsharedmemory/status"), None);
    assert_eq!(
        region("/v2/systemsharedmemory/region/a%20b%2Fc/status"),
        Some("a b/c".to_owned())
    );
}

#[test]
fn versions_are_numbers() {
    let version = |text: &str| {
        let path = format!("/v2/models/m/versions/{text}");
        Route::find(&path)
            .expect("a route")
            .version()
            .map_err(|error| error.message().to_owned())
    };
    assert_eq!(
        Route::find("/v2/models/m")
            .expect("a route")
            .version()
            .expect("none"),
        None
    );
    assert_eq!(version("3"), Ok(Some(3)));
    assert_eq!(version("0"), Ok(Some(0)));
    let message = "failed to get model version from specified version string \
                   '99999999999999999999' (details: stol), version should be an integral value > 0";
    assert_eq!(version("99999999999999999999"), Err(message.to_owned()));
}

#[test]
fn the_path_of_a_model_leads_to_it() {
    for name in ["add_sub", "a b", "50%", "%41", "\u{fc}", "a/b", "a?b#c"] {
        let path = model_path(name, "infer");
        path.parse::<hyper::Uri>().expect("a URI");
        let route = Route::find(&path).expect("a route");
        assert_eq!((route.endpoint, &*route.model()), (Endpoint::Infer, name));
    }
}
