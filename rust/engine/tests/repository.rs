// SPDX-License-Identifier: Apache-2.0
//! What the repository's layout means (R001-R009, R052-R059, R078-R080).

mod support;

use support::{CONFIG, Fixture, Script, serve, serve_repository, serve_with, write_model};
use tempfile::TempDir;
use tritongw_engine::ServerOptions;
use tritongw_types::ErrorCode;

fn versions(policy: &str, directories: &[&str]) -> Vec<i64> {
    let repository = TempDir::new().expect("a temporary directory");
    write_model(
        &repository,
        "m",
        directories,
        &format!("{CONFIG}\n{policy}"),
    );
    serve_repository(Script::EchoInline, repository)
        .server
        .ready_versions("m")
}

#[test]
fn the_version_policy_chooses_versions() {
    let all = ["1", "2", "10"];
    assert_eq!(versions("", &all), [10]);
    assert_eq!(
        versions("version_policy { latest { num_versions: 2 } }", &all),
        [2, 10]
    );
    assert_eq!(versions("version_policy { all { } }", &all), [1, 2, 10]);
    assert_eq!(
        versions("version_policy { specific { versions: [ 1, 7 ] } }", &all),
        [1]
    );
}

#[test]
fn only_plain_numbers_are_versions() {
    let names = ["1", "02", "0", "x3", "warmup", "configs", "initial_state"];
    assert_eq!(versions("version_policy { all { } }", &names), [0, 1]);
}

#[test]
fn names_and_versions_that_are_not_there_have_tritons_texts() {
    let fixture = serve(Script::EchoInline, CONFIG);
    let error = |name, version| fixture.server.model(name, version).expect_err("not there");
    let unknown = error("x", None);
    assert_eq!(unknown.code(), ErrorCode::NotFound);
    assert_eq!(
        unknown.message(),
        "Request for unknown model: 'x' is not found"
    );
    assert_eq!(
        error("m", Some(9)).message(),
        "Request for unknown model: 'm' version 9 is not found"
    );
}

fn broken(config: &str, directories: &[&str]) -> Fixture {
    let repository = TempDir::new().expect("a temporary directory");
    write_model(&repository, "m", directories, config);
    serve_repository(Script::EchoInline, repository)
}

#[test]
fn a_model_that_cannot_be_loaded_says_why() {
    let cases = [
        (
            "backend: \"nope\"",
            &["1"][..],
            "Invalid argument: unable to find backend library for backend 'nope', try specifying \
             runtime on the model configuration.",
            false,
        ),
        (
            "name: \"other\" backend: \"scripted\"",
            &["1"],
            "Invalid argument: unexpected directory name 'm' for model 'other', directory name \
             must equal model name",
            true,
        ),
        (
            "backend: \"scripted\"",
            &[],
            "Invalid argument: at least one version must be available under the version policy of \
             model 'm'",
            false,
        ),
    ];
    // What is no model to clients does not keep the server from being ready.
    for (config, directories, reason, is_no_model) in cases {
        let fixture = broken(config, directories);
        let index = fixture.server.index();
        assert_eq!(index.len(), 1);
        assert_eq!(
            (index[0].is_ready(), index[0].reason.as_str()),
            (false, reason)
        );
        assert!(fixture.server.is_live());
        assert!(!fixture.server.has_loaded_all());
        assert_eq!(fixture.server.is_ready(), is_no_model);
    }
    let error = broken("backend: \"scripted\"", &[])
        .server
        .model("m", None)
        .expect_err("no");
    assert_eq!(
        error.message(),
        "Request for unknown model: 'm' has no available versions"
    );
    let error = broken("backend: \"nope\"", &["1"])
        .server
        .model("m", Some(1))
        .expect_err("no");
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert_eq!(
        error.message(),
        "Request for unknown model: 'm' version 1 is not at ready state"
    );
}

#[test]
fn a_named_configuration_is_used_where_there_is_one() {
    let loaded_batch_size = |config_name: &str| {
        let repository = TempDir::new().expect("a temporary directory");
        write_model(&repository, "m", &["1"], CONFIG);
        let configs = repository.path().join("m/configs");
        std::fs::create_dir(&configs).expect("a writable directory");
        let named = format!("max_batch_size: 4\n{CONFIG}");
        std::fs::write(configs.join("large.pbtxt"), named).expect("a writable directory");
        let options = ServerOptions {
            model_config_name: Some(config_name.to_owned()),
            ..ServerOptions::default()
        };
        let fixture = serve_with(Script::EchoInline, repository, options);
        fixture
            .server
            .model("m", None)
            .expect("loaded")
            .config()
            .max_batch_size
    };
    assert_eq!(loaded_batch_size("large"), 4);
    assert_eq!(
        loaded_batch_size("missing"),
        0,
        "falls back to config.pbtxt"
    );
}

#[test]
fn without_strict_readiness_a_failed_model_does_not_count() {
    for (is_strict_readiness, expected) in [(true, false), (false, true)] {
        let repository = TempDir::new().expect("a temporary directory");
        write_model(&repository, "good", &["1"], CONFIG);
        write_model(&repository, "bad", &["1"], "backend: \"nope\"");
        let options = ServerOptions {
            is_strict_readiness,
            ..ServerOptions::default()
        };
        let fixture = serve_with(Script::EchoInline, repository, options);
        assert_eq!(fixture.server.is_ready(), expected);
        assert!(fixture.server.model_is_ready("good", None).expect("known"));
    }
}

#[test]
fn without_auto_complete_a_configuration_must_be_there() {
    let repository = TempDir::new().expect("a temporary directory");
    std::fs::create_dir_all(repository.path().join("m/1")).expect("a writable directory");
    let options = ServerOptions {
        is_auto_complete: false,
        ..ServerOptions::default()
    };
    let fixture = serve_with(Script::EchoInline, repository, options);
    assert_eq!(
        fixture.server.index()[0].reason,
        "Not found: model configuration is not provided for model 'm'"
    );
}

#[test]
fn the_first_version_tells_the_backend() {
    let repository = TempDir::new().expect("a temporary directory");
    for (version, file) in [("1", "model.onnx"), ("2", "model.py")] {
        let directory = repository.path().join("m").join(version);
        std::fs::create_dir_all(&directory).expect("a writable directory");
        std::fs::write(directory.join(file), "").expect("a writable directory");
    }
    let fixture = serve_repository(Script::EchoInline, repository);
    let index = fixture.server.index();
    assert!(!index.is_empty());
    for version in index {
        assert!(
            version.reason.contains("for backend 'onnxruntime'"),
            "{}",
            version.reason
        );
    }
}

#[test]
fn a_model_in_two_repositories_is_not_loaded() {
    let other = TempDir::new().expect("a temporary directory");
    write_model(&other, "m", &["1"], CONFIG);
    let first = TempDir::new().expect("a temporary directory");
    write_model(&first, "m", &["1"], CONFIG);
    let options = ServerOptions {
        model_repositories: vec![first.path().to_owned(), other.path().to_owned()],
        ..ServerOptions::default()
    };
    let server = tritongw_engine::Server::new(options, Vec::new()).expect("readable");
    assert_eq!(
        server.index()[0].reason,
        "model appears in two or more repositories"
    );
}
