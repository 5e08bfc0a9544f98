// SPDX-License-Identifier: Apache-2.0
//! Instances that share resources take turns (M054, S068-S073).

mod support;

use support::{CONFIG, Fixture, Reply, Script, serve_with, wait_until, write_model};
use tempfile::TempDir;
use tritongw_engine::{ResourceLimit, ServerOptions};

fn limited(groups: &str, limits: &[(&str, u32)]) -> Fixture {
    let limits = limits.iter().map(|(name, count)| ResourceLimit {
        name: (*name).to_owned(),
        device: None,
        count: *count,
    });
    let options = ServerOptions {
        rate_limits: Some(limits.collect()),
        ..ServerOptions::default()
    };
    let repository = TempDir::new().expect("a temporary directory");
    write_model(&repository, "m", &["1"], &with_groups(groups));
    serve_with(Script::Manual, repository, options)
}

fn with_groups(groups: &str) -> String {
    let plain = "{ kind: KIND_CPU count: 1 }";
    CONFIG.replace(plain, groups)
}

fn group(count: u32, limiter: &str) -> String {
    format!("{{ kind: KIND_CPU count: {count} rate_limiter {{ {limiter} }} }}")
}

const ONE: &str = r#"resources { name: "R" count: 1 }"#;

fn send(fixture: &Fixture, count: usize) -> Vec<Reply> {
    let ids = (0..count).map(|id| id.to_string());
    ids.map(|id| fixture.send_one(&id).expect("accepted"))
        .collect()
}

#[test]
fn an_execution_waits_until_another_instance_gives_its_resources_back() {
    let fixture = limited(&group(2, ONE), &[]);
    let replies = send(&fixture, 3);
    for reply in &replies {
        let execution = fixture.backend.next_execution();
        assert!(fixture.backend.is_idle(), "one at a time");
        execution.echo();
        assert!(reply.wait().error().is_none());
    }
    wait_until("no request waits", || {
        fixture.statistics().pending_count == 0
    });
}

#[test]
fn as_many_execute_as_there_are_resources() {
    let fixture = limited(&group(3, ONE), &[("R", 2)]);
    let replies = send(&fixture, 4);
    let running = [(), ()].map(|()| fixture.backend.next_execution());
    assert!(fixture.backend.is_idle());
    assert_eq!(fixture.statistics().pending_count, 2);
    running.into_iter().for_each(support::Execution::echo);
    let running = [(), ()].map(|()| fixture.backend.next_execution());
    running.into_iter().for_each(support::Execution::echo);
    for reply in replies {
        assert!(reply.wait().error().is_none());
    }
}

#[test]
fn an_instance_without_settings_is_not_limited() {
    let groups = format!("{}, {{ kind: KIND_CPU count: 2 }}", group(2, ONE));
    let fixture = limited(&groups, &[]);
    let _replies = send(&fixture, 4);
    let running = [(), (), ()].map(|()| fixture.backend.next_execution());
    assert!(
        fixture.backend.is_idle(),
        "one of the limited, and both others"
    );
    running.into_iter().for_each(support::Execution::echo);
    fixture.backend.next_execution().echo();
}

#[test]
fn turns_go_by_priority() {
    let shared = r#"resources { name: "R" global: true count: 1 }"#;
    let groups = [("often", 1), ("seldom", 3)].map(|(name, priority)| {
        group(1, &format!("{shared} priority: {priority}")).replacen(
            '{',
            &format!("{{ name: \"{name}\""),
            1,
        )
    });
    let fixture = limited(&groups.join(", "), &[]);
    let _replies = send(&fixture, 42);
    let mut often = 0;
    for _ in 0..40 {
        let execution = fixture.backend.next_execution();
        often += usize::from(execution.instance_name == "often_0");
        execution.echo();
    }
    assert_eq!(often, 30);
}

#[test]
fn an_instance_that_could_never_execute_fails_the_load() {
    let fixture = limited(
        &group(1, r#"resources { name: "R" count: 4 }"#),
        &[("R", 3)],
    );
    let [entry] = fixture.server.index().try_into().expect("one model");
    assert_eq!(
        entry.reason,
        "Invalid argument: Resource count for \"R\" is limited to 3 which will prevent scheduling \
         of one or more model instances, the minimum required count is 4"
    );
}

#[test]
fn a_cancelled_execution_that_waits_gives_its_turn_to_the_next() {
    let fixture = limited(&group(2, ONE), &[]);
    let replies = send(&fixture, 3);
    let execution = fixture.backend.next_execution();
    replies[1].responder.cancel();
    execution.echo();
    let next = fixture.backend.next_execution();
    assert_eq!(next.ids(), ["2"]);
    next.echo();
    assert!(replies[1].wait().error().is_some());
    assert!(replies[2].wait().error().is_none());
}

#[test]
fn free_instances_have_their_turns_by_priority() {
    let groups = [("often", 1), ("seldom", 2)].map(|(name, priority)| {
        group(1, &format!("priority: {priority}")).replacen('{', &format!("{{ name: \"{name}\""), 1)
    });
    let fixture = limited(&groups.join(", "), &[]);
    let mut often = 0;
    for id in 0..30 {
        let reply = fixture.send_one(&id.to_string()).expect("accepted");
        let execution = fixture.backend.next_execution();
        often += usize::from(execution.instance_name == "often_0");
        execution.echo();
        reply.wait();
    }
    assert_eq!(often, 20);
}
