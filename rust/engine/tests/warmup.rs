// SPDX-License-Identifier: Apache-2.0
//! Samples that every instance executes before it serves (M097-M102, S096).

mod support;

use support::file_backend::{FileServer, with_instances};
use support::{CONFIG, Fixture, Script, serve, serve_with, write_model};
use tempfile::TempDir;
use tritongw_engine::ServerOptions;

const SAMPLE: &str = r#"
model_warmup {
    name: "three"
    batch_size: 1
    count: 3
    inputs { key: "IN" value { data_type: TYPE_FP32 dims: [ 2 ] random_data: true } }
}
"#;

fn warmed(config: &str) -> String {
    format!("{config}{SAMPLE}")
}

/// Returns why the model `m` is not there.
fn reason(fixture: &Fixture) -> String {
    let [entry] = fixture.server.index().try_into().expect("one model");
    assert!(!entry.is_ready());
    entry.reason
}

#[test]
fn every_instance_executes_every_sample_before_the_model_is_ready() {
    for script in [Script::EchoInline, Script::EchoDedicated] {
        let config = warmed(&CONFIG.replace("count: 1", "count: 2"));
        let fixture = serve(script, &config);
        let statistics = fixture.statistics();
        assert_eq!(statistics.execution_count, 6, "{script:?}");
        assert_eq!(statistics.success.count, 6);
        assert_eq!(statistics.pending_count, 0);
        fixture.send_one("1").expect("accepted").wait();
        assert_eq!(fixture.statistics().execution_count, 7);
    }
}

#[test]
fn the_requests_of_a_sample_are_one_execution() {
    let config = format!("max_batch_size: 4 {}", warmed(CONFIG));
    let fixture = serve(
        Script::EchoDedicated,
        &config.replace("batch_size: 1", "batch_size: 3"),
    );
    let statistics = fixture.statistics();
    assert_eq!(statistics.success.count, 9, "three executions of three");
}

#[test]
fn a_passive_instance_is_not_warmed_up() {
    let groups = "count: 1 passive: true } , { kind: KIND_CPU count: 1 } ]";
    let config = warmed(&CONFIG.replace("count: 1 } ]", groups));
    assert_eq!(
        serve(Script::EchoDedicated, &config)
            .statistics()
            .execution_count,
        3
    );
}

#[test]
fn a_sample_that_fails_fails_the_load() {
    let cases = [
        (Script::Fail, "the model is out of order; "),
        (Script::Panic, "instance 'm_0_0' panicked; "),
        (
            Script::Forget,
            "instance 'm_0_0' did not answer the request; ",
        ),
    ];
    for (script, errors) in cases {
        let fixture = serve(script, &warmed(CONFIG));
        let expected = format!("Invalid argument: failed to run warmup sample 'three': {errors}");
        assert_eq!(reason(&fixture), expected, "{script:?}");
    }
}

#[test]
fn a_batch_beyond_the_models_limit_is_refused() {
    let config = warmed(CONFIG).replace("batch_size: 1", "batch_size: 4294967295");
    let fixture = serve(Script::EchoDedicated, &config);
    let expected = "Invalid argument: failed to run warmup sample 'three': batch size 4294967295 \
                    for 'm_0_0', max allowed is 0; ";
    assert_eq!(reason(&fixture), expected);
}

#[test]
fn data_is_checked_before_it_is_read_or_made() {
    let with = |data: &str| {
        let repository = TempDir::new().expect("a temporary directory");
        let config = warmed(CONFIG).replace("dims: [ 2 ] random_data: true", data);
        write_model(&repository, "m", &["1"], &config);
        let files = repository.path().join("m").join("warmup");
        std::fs::create_dir(&files).expect("writable");
        std::fs::write(files.join("four"), [0; 4]).expect("writable");
        std::os::unix::fs::symlink("/dev/zero", files.join("zeros")).expect("writable");
        let fixture = serve_with(Script::EchoDedicated, repository, ServerOptions::default());
        reason(&fixture)
    };
    let short = with("dims: [ 2 ] input_data_file: 'four'");
    assert_eq!(
        short,
        "Invalid argument: [request id: <id_unknown>] warmup setting expects 8 bytes, but the \
         data provided from fouronly has 4 bytes"
    );
    for file in ["zeros", "../../../outside", "/etc/hostname"] {
        let elsewhere = with(&format!("dims: [ 2 ] input_data_file: '{file}'"));
        let outside = format!(
            "Invalid argument: warmup data file '{file}' of model 'm' is outside model directory"
        );
        let is_missing = elsewhere.contains("failed to open text file for read");
        assert!(elsewhere == outside || is_missing, "{elsewhere}");
    }
    let large = with("dims: [ 1000000, 1000000 ] zero_data: true");
    assert_eq!(
        large,
        "Invalid argument: warmup setting input 'IN' of model 'm': 4000000000000 bytes are too many"
    );
    let overflow = with("dims: [ 4611686018427387904, 4 ] zero_data: true");
    assert!(
        overflow.starts_with("Invalid argument: warmup setting input 'IN' of model 'm': shape")
    );
}

#[test]
fn instances_added_to_a_model_that_serves_are_warmed_up() {
    let server = FileServer::explicit(&[("m", "7")]);
    let config = |count| {
        let config = with_instances(count);
        format!("{config}{SAMPLE}").replace("FP32 dims: [ 2 ]", "FP32 dims: [ 1 ]")
    };
    server.write_config("m", &config(1));
    server.load("m").expect("loads");
    let executions = || {
        let model = server.server.model("m", None).expect("serves");
        model.statistics().snapshot().execution_count
    };
    let successes = || {
        let model = server.server.model("m", None).expect("serves");
        model.statistics().snapshot().success.count
    };
    assert_eq!(
        (executions(), successes()),
        (0, 3),
        "this backend counts no batches"
    );
    server.write_config("m", &config(2));
    server.load("m").expect("loads");
    assert_eq!(successes(), 6, "the new instance alone");
    assert_eq!(server.infer("m").expect("answered"), 7.0);
}
