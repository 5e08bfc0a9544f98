// SPDX-License-Identifier: Apache-2.0
//! Repositories that come and go while the server runs (R051).

mod support;

use std::path::Path;

use support::file_backend::{FILE_CONFIG, FileServer, write_config, write_weights};
use tempfile::TempDir;
use tritongw_engine::{ModelControlMode, ModelMapping, ServerOptions};
use tritongw_types::{ErrorCode, Result};

/// Makes a repository with one model in the directory `stored`, whose configuration has a name of
/// its own.
fn another() -> TempDir {
    let repository = TempDir::new().expect("a temporary directory");
    let config = format!("name: \"stored\"\n{FILE_CONFIG}");
    write_config(repository.path(), "stored", &config);
    write_weights(repository.path(), "stored", 1, "7");
    repository
}

fn mapping(directory: &str, name: &str) -> ModelMapping {
    ModelMapping {
        directory: directory.to_owned(),
        name: name.to_owned(),
    }
}

fn refusal(result: Result<()>) -> (ErrorCode, String) {
    let error = result.expect_err("refused");
    (error.code(), error.message().to_owned())
}

#[test]
fn a_registered_repository_is_one_of_them_until_it_is_unregistered() {
    let files = FileServer::explicit(&[("m", "1")]);
    let other = another();
    let register = || files.server.register_model_repository(other.path(), &[]);
    register().expect("a directory");
    assert_eq!(files.index(), ["m - -", "stored - -"]);
    let shown = other.path().display().to_string();
    let again = format!("model repository '{shown}' has already been registered");
    assert_eq!(refusal(register()), (ErrorCode::AlreadyExists, again));
    files.load("stored").expect("it can be loaded");
    let unregister = || files.server.unregister_model_repository(other.path());
    unregister().expect("it is known");
    assert_eq!(files.infer("stored").expect("it stays loaded"), 7.0);
    let gone = format!("failed to unregister '{shown}', repository not found");
    assert_eq!(refusal(unregister()), (ErrorCode::InvalidArg, gone));
    files.unload("stored").expect("it can be unloaded");
    files.load("stored").expect_err("no repository has it");
}

#[test]
fn a_mapped_model_goes_by_its_other_name_alone() {
    for is_namespacing in [false, true] {
        let options = ServerOptions {
            control_mode: ModelControlMode::Explicit,
            is_namespacing,
            ..ServerOptions::default()
        };
        let files = FileServer::start(&[("m", "1")], options);
        let other = another();
        let models = [mapping("stored", "known")];
        let registered = files
            .server
            .register_model_repository(other.path(), &models);
        registered.expect("a directory");
        assert_eq!(files.index(), ["known - -", "m - -"]);
        files.load("stored").expect_err("it has another name");
        files.load("known").expect("it can be loaded");
        assert_eq!(files.infer("known").expect("it serves"), 7.0);
        let model = files.server.model("known", None).expect("it serves");
        assert_eq!(model.config().name, "known");
        let unregistered = files.server.unregister_model_repository(other.path());
        unregistered.expect("it is known");
        files.unload("known").expect("it can be unloaded");
        files.load("known").expect_err("no repository has it");
        let registered = files
            .server
            .register_model_repository(other.path(), &models);
        registered.expect("the name is free again");
    }
}

#[test]
fn what_is_no_repository_or_no_free_name_is_refused() {
    let files = FileServer::explicit(&[("m", "1")]);
    let (one, two) = (another(), another());
    let register = |path: &Path, models: &[ModelMapping]| {
        refusal(files.server.register_model_repository(path, models))
    };
    let absent = "failed to register '/no/such', repository not found".to_owned();
    assert_eq!(
        register(Path::new("/no/such"), &[]),
        (ErrorCode::InvalidArg, absent)
    );
    let taken = [mapping("stored", "known")];
    let registered = files.server.register_model_repository(one.path(), &taken);
    registered.expect("a directory");
    let conflict = "failed to register 'known', there is a conflicting mapping for 'known'";
    let conflict = (ErrorCode::AlreadyExists, conflict.to_owned());
    assert_eq!(register(two.path(), &taken), conflict);
    let twice = [mapping("a", "b"), mapping("c", "b")];
    assert_eq!(register(two.path(), &twice).0, ErrorCode::AlreadyExists);
    for bad in [mapping("..", "x"), mapping("stored", "a/b")] {
        assert_eq!(register(two.path(), &[bad]).0, ErrorCode::InvalidArg);
    }
    // Nothing of it has been added.
    let registered = files.server.register_model_repository(two.path(), &[]);
    registered.expect("a directory");
}

#[test]
fn only_explicit_mode_has_repositories_that_come_and_go() {
    let files = FileServer::start(&[("m", "1")], ServerOptions::default());
    let other = another();
    let refused = |what: &str| {
        let text =
            format!("repository {what} is not allowed if model control mode is not EXPLICIT");
        (ErrorCode::Unsupported, text)
    };
    let registered = files.server.register_model_repository(other.path(), &[]);
    assert_eq!(refusal(registered), refused("registration"));
    let unregistered = files.server.unregister_model_repository(other.path());
    assert_eq!(refusal(unregistered), refused("unregistration"));
}
