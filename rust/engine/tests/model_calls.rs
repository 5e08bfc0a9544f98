// SPDX-License-Identifier: Apache-2.0
//! Calls from model to model: answered, refused where nobody could ever answer them (Y070).

mod support;

use std::time::Duration;

use support::file_backend::{FileServer, with_instances};
use tritongw_engine::ServerOptions;
use tritongw_types::{Error, ErrorCode};

/// Serves models that hold every execution until the test lets it go.
fn holding(models: &[&str]) -> FileServer {
    let models: Vec<_> = models.iter().map(|name| (*name, "hold 7")).collect();
    FileServer::start(&models, ServerOptions::default())
}

fn assert_circular(error: &Error, cycle: &str) {
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert_eq!(
        error.message(),
        format!(
            "the call would never be answered: no instance is free that does not wait for it \
             ({cycle})"
        )
    );
}

#[test]
fn a_call_is_answered_while_the_caller_waits() {
    let fixture = holding(&["a", "b"]);
    let reply = fixture
        .send(fixture.request(fixture.server.model("a", None).expect("ready")))
        .expect("accepted");
    let caller = fixture.next_held();
    let call = caller.call(&fixture, "b").expect("sent");
    fixture.next_held().answer();
    assert_eq!(call.number().expect("an answer"), 7.0);
    caller.answer();
    assert_eq!(reply.number().expect("an answer"), 7.0);
}

#[test]
fn a_call_back_to_the_only_instance_is_refused_and_harms_nobody() {
    let fixture = holding(&["a", "b"]);
    let reply = fixture
        .send(fixture.request(fixture.server.model("a", None).expect("ready")))
        .expect("accepted");
    let first = fixture.next_held();
    let call = first.call(&fixture, "b").expect("sent");
    let second = fixture.next_held();
    let refused = second.call(&fixture, "a").err().expect("refused");
    assert_circular(&refused, "'a' -> 'b' -> 'a'");
    let refused = second.call(&fixture, "b").err().expect("refused");
    assert_circular(&refused, "'b' -> 'b'");
    second.answer();
    assert!(call.number().is_ok());
    // Nothing is left of the refused calls.
    let again = first.call(&fixture, "b").expect("sent");
    fixture.next_held().answer();
    assert!(again.number().is_ok());
    first.answer();
    assert!(reply.number().is_ok());
}

#[test]
fn two_requests_that_would_wait_for_each_other_are_seen() {
    let fixture = holding(&["a", "b"]);
    let of_a = fixture
        .send(fixture.request(fixture.server.model("a", None).expect("ready")))
        .expect("accepted");
    let in_a = fixture.next_held();
    let of_b = fixture
        .send(fixture.request(fixture.server.model("b", None).expect("ready")))
        .expect("accepted");
    let in_b = fixture.next_held();
    let a_to_b = in_a.call(&fixture, "b").expect("b may yet come free");
    let refused = in_b.call(&fixture, "a").err().expect("refused");
    assert_circular(&refused, "'a' -> 'b' -> 'a'");
    in_b.answer();
    assert!(of_b.number().is_ok());
    fixture.next_held().answer();
    assert!(a_to_b.number().is_ok());
    in_a.answer();
    assert!(of_a.number().is_ok());
}

#[test]
fn recursion_goes_as_deep_as_there_are_instances() {
    let fixture = FileServer::explicit(&[("a", "hold 7")]);
    fixture.write_config("a", &with_instances(3));
    fixture.load("a").expect("loaded");
    let reply = fixture
        .send(fixture.request(fixture.server.model("a", None).expect("ready")))
        .expect("accepted");
    let first = fixture.next_held();
    let to_second = first.call(&fixture, "a").expect("sent");
    let second = fixture.next_held();
    let to_third = second.call(&fixture, "a").expect("sent");
    let third = fixture.next_held();
    let mut names = [&first, &second, &third].map(|held| held.instance_name().to_owned());
    names.sort();
    assert_eq!(names, ["a_0_0", "a_0_1", "a_0_2"]);
    let refused = third.call(&fixture, "a").err().expect("refused");
    assert_circular(&refused, "'a' -> 'a'");
    third.answer();
    assert!(to_third.number().is_ok());
    second.answer();
    assert!(to_second.number().is_ok());
    first.answer();
    assert!(reply.number().is_ok());
}

#[test]
fn an_execution_that_has_ended_waits_for_nothing() {
    let fixture = holding(&["a"]);
    let reply = fixture
        .send(fixture.request(fixture.server.model("a", None).expect("ready")))
        .expect("accepted");
    let mut first = fixture.next_held();
    assert_circular(
        &first.call(&fixture, "a").err().expect("refused"),
        "'a' -> 'a'",
    );
    first.give_instance_back();
    let call = first.call(&fixture, "a").expect("sent");
    fixture.next_held().answer();
    assert!(call.number().is_ok());
    first.answer();
    assert!(reply.number().is_ok());
}

#[test]
fn recursion_without_an_end_is_ended() {
    let fixture = holding(&["a"]);
    let reply = fixture
        .send(fixture.request(fixture.server.model("a", None).expect("ready")))
        .expect("accepted");
    let mut executions = vec![fixture.next_held()];
    let mut calls = Vec::new();
    let refused = loop {
        let last = executions.last_mut().expect("at least one");
        last.give_instance_back();
        match last.call(&fixture, "a") {
            Ok(call) => calls.push(call),
            Err(error) => break error,
        }
        executions.push(fixture.next_held());
    };
    assert_eq!(calls.len(), 64);
    assert_eq!(
        refused.message(),
        "more than 64 calls from model to model wait for one another, the last for model 'a'"
    );
    for execution in executions {
        execution.answer();
    }
    assert!(calls.iter().all(|call| call.number().is_ok()));
    assert!(reply.number().is_ok());
}

#[test]
fn a_stopping_server_still_answers_the_calls_of_accepted_requests() {
    let models = [("a", "hold 7"), ("b", "hold 7"), ("c", "7")];
    let fixture = FileServer::start(&models, ServerOptions::default());
    let reply = fixture
        .send(fixture.request(fixture.server.model("a", None).expect("ready")))
        .expect("accepted");
    let caller = fixture.next_held();
    let model = fixture.server.model("c", None).expect("ready");
    std::thread::scope(|scope| {
        scope.spawn(|| fixture.server.stop(Duration::from_secs(10)));
        support::wait_until("the refusal of clients", || {
            fixture.send(fixture.request(model.clone())).is_err()
        });
        let call = caller.call(&fixture, "b").expect("sent");
        fixture.next_held().answer();
        assert!(call.number().is_ok());
        caller.answer();
        assert!(reply.number().is_ok());
    });
}
