// SPDX-License-Identifier: Apache-2.0
//! Which requests are traced, what their traces hold, and which files they end up in.

mod support;

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use support::{CONFIG, Fixture, Script, serve_with, write_model};
use tempfile::TempDir;
use tritongw_engine::ServerOptions;
use tritongw_engine::trace::{
    Activity, InferenceTrace, TraceContext, TraceExporter, TraceLevels, TraceMode, TraceOptions,
    TraceRecord, TraceSettings, TraceUpdate,
};

const BOTH: TraceLevels = TraceLevels {
    timestamps: true,
    tensors: true,
};
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn settings(levels: TraceLevels) -> TraceSettings {
    TraceSettings {
        levels,
        rate: 1,
        ..TraceSettings::default()
    }
}

fn serve(settings: TraceSettings, mode: TraceMode) -> Fixture {
    let repository = TempDir::new().expect("a temporary directory");
    write_model(&repository, "m", &["1"], CONFIG);
    let options = ServerOptions {
        trace: TraceOptions { settings, mode },
        ..ServerOptions::default()
    };
    serve_with(Script::EchoInline, repository, options)
}

fn to_file(directory: &TempDir) -> TraceMode {
    TraceMode::Triton {
        file: Some(directory.path().join("trace.json")),
    }
}

/// Sends a request as a door does; returns whether it was traced.
fn infer(fixture: &Fixture, id: &str) -> bool {
    let trace = fixture.server.traces().sample("m", None);
    let mut request = fixture.request(id, &[2], &[1.5, -2.0]);
    request.set_trace(trace.clone());
    let reply = fixture.send(request).expect("valid");
    assert!(reply.wait().error().is_none());
    trace.is_some()
}

fn update(fixture: &Fixture, model: Option<&str>, changes: &[(&str, Option<&str>)]) {
    let result = try_update(fixture, model, changes);
    assert_eq!(result, Ok(()));
}

fn try_update(
    fixture: &Fixture,
    model: Option<&str>,
    changes: &[(&str, Option<&str>)],
) -> Result<(), String> {
    let mut update = TraceUpdate::default();
    for (name, value) in changes {
        let value = value.as_ref().map(std::slice::from_ref);
        update.set(name, value).expect("a value");
    }
    let result = fixture.server.traces().update(model, &update);
    result.map_err(|error| error.message().to_owned())
}

fn setting(fixture: &Fixture, model: Option<&str>, name: &str) -> String {
    let settings = fixture.server.traces().settings(model);
    let found = settings.into_iter().find(|(known, _)| *known == name);
    found.expect("a setting of this name").1.join(",")
}

fn entries(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("a trace file");
    serde_json::from_str(&text).expect("a JSON array")
}

/// Counts the traces in a file.
fn trace_count(directory: &TempDir, name: &str) -> usize {
    let entries = entries(&directory.path().join(name));
    let of_model = |entry: &&Value| entry.get("model_name").is_some();
    entries.iter().filter(of_model).count()
}

fn file_names(directory: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(directory.path()).expect("a directory");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name().into_string())
        .collect::<Result<_, _>>()
        .expect("UTF-8");
    names.sort();
    names
}

fn stop(fixture: &Fixture) {
    fixture.server.stop(std::time::Duration::from_secs(1));
}

#[test]
fn a_trace_holds_what_happened_and_with_which_tensors() {
    let directory = TempDir::new().expect("a temporary directory");
    let fixture = serve(settings(BOTH), to_file(&directory));
    assert!(infer(&fixture, "my \"id\""));
    stop(&fixture);
    let entries = entries(&directory.path().join("trace.json"));
    let head = serde_json::json!(
        {"id": 1, "model_name": "m", "model_version": 1, "request_id": "my \"id\""}
    );
    assert_eq!(entries[0], head);
    assert!(entries.iter().all(|entry| entry["id"] == 1));
    let names: Vec<_> = entries[1..]
        .iter()
        .map(|entry| match entry.get("activity") {
            Some(activity) => activity.as_str(),
            None => entry["timestamps"][0]["name"].as_str(),
        })
        .map(|name| name.expect("a name"))
        .collect();
    assert_eq!(
        names,
        [
            "REQUEST_START",
            "QUEUE_START",
            "TENSOR_QUEUE_INPUT",
            "COMPUTE_START",
            "COMPUTE_INPUT_END",
            "COMPUTE_OUTPUT_START",
            "COMPUTE_END",
            "TENSOR_BACKEND_OUTPUT",
            "INFER_RESPONSE_COMPLETE",
            "REQUEST_END"
        ]
    );
    let input = serde_json::json!({"name": "IN", "data": "1.5,-2", "shape": "2", "dtype": "FP32"});
    let output =
        serde_json::json!({"name": "OUT", "data": "1.5,-2", "shape": "2", "dtype": "FP32"});
    assert_eq!(entries[3]["tensor"], input);
    assert_eq!(entries[8]["tensor"], output);
}

#[test]
fn each_level_records_its_part() {
    for (levels, has_timestamps, has_tensors) in [
        (
            TraceLevels {
                tensors: false,
                ..BOTH
            },
            true,
            false,
        ),
        (
            TraceLevels {
                timestamps: false,
                ..BOTH
            },
            false,
            true,
        ),
    ] {
        let directory = TempDir::new().expect("a temporary directory");
        let fixture = serve(settings(levels), to_file(&directory));
        infer(&fixture, "1");
        stop(&fixture);
        let entries = entries(&directory.path().join("trace.json"));
        let has = |name: &str| entries.iter().any(|entry| entry.get(name).is_some());
        assert_eq!(has("timestamps"), has_timestamps, "{levels:?}");
        assert_eq!(has("tensor"), has_tensors, "{levels:?}");
    }
}

#[test]
fn while_off_nothing_is_traced_and_no_file_is_made() {
    let directory = TempDir::new().expect("a temporary directory");
    let fixture = serve(settings(TraceLevels::OFF), to_file(&directory));
    assert!(!fixture.server.traces().is_on());
    assert!(!infer(&fixture, "1"));
    update(&fixture, None, &[("trace_level", Some("TIMESTAMPS"))]);
    assert!(fixture.server.traces().is_on());
    update(&fixture, None, &[("trace_level", None)]);
    assert!(!fixture.server.traces().is_on());
    stop(&fixture);
    assert!(file_names(&directory).is_empty());
}

#[test]
fn a_log_frequency_fills_numbered_files() {
    let directory = TempDir::new().expect("a temporary directory");
    let mut settings = settings(BOTH);
    settings.log_frequency = 2;
    let fixture = serve(settings, to_file(&directory));
    for id in ["1", "2", "3"] {
        infer(&fixture, id);
    }
    stop(&fixture);
    assert_eq!(file_names(&directory), ["trace.json.0", "trace.json.1"]);
    assert_eq!(trace_count(&directory, "trace.json.0"), 2);
    assert_eq!(trace_count(&directory, "trace.json.1"), 1);
}

#[test]
fn the_file_is_numbered_when_the_count_is_used_up() {
    let directory = TempDir::new().expect("a temporary directory");
    let mut settings = settings(BOTH);
    settings.count = Some(2);
    let fixture = serve(settings, to_file(&directory));
    let traced: Vec<bool> = ["1", "2", "3"].map(|id| infer(&fixture, id)).into();
    assert_eq!(traced, [true, true, false]);
    assert_eq!(setting(&fixture, None, "trace_count"), "0");
    // Any change gives what the start allowed once more.
    update(&fixture, None, &[("trace_rate", Some("1"))]);
    assert!(infer(&fixture, "4"));
    stop(&fixture);
    assert_eq!(file_names(&directory), ["trace.json", "trace.json.0"]);
    assert_eq!(trace_count(&directory, "trace.json.0"), 2);
    assert_eq!(trace_count(&directory, "trace.json"), 1);
}

#[test]
fn a_change_completes_the_numbered_file() {
    let directory = TempDir::new().expect("a temporary directory");
    let mut settings = settings(BOTH);
    settings.log_frequency = 10;
    let fixture = serve(settings, to_file(&directory));
    infer(&fixture, "1");
    update(&fixture, None, &[("trace_rate", Some("1"))]);
    infer(&fixture, "2");
    stop(&fixture);
    assert_eq!(trace_count(&directory, "trace.json.0"), 1);
    assert_eq!(trace_count(&directory, "trace.json.1"), 1);
}

#[test]
fn a_model_has_its_own_value_else_the_global_one_else_that_of_the_start() {
    let directory = TempDir::new().expect("a temporary directory");
    let fixture = serve(settings(BOTH), to_file(&directory));
    let rates = |fixture: &Fixture| {
        let rate = |model| setting(fixture, model, "trace_rate");
        (rate(None), rate(Some("m")), rate(Some("other")))
    };
    let expect = |fixture: &Fixture, global: &str, m: &str, other: &str| {
        let expected = (global.to_owned(), m.to_owned(), other.to_owned());
        assert_eq!(rates(fixture), expected);
    };
    expect(&fixture, "1", "1", "1");
    update(&fixture, Some("m"), &[("trace_rate", Some("7"))]);
    expect(&fixture, "1", "7", "1");
    update(
        &fixture,
        None,
        &[("trace_rate", Some("8")), ("trace_count", Some("5"))],
    );
    expect(&fixture, "8", "7", "8");
    assert_eq!(setting(&fixture, Some("m"), "trace_count"), "5");
    update(&fixture, Some("m"), &[("trace_rate", None)]);
    expect(&fixture, "8", "8", "8");
    update(&fixture, None, &[("trace_rate", None)]);
    expect(&fixture, "1", "1", "1");
    stop(&fixture);
}

#[test]
fn a_model_without_settings_of_its_own_is_counted_with_the_others() {
    let directory = TempDir::new().expect("a temporary directory");
    let mut settings = settings(BOTH);
    settings.count = Some(3);
    let fixture = serve(settings, to_file(&directory));
    update(&fixture, Some("m"), &[("trace_rate", Some("1"))]);
    assert!(infer(&fixture, "1"));
    assert_eq!(setting(&fixture, None, "trace_count"), "3");
    update(&fixture, Some("m"), &[("trace_rate", None)]);
    assert!(infer(&fixture, "2"));
    assert_eq!(setting(&fixture, None, "trace_count"), "2");
    stop(&fixture);
}

#[test]
fn a_model_can_be_off_while_others_are_traced() {
    let directory = TempDir::new().expect("a temporary directory");
    let fixture = serve(settings(BOTH), to_file(&directory));
    update(&fixture, Some("m"), &[("trace_level", Some("OFF"))]);
    assert!(!infer(&fixture, "1"));
    assert!(fixture.server.traces().sample("other", None).is_some());
    stop(&fixture);
}

#[test]
fn settings_with_which_nothing_could_be_traced_are_refused_and_change_nothing() {
    let prefix = "Attempting to set invalid trace setting :";
    let fixture = serve(settings(TraceLevels::OFF), TraceMode::default());
    let on = ("trace_level", Some("TENSORS"));
    assert_eq!(
        try_update(&fixture, None, &[on]),
        Err(format!("{prefix}trace file name is not given"))
    );
    let directory = TempDir::new().expect("a temporary directory");
    let fixture = serve(settings(TraceLevels::OFF), to_file(&directory));
    for model in [None, Some("m")] {
        assert_eq!(
            try_update(&fixture, model, &[on, ("trace_rate", Some("0"))]),
            Err(format!("{prefix}sample rate must be non-zero"))
        );
        assert_eq!(
            try_update(&fixture, model, &[on, ("trace_count", Some("0"))]),
            Err(format!("{prefix}trace count is used up"))
        );
        assert_eq!(setting(&fixture, model, "trace_level"), "OFF");
        assert_eq!(setting(&fixture, model, "trace_rate"), "1");
    }
    // While tracing is off, anything may be prepared.
    update(
        &fixture,
        None,
        &[("trace_rate", Some("0")), ("trace_count", Some("0"))],
    );
}

#[test]
fn a_rejected_request_has_a_trace_too() {
    let directory = TempDir::new().expect("a temporary directory");
    let fixture = serve(settings(BOTH), to_file(&directory));
    let trace = fixture.server.traces().sample("m", None);
    let mut request = fixture.request("bad", &[3], &[1.0]);
    request.set_trace(trace);
    fixture.send(request).map(drop).expect_err("a wrong size");
    stop(&fixture);
    assert_eq!(trace_count(&directory, "trace.json"), 1);
}

/// Keeps what it is given.
#[derive(Default)]
struct Collector(Mutex<Vec<Vec<TraceRecord>>>);

impl TraceExporter for Collector {
    fn export(&self, records: Vec<TraceRecord>) {
        self.0.lock().push(records);
    }
    fn settings(&self) -> Vec<(&'static str, Vec<String>)> {
        vec![("url", vec!["http://collector".to_owned()])]
    }
    fn shut_down(&self) {}
}

fn to_collector() -> (Arc<Collector>, TraceMode) {
    let collector = Arc::new(Collector::default());
    (Arc::clone(&collector), TraceMode::OpenTelemetry(collector))
}

#[test]
fn a_context_forces_a_trace_only_where_traces_go_to_a_collector() {
    let (_, mode) = to_collector();
    let mut rare = settings(BOTH);
    rare.rate = 0;
    let fixture = serve(rare, mode);
    let context = TraceContext::parse(PARENT, None).expect("well-formed");
    assert!(fixture.server.traces().sample("m", None).is_none());
    let trace = fixture.server.traces().sample("m", Some(&context));
    let context_json = trace.and_then(|trace| trace.context()).expect("traced");
    assert!(context_json.contains("0af7651916cd43dd8448eb211c80319c"));
    // Setting the rate to 0 is fine here, as it is not for files.
    update(&fixture, None, &[("trace_rate", Some("0"))]);

    let directory = TempDir::new().expect("a temporary directory");
    rare.rate = 1000;
    let fixture = serve(rare, to_file(&directory));
    assert!(
        fixture
            .server
            .traces()
            .sample("m", Some(&context))
            .is_none()
    );
    stop(&fixture);
}

#[test]
fn a_child_names_its_parent_and_travels_with_it() {
    let (collector, mode) = to_collector();
    let fixture = serve(settings(BOTH), mode);
    let parent = fixture.server.traces().sample("m", None).expect("traced");
    let child = parent.spawn_child();
    let grandchild: Arc<InferenceTrace> = child.spawn_child();
    grandchild.record_custom("LOOKED_UP", 5);
    parent.record(Activity::HttpSendEnd);
    drop((parent, child));
    assert!(collector.0.lock().is_empty(), "a child is still under way");
    drop(grandchild);
    let records = collector.0.lock().pop().expect("one trace");
    let ids: Vec<_> = records.iter().map(|r| (r.id, r.parent_id)).collect();
    assert_eq!(ids, [(3, 2), (2, 1), (1, 0)]);
    let spans: Vec<_> = records.iter().filter_map(|r| r.spans.as_ref()).collect();
    let [grandchild, child, parent] = spans[..] else {
        panic!("each has spans");
    };
    assert_eq!(
        (child.parent, grandchild.parent),
        (parent.model, child.model)
    );
    assert_eq!(grandchild.trace_id, parent.trace_id);
}

#[test]
fn the_settings_of_a_collector_take_the_place_of_the_files() {
    let (_, mode) = to_collector();
    let fixture = serve(settings(BOTH), mode);
    let names: Vec<_> = fixture
        .server
        .traces()
        .settings(None)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let expected = [
        "trace_level",
        "trace_rate",
        "trace_count",
        "trace_mode",
        "url",
    ];
    assert_eq!(names, expected);
}
