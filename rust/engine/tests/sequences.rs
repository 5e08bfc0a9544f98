// SPDX-License-Identifier: Apache-2.0
//! Sequences between the engine and its backends: what is added to their requests, and what becomes
//! of those that a backend asks for again.

mod support;

use support::{Fixture, Reply, Script, serve};
use tritongw_engine::backend::Availability;
use tritongw_engine::{InferenceRequest, SequenceFlags};
use tritongw_types::{CorrelationId, ErrorCode};

const CONFIG: &str = r#"
backend: "scripted"
max_batch_size: 4
input [ { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
sequence_batching {
  control_input { name: "S" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } }
  control_input { name: "R" control { kind: CONTROL_SEQUENCE_READY bool_false_true: [ false, true ] } }
  iterative_sequence: ITERATIVE
}
"#;

fn serve_sequences(is_iterative: bool) -> Fixture {
    let config = CONFIG.replace("ITERATIVE", &is_iterative.to_string());
    serve(Script::Manual, &config)
}

fn start(fixture: &Fixture, sequence: u64) -> Reply {
    let mut request = fixture.request("r", &[1, 2], &[1.0, 2.0]);
    request.set_correlation_id(CorrelationId::UInt(sequence));
    request.set_flags(SequenceFlags::START);
    fixture.send(request).expect("it begins a sequence")
}

fn data(request: &InferenceRequest, input: &str) -> Vec<u8> {
    let input = request.input(input).expect("an input of that name");
    input.contiguous().expect("host memory").to_vec()
}

#[test]
fn an_empty_slot_gets_a_null_request() {
    let fixture = serve_sequences(false);
    let first = start(&fixture, 1);
    let execution = fixture.backend.next_execution();
    let second = start(&fixture, 2);
    execution.echo();
    assert!(first.wait().error().is_none());

    let execution = fixture.backend.next_execution();
    assert_eq!(execution.batch_size, 2);
    let [null, request] = &execution.requests[..] else {
        panic!("two slots, found {}", execution.requests.len());
    };
    assert!(null.is_null() && !request.is_null());
    assert_eq!(null.input("IN").expect("as the other").shape[..], [1, 2]);
    assert_eq!(data(null, "IN"), [0; 8]);
    assert_eq!((data(null, "S"), data(null, "R")), (vec![0; 4], vec![0]));
    let start_value = 1_i32.to_le_bytes().to_vec();
    assert_eq!(
        (data(request, "S"), data(request, "R")),
        (start_value, vec![1])
    );
    execution.echo();
    assert!(second.wait().error().is_none());
    let counted = fixture.statistics();
    assert_eq!((counted.inference_count, counted.success.count), (2, 2));
}

#[test]
fn a_rescheduled_request_comes_back_without_its_flags() {
    let fixture = serve_sequences(true);
    let reply = start(&fixture, 7);
    fixture.backend.next_execution().reschedule();
    let execution = fixture.backend.next_execution();
    let request = &execution.requests[0];
    assert_eq!(request.flags(), SequenceFlags::NONE);
    assert_eq!(request.correlation_id(), &CorrelationId::UInt(7));
    assert_eq!(data(request, "S"), [0; 4]);
    assert_eq!(request.inputs().count(), 3, "controls are not added twice");
    execution.echo();
    assert!(reply.wait().error().is_none());
    let counted = fixture.statistics();
    assert_eq!((counted.inference_count, counted.pending_count), (2, 0));
}

#[test]
fn a_request_is_cancelled_between_two_rounds() {
    let fixture = serve_sequences(true);
    let reply = start(&fixture, 7);
    let execution = fixture.backend.next_execution();
    let control = fixture.backend.control(0);
    control.set_availability(Availability::Restarting);
    execution.reschedule();
    reply.responder.cancel();
    let answer = reply.wait();
    let error = answer.error().expect("cancelled");
    assert_eq!(error.code(), ErrorCode::Cancelled);
    control.set_availability(Availability::Available);
    assert!(fixture.backend.is_idle());
    assert_eq!(fixture.statistics().pending_count, 0);
}

#[test]
fn a_cancelled_request_does_not_come_back() {
    let fixture = serve_sequences(true);
    let reply = start(&fixture, 7);
    let execution = fixture.backend.next_execution();
    reply.responder.cancel();
    execution.reschedule();
    let answer = reply.wait();
    assert_eq!(
        answer.error().expect("cancelled").code(),
        ErrorCode::Cancelled
    );
    assert!(fixture.backend.is_idle());
}

#[test]
fn only_iterative_models_get_requests_back() {
    let fixture = serve_sequences(false);
    let reply = start(&fixture, 7);
    fixture.backend.next_execution().reschedule();
    let answer = reply.wait();
    let error = answer.error().expect("refused");
    assert_eq!(error.code(), ErrorCode::InvalidArg);
    assert!(fixture.backend.is_idle());
}
