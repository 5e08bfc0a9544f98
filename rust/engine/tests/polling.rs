// SPDX-License-Identifier: Apache-2.0
//! Following the repositories as they change (R025, R027). Looks are the test's: no time passes.

mod support;

use std::time::Duration;

use support::file_backend::{FILE_CONFIG, FileServer, write_config, write_weights};
use support::wait_until;
use tempfile::TempDir;
use tritongw_engine::{ModelControlMode, ServerOptions};

fn polling(models: &[(&str, &str)]) -> FileServer {
    let options = ServerOptions {
        control_mode: ModelControlMode::Poll,
        repository_poll_interval: Duration::ZERO,
        ..ServerOptions::default()
    };
    FileServer::start(models, options)
}

impl FileServer {
    /// Looks once; returns whether something has yet to settle.
    fn look(&self) -> bool {
        self.server.poll_repositories().expect("readable")
    }

    /// Looks until nothing changes any more.
    fn settle(&self) {
        assert!(self.look(), "something has changed");
        assert!(!self.look(), "nothing changes any more");
    }
}

#[test]
fn models_come_change_and_go() {
    let files = polling(&[("a", "1")]);
    assert_eq!(files.index(), ["a 1 READY"]);
    assert!(!files.look(), "nothing has changed");

    files.write_config("b", FILE_CONFIG);
    files.write_weights("b", 1, "2");
    files.settle();
    assert_eq!(files.infer("b").expect("it serves"), 2.0);

    files.write_weights("b", 1, "3");
    files.settle();
    assert_eq!(files.infer("b").expect("it serves"), 3.0);

    std::fs::remove_dir_all(files.path("b")).expect("writable");
    files.settle();
    assert!(files.infer("b").is_err());
    wait_until("the end of the model", || files.index() == ["a 1 READY"]);
    let error = files.infer("b").expect_err("it is forgotten");
    assert_eq!(
        error.message(),
        "Request for unknown model: 'b' is not found"
    );
    assert!(files.server.is_ready());
}

#[test]
fn a_model_that_is_being_written_is_left_alone() {
    let files = polling(&[("m", "1")]);
    files.events();
    for weights in ["2", "3", "4"] {
        files.write_weights("m", 1, weights);
        assert!(files.look());
        assert_eq!(files.infer("m").expect("it serves"), 1.0);
    }
    assert_eq!(files.events(), [""; 0]);
    assert!(!files.look());
    assert_eq!(files.infer("m").expect("it serves"), 4.0);
}

#[test]
fn what_an_interpreter_leaves_behind_is_no_change() {
    let files = polling(&[("m", "1")]);
    std::fs::create_dir(files.path("m/1/__pycache__")).expect("writable");
    std::fs::write(files.path("m/1/__pycache__/model.pyc"), "code").expect("writable");
    assert!(!files.look());
}

#[test]
fn a_failed_reload_is_not_tried_again_before_the_next_change() {
    let files = polling(&[("m", "1")]);
    files.write_weights("m", 1, "fail");
    files.settle();
    assert_eq!(files.index(), ["m 1 READY"]);
    assert_eq!(files.infer("m").expect("it still serves"), 1.0);
    files.events();
    assert!(!files.look());
    assert_eq!(files.events(), [""; 0]);
    files.write_weights("m", 1, "2");
    files.settle();
    assert_eq!(files.infer("m").expect("it serves"), 2.0);
}

#[test]
fn a_broken_model_counts_until_it_is_gone() {
    let files = polling(&[("good", "1"), ("bad", "fail")]);
    assert!(!files.server.has_loaded_all());
    assert!(!files.server.is_ready());
    std::fs::remove_dir_all(files.path("bad")).expect("writable");
    files.settle();
    assert_eq!(files.index(), ["good 1 READY"]);
    assert!(files.server.is_ready());
}

#[test]
fn a_name_that_appears_twice_keeps_what_serves_until_it_is_one_again() {
    let other = TempDir::new().expect("a temporary directory");
    let options = ServerOptions {
        control_mode: ModelControlMode::Poll,
        repository_poll_interval: Duration::ZERO,
        model_repositories: vec![other.path().to_owned()],
        ..ServerOptions::default()
    };
    let files = FileServer::start(&[("m", "1")], options);
    write_config(other.path(), "m", FILE_CONFIG);
    write_weights(other.path(), "m", 1, "2");
    files.settle();
    assert_eq!(files.infer("m").expect("it still serves"), 1.0);
    std::fs::remove_dir_all(files.path("m")).expect("writable");
    files.settle();
    assert_eq!(files.infer("m").expect("it serves"), 2.0);
}

#[test]
fn a_server_polls_by_itself_if_it_is_to() {
    let options = ServerOptions {
        control_mode: ModelControlMode::Poll,
        repository_poll_interval: Duration::from_millis(1),
        ..ServerOptions::default()
    };
    let files = FileServer::start(&[("m", "1")], options);
    files.write_weights("m", 1, "2");
    wait_until("the reload", || files.infer("m").is_ok_and(|n| n == 2.0));
}

#[test]
fn other_modes_are_not_polled() {
    let files = FileServer::explicit(&[("m", "1")]);
    let error = files.server.poll_repositories().expect_err("not polled");
    assert_eq!(error.message(), "polling is disabled");
}
