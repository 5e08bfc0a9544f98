// SPDX-License-Identifier: Apache-2.0
//! What the two backends answer, as a door sees it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tempfile::TempDir;
use tritongw_backend_decoupled::{RepeatBackend, SquareBackend};
use tritongw_engine::buffer::HeapAllocator;
use tritongw_engine::{
    InferenceRequest, InferenceResponse, InputTensor, Responder, ResponseFlags, ResponseSink,
    Resume, Server, ServerOptions, StatisticsSnapshot,
};
use tritongw_types::{DataType, Shape};

/// Longest wait for something that must happen; only a failing test takes it.
const PATIENCE: Duration = Duration::from_secs(20);

const REPEAT: &str = r#"
    backend: "repeat"
    model_transaction_policy { decoupled: true }
    input [
      { name: "IN" data_type: TYPE_INT32 dims: [ -1 ] },
      { name: "DELAY" data_type: TYPE_UINT32 dims: [ -1 ] },
      { name: "WAIT" data_type: TYPE_UINT32 dims: [ 1 ] }
    ]
    output [
      { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] },
      { name: "IDX" data_type: TYPE_UINT32 dims: [ 1 ] }
    ]
"#;

const SQUARE: &str = r#"
    backend: "square"
    model_transaction_policy { decoupled: true }
    input [ { name: "IN" data_type: TYPE_INT32 dims: [ 1 ] } ]
    output [ { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] } ]
"#;

/// One response: the first bytes of its outputs, or its error; and whether it was the last.
type Seen = (Option<Result<Vec<i32>, String>>, bool);

#[derive(Debug)]
struct Sink {
    seen: Sender<Seen>,
    /// What waits for room; `None` while there is room.
    waiting: Mutex<Option<Vec<ResumeBox>>>,
}

struct ResumeBox(Resume);

impl std::fmt::Debug for ResumeBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResumeBox")
    }
}

impl Sink {
    fn make_room(&self) {
        for ResumeBox(resume) in self.waiting.lock().take().into_iter().flatten() {
            resume();
        }
    }
}

impl ResponseSink for Sink {
    fn respond(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags) {
        let content = response.map(|response| match response.error() {
            Some(error) => Err(error.message().to_owned()),
            None => Ok(response
                .outputs()
                .filter_map(|output| output.buffer.as_ref()?.as_slice())
                .map(|data| i32::from_le_bytes(data.try_into().expect("one element")))
                .collect()),
        });
        // A test that has seen enough no longer listens.
        let _ = self.seen.send((content, flags.is_final()));
    }

    fn has_room(&self) -> bool {
        self.waiting.lock().is_none()
    }

    fn when_room(&self, resume: Resume) {
        match &mut *self.waiting.lock() {
            Some(waiting) => waiting.push(ResumeBox(resume)),
            None => resume(),
        }
    }
}

struct Fixture {
    server: Arc<Server>,
    _repository: TempDir,
}

struct Asked {
    responder: Arc<Responder>,
    sink: Arc<Sink>,
    seen: Receiver<Seen>,
}

impl Asked {
    fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("a response")
    }

    /// Returns everything up to the final flag.
    fn all(&self) -> Vec<Seen> {
        let mut all = vec![self.next()];
        while !all.last().expect("one at least").1 {
            all.push(self.next());
        }
        all
    }
}

fn serve(config: &str) -> Fixture {
    let repository = TempDir::new().expect("a temporary directory");
    let model = repository.path().join("model");
    std::fs::create_dir_all(model.join("1")).expect("a writable directory");
    std::fs::write(model.join("config.pbtxt"), config).expect("a writable directory");
    let options = ServerOptions {
        model_repositories: vec![repository.path().to_owned()],
        ..ServerOptions::default()
    };
    let server = Server::new(
        options,
        vec![Arc::new(RepeatBackend), Arc::new(SquareBackend)],
    );
    Fixture {
        server: server.expect("readable"),
        _repository: repository,
    }
}

fn elements(values: &[i32]) -> Bytes {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

impl Fixture {
    fn ask(&self, inputs: &[(&str, DataType, &[i32])], has_room: bool) -> Asked {
        let model = self.server.model("model", None).expect("loaded");
        let mut request = InferenceRequest::new(model);
        for &(name, data_type, values) in inputs {
            let shape = Shape::from([values.len() as i64]);
            let input = InputTensor::new(name, data_type, shape, elements(values));
            request.add_input(input).expect("its name is new");
        }
        let (sender, seen) = channel();
        let sink = Arc::new(Sink {
            seen: sender,
            waiting: Mutex::new(if has_room { None } else { Some(Vec::new()) }),
        });
        let target: Arc<dyn ResponseSink> = sink.clone();
        let responder = request.set_response_handler(Arc::new(HeapAllocator), target);
        let responder = Arc::clone(responder);
        self.server.infer(request).expect("valid");
        Asked {
            responder,
            sink,
            seen,
        }
    }

    fn repeat(&self, values: &[i32], delays: &[i32], wait: i32) -> Asked {
        let inputs = repeat_inputs(values, delays, &wait);
        self.ask(&inputs, true)
    }

    fn square(&self, count: i32) -> Asked {
        self.ask(&[("IN", DataType::Int32, &[count])], true)
    }

    fn statistics(&self) -> StatisticsSnapshot {
        let mut all = self.server.statistics(Some("model"), None).expect("loaded");
        all.remove(0).1
    }
}

fn repeat_inputs<'a>(
    values: &'a [i32],
    delays: &'a [i32],
    wait: &'a i32,
) -> [(&'static str, DataType, &'a [i32]); 3] {
    [
        ("IN", DataType::Int32, values),
        ("DELAY", DataType::Uint32, delays),
        ("WAIT", DataType::Uint32, std::slice::from_ref(wait)),
    ]
}

fn sent(values: &[i32]) -> Seen {
    (Some(Ok(values.to_vec())), false)
}

const END: Seen = (None, true);

#[test]
fn repeat_sends_each_element_with_its_index_and_then_flags_alone() {
    let fixture = serve(REPEAT);
    let asked = fixture.repeat(&[4, 2, -1], &[0, 1, 0], 0);
    assert_eq!(
        asked.all(),
        [sent(&[4, 0]), sent(&[2, 1]), sent(&[-1, 2]), END]
    );
}

#[test]
fn repeat_of_nothing_sends_no_response() {
    let fixture = serve(REPEAT);
    assert_eq!(fixture.repeat(&[], &[], 0).all(), [END]);
}

#[test]
fn responses_come_while_the_request_is_held_and_after_it_was_let_go() {
    let fixture = serve(REPEAT);
    // Held for longer than the test is patient: its responses do not wait for that.
    let held = fixture.repeat(&[1], &[0], i32::MAX);
    assert_eq!(held.all(), [sent(&[1, 0]), END]);
    held.responder.cancel();
    // Let go at once: the second request executes while responses of the first are due.
    let first = fixture.repeat(&[1, 2], &[0, i32::MAX], 0);
    assert_eq!(first.next(), sent(&[1, 0]));
    assert_eq!(fixture.repeat(&[3], &[0], 0).all(), [sent(&[3, 0]), END]);
    first.responder.cancel();
    assert_eq!(first.next(), END);
}

#[test]
fn shapes_that_differ_are_the_error_of_their_request() {
    let fixture = serve(REPEAT);
    let text = "expected IN and DELAY shape to match, got [2] and [1]".to_owned();
    assert_eq!(
        fixture.repeat(&[1, 2], &[0], 0).all(),
        [(Some(Err(text)), true)]
    );
}

#[test]
fn a_client_that_does_not_keep_up_gets_no_more_until_it_does() {
    let fixture = serve(REPEAT);
    let asked = fixture.ask(&repeat_inputs(&[1, 2], &[0, 0], &0), false);
    assert_eq!(asked.next(), sent(&[1, 0]));
    // Another request of the same instance is not held up by it.
    assert_eq!(fixture.repeat(&[3], &[0], 0).all(), [sent(&[3, 0]), END]);
    asked.seen.try_recv().expect_err("there is no room");
    asked.sink.make_room();
    assert_eq!(asked.all(), [sent(&[2, 1]), END]);
}

#[test]
fn square_sends_as_many_copies_as_asked_for() {
    let fixture = serve(SQUARE);
    assert_eq!(
        fixture.square(3).all(),
        [sent(&[3]), sent(&[3]), sent(&[3]), END]
    );
    assert_eq!(fixture.square(0).all(), [END]);
}

#[test]
fn square_fails_and_falls_silent_where_told_to_and_counts_each_response() {
    let script = r#"
        parameters { key: "CUSTOM_FAIL_COUNT" value { string_value: "2" } }
        parameters { key: "CUSTOM_EMPTY_COUNT" value { string_value: "1" } }
    "#;
    let fixture = serve(&format!("{SQUARE}{script}"));
    let failed = (Some(Err("the model was told to fail".to_owned())), false);
    assert_eq!(
        fixture.square(4).all(),
        [sent(&[4]), failed.clone(), failed, END]
    );
    let responses = fixture.statistics().responses;
    let counts: Vec<_> = responses
        .values()
        .map(|stat| {
            let durations = [
                stat.compute_infer,
                stat.compute_output,
                stat.success,
                stat.fail,
                stat.empty_response,
                stat.cancel,
            ];
            durations.map(|duration| duration.count)
        })
        .collect();
    assert_eq!(
        counts,
        [
            [1, 1, 1, 0, 0, 0],
            [1, 1, 0, 1, 0, 0],
            [1, 1, 0, 1, 0, 0],
            [1, 0, 0, 0, 1, 0],
        ]
    );
}

#[test]
fn square_ends_when_it_is_cancelled_and_counts_that() {
    let script = r#"
        parameters { key: "CUSTOM_INFER_DELAY_NS" value { string_value: "3600000000000" } }
        parameters { key: "CUSTOM_CANCEL_DELAY_NS" value { string_value: "1000000" } }
    "#;
    let fixture = serve(&format!("{SQUARE}{script}"));
    let asked = fixture.square(2);
    asked.responder.cancel();
    assert_eq!(asked.all(), [END]);
    let cancelled = fixture.statistics().responses[&0].cancel;
    assert_eq!(cancelled.count, 1);
    assert!(cancelled.ns >= 1_000_000);
}

#[test]
fn a_stop_waits_for_responses_of_requests_that_were_let_go() {
    let fixture = serve(REPEAT);
    let asked = fixture.repeat(&[1, 2], &[1, 50], 0);
    fixture.server.stop(PATIENCE);
    assert_eq!(asked.all(), [sent(&[1, 0]), sent(&[2, 1]), END]);
}

#[test]
fn what_is_unanswered_when_the_time_is_up_gets_an_error() {
    let fixture = serve(REPEAT);
    let asked = fixture.repeat(&[1, 2], &[0, i32::MAX], 0);
    assert_eq!(asked.next(), sent(&[1, 0]));
    fixture.server.stop(Duration::ZERO);
    let text = "the model was unloaded before it had answered".to_owned();
    assert_eq!(asked.next(), (Some(Err(text)), true));
}

#[test]
fn configurations_that_do_not_fit_are_refused() {
    let cases = [
        (
            REPEAT.replace("decoupled: true", "decoupled: false"),
            "repeat backend only supports decoupled models",
        ),
        (
            format!("{REPEAT} max_batch_size: 2"),
            "repeat backend only supports models with max_batch_size == 0",
        ),
        (
            REPEAT.replace("\"IDX\"", "\"INDEX\""),
            "expected second output tensor name to be IDX, got INDEX",
        ),
        (
            REPEAT.replace("TYPE_UINT32 dims: [ -1 ]", "TYPE_INT32 dims: [ -1 ]"),
            "expected DELAY datatype to be UINT32, got TYPE_INT32",
        ),
        (
            REPEAT.replace("TYPE_UINT32 dims: [ -1 ]", "TYPE_UINT32 dims: [ 4 ]"),
            "expected IN and DELAY shape to match, got [-1] and [4]",
        ),
        (
            SQUARE.replace(
                "output [",
                "output [ { name: \"X\" data_type: TYPE_INT32 dims: [ 1 ] },",
            ),
            "expected 1 output, got 2",
        ),
        (
            SQUARE.replace("TYPE_INT32 dims: [ 1 ]", "TYPE_INT32 dims: [ 2 ]"),
            "expected IN shape to be [1], got [2]",
        ),
    ];
    for (config, text) in cases {
        let fixture = serve(&config);
        let index = fixture.server.index();
        assert!(
            index.iter().any(|entry| entry.reason.contains(text)),
            "{text}: {index:?}"
        );
    }
}
