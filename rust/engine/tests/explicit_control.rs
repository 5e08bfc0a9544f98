// SPDX-License-Identifier: Apache-2.0
//! Loading, reloading and unloading models on request (R026, R030-R063).

mod support;

use support::file_backend::{FILE_CONFIG, FileServer, with_instances, write_config, write_weights};
use support::wait_until;
use tempfile::TempDir;
use tritongw_engine::{ModelControlMode, ModelLoad, ServerOptions};
use tritongw_types::ErrorCode;

fn explicit() -> ServerOptions {
    ServerOptions {
        control_mode: ModelControlMode::Explicit,
        ..ServerOptions::default()
    }
}

#[test]
fn only_what_is_asked_for_is_loaded_and_the_rest_is_a_name() {
    let options = ServerOptions {
        startup_models: vec!["a".to_owned()],
        ..explicit()
    };
    let files = FileServer::start(&[("a", "1"), ("b", "2")], options);
    assert!(files.server.has_loaded_all());
    assert_eq!(files.index(), ["a 1 READY", "b - -"]);
    assert!(files.server.is_ready());
    files.load("b").expect("it can be loaded");
    assert_eq!(files.index(), ["a 1 READY", "b 1 READY"]);
    assert_eq!(files.infer("b").expect("it serves"), 2.0);
}

#[test]
fn a_lone_star_loads_everything_and_an_unknown_name_is_a_failure() {
    for (names, loads_all, index) in [
        (vec!["*"], true, ["a 1 READY", "b 1 READY"]),
        (vec!["a", "nosuch"], false, ["a 1 READY", "b - -"]),
    ] {
        let options = ServerOptions {
            startup_models: names.into_iter().map(str::to_owned).collect(),
            ..explicit()
        };
        let files = FileServer::start(&[("a", "1"), ("b", "2")], options);
        assert_eq!(files.server.has_loaded_all(), loads_all);
        assert_eq!(files.index(), index);
        assert!(files.server.is_ready());
    }
}

#[test]
fn an_unloaded_model_answers_what_it_has_and_takes_no_more() {
    let files = FileServer::explicit(&[("m", "hold 7")]);
    files.load("m").expect("it can be loaded");
    let model = files.server.model("m", None).expect("loaded");
    let reply = files.send(files.request(model)).expect("accepted");
    let held = files.next_held();
    files.unload("m").expect("unloading is under way");
    assert_eq!(files.index(), ["m 1 UNLOADING"]);
    assert!(!files.server.is_ready());
    assert!(
        files.server.models().is_empty(),
        "no statistics, no metrics"
    );
    let error = files.infer("m").expect_err("not served any more");
    assert_eq!(
        error.message(),
        "Request for unknown model: 'm' has no available versions"
    );
    let error = files.server.model("m", Some(1)).expect_err("not served");
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert!(!files.server.model_is_ready("m", Some(1)).expect("known"));

    held.answer();
    assert_eq!(reply.number().expect("answered"), 7.0);
    drop(reply);
    wait_until("the end of the unloading", || {
        files.index() == ["m 1 UNAVAILABLE unloaded"]
    });
    assert!(files.events().contains(&"drop m_0".to_owned()));
    assert!(files.server.is_ready(), "what is unloaded does not count");
}

#[test]
fn unloading_what_is_not_there_succeeds_and_loading_it_does_not() {
    let files = FileServer::explicit(&[("m", "1")]);
    files.unload("nosuch").expect("nothing to do");
    let error = files.load("nosuch").expect_err("there is no such model");
    assert_eq!(error.code(), ErrorCode::Internal);
    assert_eq!(
        error.message(),
        "failed to load 'nosuch', failed to poll from model repository"
    );
    for name in ["", " ", "..", "a/b", "../m", "m\n"] {
        let error = files.load(name).expect_err("no name of a model");
        assert_eq!(error.code(), ErrorCode::InvalidArg, "{name:?}");
        files.unload(name).expect("nothing to do");
    }
}

#[test]
fn loading_again_does_nothing_until_files_change() {
    let files = FileServer::explicit(&[("m", "1")]);
    files.load("m").expect("it can be loaded");
    assert_eq!(files.events(), ["load m 1", "create m_0"]);
    std::fs::create_dir(files.path("m/1/__pycache__")).expect("writable");
    files.load("m").expect("nothing to do");
    assert_eq!(files.events(), [""; 0]);
    files.write_weights("m", 1, "2");
    files.load("m").expect("it can be loaded");
    assert_eq!(files.infer("m").expect("it serves"), 2.0);
    files.wait_for_events(&["create m_0", "drop m_0", "load m 1"]);
}

#[test]
fn a_failed_reload_leaves_the_old_version_serving() {
    let files = FileServer::explicit(&[("m", "1")]);
    files.load("m").expect("it can be loaded");
    for weights in ["fail", "panic"] {
        files.write_weights("m", 1, weights);
        let error = files.load("m").expect_err("it cannot be loaded");
        assert_eq!(error.code(), ErrorCode::InvalidArg);
        let reason = match weights {
            "fail" => "bad weights",
            _ => "the backend panicked while it loaded the model",
        };
        assert_eq!(
            error.message(),
            format!(
                "load failed for model 'm': version 1 is at UNAVAILABLE state: Internal: \
                 {reason};\n"
            )
        );
        assert_eq!(files.index(), ["m 1 READY"]);
        assert_eq!(files.infer("m").expect("it still serves"), 1.0);
    }
    files.write_config("m", "nonsense: true");
    let error = files.load("m").expect_err("it cannot be read");
    assert_eq!(error.code(), ErrorCode::Internal);
    assert_eq!(files.infer("m").expect("it still serves"), 1.0);
    files.write_config("m", FILE_CONFIG);
    files.write_weights("m", 1, "2");
    files.load("m").expect("it can be loaded again");
    assert_eq!(files.infer("m").expect("it serves"), 2.0);
}

#[test]
fn a_request_that_found_the_old_version_is_answered_by_it() {
    let files = FileServer::explicit(&[("m", "1")]);
    files.load("m").expect("it can be loaded");
    let old = files.server.model("m", None).expect("loaded");
    files.write_weights("m", 1, "2");
    files.load("m").expect("it can be loaded");
    let request = files.request(old);
    assert_eq!(files.infer("m").expect("it serves"), 2.0);
    let reply = files.send(request).expect("accepted");
    assert_eq!(reply.number().expect("answered"), 1.0);
    drop(reply);
    files.wait_for_events(&[
        "create m_0",
        "create m_0",
        "drop m_0",
        "load m 1",
        "load m 1",
    ]);
}

#[test]
fn if_one_version_fails_none_of_the_new_ones_serves() {
    let files = FileServer::explicit(&[]);
    files.write_config("m", &format!("{FILE_CONFIG}version_policy {{ all {{ }} }}"));
    files.write_weights("m", 1, "1");
    files.write_weights("m", 2, "fail");
    let error = files.load("m").expect_err("one version is bad");
    assert_eq!(
        error.message(),
        "load failed for model 'm': version 2 is at UNAVAILABLE state: Internal: bad weights;\n"
    );
    wait_until("the end of version 1", || {
        files.index()
            == [
                "m 1 UNAVAILABLE unloaded",
                "m 2 UNAVAILABLE Internal: bad weights",
            ]
    });
    assert!(!files.server.is_ready());
}

#[test]
fn versions_come_and_go_and_those_that_stay_are_not_touched() {
    let files = FileServer::explicit(&[]);
    let all = format!("{FILE_CONFIG}version_policy {{ all {{ }} }}");
    files.write_config("m", &all);
    files.write_weights("m", 1, "1");
    files.write_weights("m", 2, "2");
    files.load("m").expect("it can be loaded");
    let events = files.events();
    assert_eq!(events.len(), 4, "{events:?}");

    files.write_weights("m", 3, "3");
    std::fs::remove_dir_all(files.path("m/1")).expect("writable");
    files.load("m").expect("it can be loaded");
    files.wait_for_events(&["create m_0", "drop m_0", "load m 3"]);
    wait_until("the end of version 1", || {
        files.index() == ["m 1 UNAVAILABLE unloaded", "m 2 READY", "m 3 READY"]
    });
    assert!(files.server.is_ready());

    files.write_config("m", FILE_CONFIG);
    files.load("m").expect("another policy needs no new load");
    files.wait_for_events(&["drop m_0"]);
    assert_eq!(files.server.ready_versions("m"), [3]);
}

#[test]
fn a_change_of_instances_keeps_those_that_still_fit() {
    let files = FileServer::explicit(&[("m", "1")]);
    files.write_config("m", &with_instances(1));
    files.load("m").expect("it can be loaded");
    assert_eq!(files.events(), ["load m 1", "create m_0_0"]);
    assert_eq!(files.infer("m").expect("it serves"), 1.0);

    files.write_config("m", &with_instances(3));
    files.load("m").expect("more instances");
    files.wait_for_events(&["create m_0_1", "create m_0_2"]);
    let model = files.server.model("m", None).expect("loaded");
    assert_eq!(model.config().instance_groups[0].count, 3);
    assert_eq!(model.statistics().snapshot().success.count, 1);
    drop(model);

    files.write_config("m", &with_instances(1));
    files.load("m").expect("fewer instances");
    files.wait_for_events(&["drop m_0_1", "drop m_0_2"]);

    let model_kind = FILE_CONFIG.to_owned() + "instance_group [ { kind: KIND_MODEL } ]";
    files.write_config("m", &model_kind);
    files.load("m").expect("another instance");
    files.wait_for_events(&["create m_0_0", "drop m_0_0"]);
    assert_eq!(files.infer("m").expect("it serves"), 1.0);

    files.write_config("m", &format!("max_batch_size: 4 {model_kind}"));
    files.load("m").expect("another model");
    files.wait_for_events(&["create m_0_0", "drop m_0_0", "load m 1"]);
}

#[test]
fn an_instance_that_is_removed_finishes_its_request() {
    let files = FileServer::explicit(&[("m", "hold 5")]);
    files.write_config("m", &with_instances(2));
    files.load("m").expect("it can be loaded");
    let model = || files.server.model("m", None).expect("loaded");
    let replies = [(); 2].map(|()| files.send(files.request(model())).expect("accepted"));
    let held = [files.next_held(), files.next_held()];
    files.events();
    files.write_config("m", &with_instances(1));
    files.load("m").expect("fewer instances");
    assert_eq!(files.events(), [""; 0], "both are busy");
    held.into_iter()
        .for_each(support::file_backend::Held::answer);
    for reply in &replies {
        assert_eq!(reply.number().expect("answered"), 5.0);
    }
    files.wait_for_events(&["drop m_0_1"]);
    let reply = files.send(files.request(model())).expect("accepted");
    files.next_held().answer();
    assert_eq!(reply.number().expect("answered"), 5.0);
}

#[test]
fn a_load_keeps_its_own_model_waiting_and_no_other() {
    let files = FileServer::explicit(&[("slow", "gate"), ("quick", "2")]);
    let load = |name: &str| ModelLoad {
        name: name.to_owned(),
        ..ModelLoad::default()
    };
    let first = files.begin_load(load("slow"));
    let again: Vec<_> = (0..6).map(|_| files.begin_load(load("slow"))).collect();
    files
        .load("quick")
        .expect("another model is not kept waiting");
    wait_until("the load", || {
        files.events().contains(&"load slow 1".to_owned())
    });
    assert_eq!(files.index(), ["quick 1 READY", "slow 1 LOADING"]);
    files
        .unload("quick")
        .expect("nor is it when it is unloaded");
    files.open_gate();
    for outcome in std::iter::once(first).chain(again) {
        let outcome = outcome.recv_timeout(support::PATIENCE).expect("it ends");
        outcome.expect("it can be loaded");
    }
    let events = files.events();
    assert!(
        !events.contains(&"load slow 1".to_owned()),
        "loaded once: {events:?}"
    );
}

#[test]
fn failed_loads_are_tried_again() {
    for (retries, is_loaded) in [(0, false), (1, true)] {
        let options = ServerOptions {
            load_retry_count: retries,
            ..explicit()
        };
        let files = FileServer::start(&[("m", "fail once")], options);
        assert_eq!(files.load("m").is_ok(), is_loaded);
    }
}

fn with_files(name: &str, config: &str, files: &[(&str, &'static str)]) -> ModelLoad {
    let file = |(path, content): &(&str, &'static str)| {
        (
            (*path).to_owned(),
            bytes::Bytes::from_static(content.as_bytes()),
        )
    };
    ModelLoad {
        name: name.to_owned(),
        config: Some(config.to_owned()),
        files: files.iter().map(file).collect(),
    }
}

const JSON_CONFIG: &str = r#"{"backend":"files",
    "input":[{"name":"IN","data_type":"TYPE_FP32","dims":[-1]}],
    "output":[{"name":"OUT","data_type":"TYPE_FP32","dims":[1]}]}"#;

#[test]
fn files_of_a_request_replace_the_directory_until_the_next_plain_load() {
    let files = FileServer::explicit(&[("m", "1")]);
    files.load("m").expect("it can be loaded");
    let load = with_files("m", JSON_CONFIG, &[("3/weights", "33")]);
    files.load_with(load.clone()).expect("it can be loaded");
    assert_eq!(files.server.ready_versions("m"), [3]);
    let directory = {
        let model = files.server.model("m", None).expect("loaded");
        model.context().directory.clone()
    };
    assert!(directory.is_dir());
    assert_eq!(files.infer("m").expect("it serves"), 33.0);
    files.events();
    files
        .load_with(load)
        .expect("the same again is loaded again");
    wait_until("the load", || {
        files.events().contains(&"load m 3".to_owned())
    });
    files.load("m").expect("back to the repository");
    assert_eq!(files.infer("m").expect("it serves"), 1.0);
    wait_until("the end of the files", || !directory.exists());

    let new = with_files("new", JSON_CONFIG, &[("1/weights", "9")]);
    files.load_with(new).expect("no directory is needed");
    assert_eq!(files.infer("new").expect("it serves"), 9.0);
    assert!(files.index().contains(&"new 1 READY".to_owned()));
    assert!(files.load("new").is_err(), "no repository has it");
    assert_eq!(files.infer("new").expect("it still serves"), 9.0);
    files.unload("new").expect("it can be unloaded");
    wait_until("the end of the model", || {
        files.index() == ["m 1 READY", "m 3 UNAVAILABLE unloaded"]
    });
}

#[test]
fn a_configuration_of_a_request_counts_until_the_next_plain_load() {
    let files = FileServer::explicit(&[("m", "1")]);
    let max_batch_size = || {
        let model = files.server.model("m", None).expect("loaded");
        model.config().max_batch_size
    };
    let batching = JSON_CONFIG.replacen('{', r#"{"max_batch_size":4,"#, 1);
    files
        .load_with(with_files("m", &batching, &[]))
        .expect("it can be loaded");
    assert_eq!(max_batch_size(), 4);
    files.load("m").expect("back to the repository");
    assert_eq!(max_batch_size(), 0);
}

#[test]
fn bad_load_requests_are_refused_and_change_nothing() {
    let files = FileServer::explicit(&[("m", "1")]);
    files.load("m").expect("it can be loaded");
    files.events();
    let without_config = ModelLoad {
        config: None,
        ..with_files("m", "", &[("1/weights", "2")])
    };
    let cases = [
        (
            without_config,
            "Load parameter 'config' must be specified for model file override",
        ),
        (
            with_files("m", r#"{"nonsense":1}"#, &[]),
            "Invalid config override: ",
        ),
        (with_files("m", "", &[]), "Invalid config override: "),
        (
            with_files("m", JSON_CONFIG, &[("../../x", "2")]),
            "model file override path '../../x' must stay within the model's directory",
        ),
        (
            with_files("m", JSON_CONFIG, &[("/etc/x", "2")]),
            "model file override path '/etc/x' must stay within the model's directory",
        ),
    ];
    for (load, text) in cases {
        let error = files.load_with(load).expect_err("a bad request");
        assert_eq!(error.code(), ErrorCode::InvalidArg);
        assert!(error.message().starts_with(text), "{}", error.message());
        assert_eq!(files.index(), ["m 1 READY"]);
    }
    assert_eq!(files.events(), [""; 0]);
    assert_eq!(files.infer("m").expect("it serves"), 1.0);
}

#[test]
fn an_operator_can_forbid_models_from_clients() {
    let options = ServerOptions {
        allows_model_upload: false,
        ..explicit()
    };
    let files = FileServer::start(&[("m", "1")], options);
    for load in [
        with_files("m", JSON_CONFIG, &[("1/weights", "2")]),
        with_files("m", JSON_CONFIG, &[]),
    ] {
        let error = files.load_with(load).expect_err("forbidden");
        assert_eq!(error.code(), ErrorCode::Unsupported);
    }
    files
        .load("m")
        .expect("what is in the repository may be loaded");
}

#[test]
fn what_is_not_there_yet_fails_the_load_with_its_name() {
    let files = FileServer::explicit(&[("m", "1"), ("e", "1")]);
    let agents = "model_repository_agents { agents [ { name: \"checksum\" } ] }";
    files.write_config("m", &format!("{FILE_CONFIG}{agents}"));
    let error = files.load("m").expect_err("no agents");
    assert!(error.message().contains("repository agent 'checksum'"));
    let ensemble = FILE_CONFIG.replace("backend: \"files\"", "platform: \"ensemble\"")
        + "ensemble_scheduling { step [ { model_name: \"m\" model_version: -1 \
           input_map { key: \"IN\" value: \"IN\" } output_map { key: \"OUT\" value: \"OUT\" } } ] }";
    files.write_config("e", &ensemble);
    let error = files.load("e").expect_err("no ensembles");
    assert!(
        error.message().contains("is an ensemble"),
        "{}",
        error.message()
    );
}

#[test]
fn other_modes_and_a_server_that_stops_refuse() {
    let refusal = "explicit model load / unload is not allowed if polling is enabled";
    for mode in [ModelControlMode::None, ModelControlMode::Poll] {
        let options = ServerOptions {
            control_mode: mode,
            ..ServerOptions::default()
        };
        let files = FileServer::start(&[("m", "1")], options);
        for result in [files.load("m"), files.load("nosuch"), files.unload("m")] {
            let error = result.expect_err("not in this mode");
            assert_eq!(
                (error.code(), error.message()),
                (ErrorCode::Unavailable, refusal)
            );
        }
        assert_eq!(files.index(), ["m 1 READY"]);
    }
    let files = FileServer::explicit(&[("m", "1")]);
    files.server.begin_exit();
    for result in [files.load("m"), files.unload("m")] {
        let error = result.expect_err("it stops");
        assert_eq!(error.code(), ErrorCode::Unavailable);
    }
}

fn two_repositories(is_namespacing: bool) -> (TempDir, FileServer) {
    let other = TempDir::new().expect("a temporary directory");
    write_config(other.path(), "m", FILE_CONFIG);
    write_weights(other.path(), "m", 1, "100");
    write_config(other.path(), "alone", FILE_CONFIG);
    write_weights(other.path(), "alone", 1, "200");
    let options = ServerOptions {
        model_repositories: vec![other.path().to_owned()],
        is_namespacing,
        ..explicit()
    };
    (other, FileServer::start(&[("m", "1")], options))
}

#[test]
fn a_name_in_two_repositories_is_no_model() {
    let (_other, files) = two_repositories(false);
    let ambiguous = "m - UNAVAILABLE model appears in two or more repositories";
    assert_eq!(files.index(), ["alone - -", ambiguous]);
    let error = files.load("m").expect_err("which one?");
    assert_eq!(error.code(), ErrorCode::Internal);
    assert!(
        error
            .message()
            .starts_with("failed to load 'm', failed to poll from model repository")
    );
    files.load("alone").expect("it can be loaded");
    assert_eq!(files.index(), ["alone 1 READY", ambiguous]);
    assert!(files.server.is_ready());
    let error = files.server.model("m", None).expect_err("no model");
    assert_eq!(
        error.message(),
        "Request for unknown model: 'm' is not found"
    );
}

#[test]
fn with_namespacing_both_are_models_and_a_request_must_not_mean_either() {
    let (other, files) = two_repositories(true);
    assert_eq!(files.index(), ["alone - -", "m - -", "m - -"]);
    files.load("m").expect("both can be loaded");
    files.load("alone").expect("it can be loaded");
    assert_eq!(files.index(), ["alone 1 READY", "m 1 READY", "m 1 READY"]);
    assert_eq!(files.infer("alone").expect("there is one"), 200.0);
    let error = files.infer("m").expect_err("which one?");
    assert_eq!(error.code(), ErrorCode::InvalidArg);
    assert_eq!(
        error.message(),
        "There are 2 identifiers of model 'm' in global map, model namespace must be provided to \
         resolve ambiguity."
    );
    let error = files.infer("nosuch").expect_err("no such model");
    assert_eq!(error.code(), ErrorCode::InvalidArg);
    let metrics = tritongw_engine::metrics::render(&files.server);
    let label = format!(
        "model=\"m\",version=\"1\",namespace=\"{}\"",
        other.path().display()
    );
    assert!(metrics.contains(&label), "{metrics}");
    files.unload("m").expect("both can be unloaded");
    wait_until("the end of both", || {
        let unloaded = "m 1 UNAVAILABLE unloaded";
        files.index() == ["alone 1 READY", unloaded, unloaded]
    });
}
