// SPDX-License-Identifier: Apache-2.0
//! Instances that come and go: readiness tells the truth, requests wait or are refused.

mod support;

use support::{CONFIG, Script, serve};
use tritongw_engine::backend::Availability;
use tritongw_types::{Error, ErrorCode};

#[test]
fn requests_wait_while_the_only_instance_restarts() {
    let fixture = serve(Script::Manual, CONFIG);
    let control = fixture.backend.control(0);
    control.set_availability(Availability::Restarting);
    assert!(!fixture.server.model_is_ready("m", None).expect("known"));
    assert!(!fixture.server.is_ready());
    let reply = fixture.send_one("1").expect("accepted");
    assert!(fixture.backend.is_idle());
    control.set_availability(Availability::Available);
    assert!(fixture.server.model_is_ready("m", None).expect("known"));
    fixture.backend.next_execution().echo();
    assert!(reply.wait().error().is_none());
}

#[test]
fn requests_are_refused_when_every_instance_has_failed() {
    let fixture = serve(Script::Manual, &CONFIG.replace("count: 1", "count: 2"));
    let gone = || Availability::Failed(Error::unavailable("the worker does not start"));
    fixture
        .backend
        .control(0)
        .set_availability(Availability::Restarting);
    fixture
        .backend
        .control(1)
        .set_availability(Availability::Restarting);
    let waiting = fixture.send_one("1").expect("accepted");
    fixture.backend.control(0).set_availability(gone());
    assert!(waiting.now().is_none(), "the other instance may come back");
    fixture.backend.control(1).set_availability(gone());
    let answer = waiting.now().expect("refused at once");
    let error = answer.error().expect("an error");
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert_eq!(error.message(), "the worker does not start");
    let error = fixture.send_one("2").err().expect("refused");
    assert_eq!(error.message(), "the worker does not start");
}
