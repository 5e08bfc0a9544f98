// SPDX-License-Identifier: Apache-2.0
//! One request through the engine: answered exactly once, whatever the backend does.

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::{CONFIG, Script, serve};
use tritongw_engine::{InputTensor, defer_dispatch_on_this_thread, dispatch_deferred};
use tritongw_types::{DataType, ErrorCode, Shape};

const BATCHING: &str = r#"
backend: "scripted"
max_batch_size: 8
input [ { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
dynamic_batching { }
"#;

#[test]
fn an_inline_instance_answers_before_infer_returns() {
    let fixture = serve(Script::EchoInline, CONFIG);
    let reply = fixture
        .send(fixture.request("7", &[2], &[1.5, -2.0]))
        .expect("valid");
    let answer = reply.now().expect("answered on this thread");
    assert!(answer.flags.is_final());
    let response = answer.response.expect("a response");
    assert_eq!(response.request_id(), &"7");
    let output = response.outputs().next().expect("one output");
    assert_eq!(&output.shape[..], [2]);
    let data = output
        .buffer
        .as_ref()
        .and_then(|buffer| buffer.as_slice())
        .expect("host memory");
    assert_eq!(
        data,
        [1.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat()
    );
}

#[test]
fn a_dedicated_instance_answers_from_its_own_thread() {
    let fixture = serve(Script::EchoDedicated, CONFIG);
    assert!(
        fixture
            .send_one("1")
            .expect("valid")
            .wait()
            .error()
            .is_none()
    );
}

#[test]
fn a_backend_that_fails_panics_or_forgets_still_gives_each_request_one_error() {
    let cases = [
        (Script::Fail, "the model is out of order"),
        (Script::Panic, "instance 'm_0_0' panicked"),
        (
            Script::Forget,
            "instance 'm_0_0' did not answer the request",
        ),
    ];
    for (script, expected) in cases {
        let fixture = serve(script, CONFIG);
        for _ in 0..2 {
            let reply = fixture.send_one("1").expect("accepted");
            let answer = reply.wait();
            let error = answer.error().expect("an error");
            assert_eq!(
                (error.code(), error.message()),
                (ErrorCode::Internal, expected)
            );
            assert!(answer.flags.is_final());
            assert!(reply.now().is_none(), "exactly one answer");
        }
        let statistics = fixture.statistics();
        assert_eq!(statistics.failed().count, 2, "{script:?}");
        assert_eq!(statistics.success.count, 0, "{script:?}");
    }
}

#[test]
fn a_request_that_the_backend_drops_is_answered_when_its_last_holder_goes() {
    let fixture = serve(Script::Manual, CONFIG);
    let reply = fixture.send_one("1").expect("accepted");
    let execution = fixture.backend.next_execution();
    drop(execution);
    assert!(
        reply.now().is_none(),
        "the client still holds the responder"
    );
    let answer = reply.give_up_responder().wait();
    let error = answer.error().expect("an error");
    assert_eq!(
        error.message(),
        "model 'm' gave no final response to the request"
    );
}

#[test]
fn a_cancelled_request_leaves_the_queue_at_once() {
    let fixture = serve(Script::Manual, CONFIG);
    let first = fixture.send_one("1").expect("accepted");
    let second = fixture.send_one("2").expect("accepted");
    second.responder.cancel();
    let answer = second.now().expect("answered by the cancelling thread");
    let error = answer.error().expect("cancelled");
    assert_eq!(error.code(), ErrorCode::Cancelled);
    assert_eq!(error.message(), "request was cancelled while it was queued");
    fixture.backend.next_execution().echo();
    assert!(first.wait().error().is_none());
    assert!(
        fixture.backend.is_idle(),
        "the cancelled request never reached the backend"
    );
    assert_eq!(fixture.statistics().failures[1].count, 1);
}

#[test]
fn a_full_queue_refuses_and_gives_the_request_back() {
    let config = BATCHING.replace(
        "dynamic_batching { }",
        "dynamic_batching { default_queue_policy { max_queue_size: 1 } }",
    );
    let fixture = serve(Script::Manual, &config);
    let executing = fixture.send_one("1").expect("accepted");
    let queued = fixture.send_one("2").expect("accepted");
    let error = fixture.send_one("3").err().expect("refused");
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert_eq!(
        error.message(),
        "[request id: 3] Exceeds maximum queue size"
    );
    fixture.backend.next_execution().echo();
    fixture.backend.next_execution().echo();
    assert!(executing.wait().error().is_none());
    assert!(queued.wait().error().is_none());
    let statistics = fixture.statistics();
    assert_eq!(statistics.failures[0].count, 1);
    assert_eq!(statistics.pending_count, 0);
}

#[test]
fn requests_that_wait_together_share_a_batch() {
    let fixture = serve(Script::Manual, BATCHING);
    let first = fixture.send_one("1").expect("accepted");
    let rest: Vec<_> = ["2", "3", "4"]
        .map(|id| fixture.send_one(id).expect("accepted"))
        .into();
    fixture.backend.next_execution().echo();
    let batch = fixture.backend.next_execution();
    assert_eq!(
        (batch.ids(), batch.batch_size),
        (vec!["2".into(), "3".into(), "4".into()], 3)
    );
    batch.echo();
    for reply in rest.iter().chain([&first]) {
        assert!(reply.wait().error().is_none());
    }
}

#[test]
fn shapes_that_differ_do_not_share_a_batch() {
    let fixture = serve(Script::Manual, BATCHING);
    let replies = [
        fixture.send(fixture.request("1", &[1, 1], &[1.0])),
        fixture.send(fixture.request("2", &[1, 2], &[1.0, 2.0])),
        fixture.send(fixture.request("3", &[1, 3], &[1.0, 2.0, 3.0])),
    ];
    for expected in ["1", "2", "3"] {
        let execution = fixture.backend.next_execution();
        assert_eq!(execution.ids(), [expected]);
        execution.echo();
    }
    for reply in replies {
        assert!(reply.expect("accepted").wait().error().is_none());
    }
}

#[test]
fn shapes_that_differ_share_a_batch_where_the_input_may_be_ragged() {
    let config = BATCHING.replace(
        "dims: [ -1 ] } ]\nout",
        "dims: [ -1 ] allow_ragged_batch: true } ]\nout",
    );
    let fixture = serve(Script::Manual, &config);
    let first = fixture.send_one("1").expect("accepted");
    let replies = [
        fixture.send(fixture.request("2", &[1, 2], &[1.0, 2.0])),
        fixture.send(fixture.request("3", &[1, 3], &[1.0, 2.0, 3.0])),
    ];
    for expected in [&["1"][..], &["2", "3"]] {
        let execution = fixture.backend.next_execution();
        assert_eq!(execution.ids(), expected);
        execution.echo();
    }
    assert!(first.wait().error().is_none());
    for (reply, length) in replies.into_iter().zip([2, 3]) {
        let response = reply.expect("accepted").wait().response.expect("one");
        let output = response.outputs().next().expect("one output");
        assert_eq!(&output.shape[..], [1, length]);
    }
}

#[test]
fn requests_with_other_optional_inputs_do_not_share_a_batch() {
    let config = BATCHING.replace(
        "dims: [ -1 ] } ]\noutput",
        "dims: [ -1 ] }, { name: \"EXTRA\" data_type: TYPE_FP32 dims: [ 1 ] optional: true } ]\noutput",
    );
    let fixture = serve(Script::Manual, &config);
    let with_extra = |id| {
        let mut request = fixture.request(id, &[1, 1], &[1.0]);
        let data = Bytes::from_static(&[0; 4]);
        let extra = InputTensor::new("EXTRA", DataType::Fp32, Shape::from([1, 1]), data);
        request.add_input(extra).expect("the first EXTRA");
        fixture.send(request).expect("accepted")
    };
    let first = fixture.send_one("1").expect("accepted");
    let replies = [
        with_extra("2"),
        with_extra("3"),
        fixture.send_one("4").expect("accepted"),
    ];
    for expected in [&["1"][..], &["2", "3"], &["4"]] {
        let execution = fixture.backend.next_execution();
        assert_eq!(execution.ids(), expected);
        execution.echo();
    }
    for reply in replies.iter().chain([&first]) {
        assert!(reply.wait().error().is_none());
    }
}

#[test]
fn a_gathering_thread_forms_one_batch_of_all_it_enqueued() {
    let fixture = serve(Script::Manual, BATCHING);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            defer_dispatch_on_this_thread();
            let replies = ["1", "2", "3"].map(|id| fixture.send_one(id).expect("accepted"));
            assert!(
                fixture.backend.is_idle(),
                "nothing is dispatched before the thread says so"
            );
            dispatch_deferred();
            let batch = fixture.backend.next_execution();
            assert_eq!(batch.ids(), ["1", "2", "3"]);
            batch.echo();
            for reply in replies {
                assert!(reply.wait().error().is_none());
            }
        });
    });
}

#[test]
fn the_queue_delay_is_kept_by_the_timer() {
    let config = BATCHING.replace(
        "dynamic_batching { }",
        "dynamic_batching { preferred_batch_size: [ 8 ] max_queue_delay_microseconds: 1000 }",
    );
    let fixture = serve(Script::Manual, &config);
    let reply = fixture.send_one("1").expect("accepted");
    fixture.backend.next_execution().echo();
    assert!(reply.wait().error().is_none());
}

#[test]
fn a_queue_timeout_rejects_with_tritons_text() {
    let policy = "default_queue_policy { default_timeout_microseconds: 1000 }";
    let config = BATCHING.replace(
        "dynamic_batching { }",
        &format!("dynamic_batching {{ {policy} }}"),
    );
    let fixture = serve(Script::Manual, &config);
    let executing = fixture.send_one("1").expect("accepted");
    let waiting = fixture.send_one("2").expect("accepted");
    let answer = waiting.wait();
    let error = answer.error().expect("timed out");
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert_eq!(error.message(), "Request timeout expired");
    fixture.backend.next_execution().echo();
    assert!(executing.wait().error().is_none());
}

#[test]
fn preserved_order_holds_back_later_answers() {
    let config = BATCHING.replace("count: 1", "count: 2").replace(
        "dynamic_batching { }",
        "dynamic_batching { preserve_ordering: true }",
    );
    let fixture = serve(Script::Manual, &config);
    let first = fixture.send_one("1").expect("accepted");
    let second = fixture.send_one("2").expect("accepted");
    let first_execution = fixture.backend.next_execution();
    let second_execution = fixture.backend.next_execution();
    assert_eq!(second_execution.ids(), ["2"]);
    second_execution.echo();
    assert!(
        second.now().is_none(),
        "held back until the first is answered"
    );
    first_execution.echo();
    assert!(first.now().is_some());
    assert!(second.now().is_some());
}

#[test]
fn stopping_serves_what_was_accepted_and_refuses_the_rest() {
    let fixture = serve(Script::Manual, CONFIG);
    let reply = fixture.send_one("1").expect("accepted");
    let execution = fixture.backend.next_execution();
    let late = fixture.request("2", &[1], &[1.0]);
    std::thread::scope(|scope| {
        scope.spawn(|| fixture.server.stop(Duration::from_secs(10)));
        while !fixture.server.is_exiting() {
            std::thread::yield_now();
        }
        assert!(!fixture.server.is_ready());
        execution.echo();
    });
    assert!(reply.wait().error().is_none());
    let error = fixture.send(late).err().expect("refused");
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert_eq!(
        error.message(),
        "[request id: 2] Server is stopping, scheduler for model has stopped accepting new \
         inference requests"
    );
}

#[test]
fn inputs_of_other_shapes_share_a_batch_only_where_it_may_be_ragged() {
    let ragged = BATCHING.replacen("dims: [ -1 ]", "dims: [ -1 ] allow_ragged_batch: true", 1);
    for (config, expected) in [(BATCHING, &["2"][..]), (&ragged, &["2", "3"])] {
        let fixture = serve(Script::Manual, config);
        let replies = [("1", 1), ("2", 1), ("3", 2)].map(|(id, size)| {
            let values = vec![0.0; usize::try_from(size).expect("small")];
            let request = fixture.request(id, &[1, size], &values);
            fixture.send(request).expect("valid")
        });
        fixture.backend.next_execution().echo();
        let execution = fixture.backend.next_execution();
        assert_eq!(execution.ids(), expected);
        execution.echo();
        if expected.len() == 1 {
            fixture.backend.next_execution().echo();
        }
        for reply in replies {
            assert!(reply.wait().error().is_none());
        }
    }
}
