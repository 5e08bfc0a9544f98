// SPDX-License-Identifier: Apache-2.0
//! The instances a model's groups ask for, and what each is told.

mod support;

use support::{CONFIG, Script, serve, serve_with, write_model};
use tempfile::TempDir;
use tritongw_engine::ServerOptions;

fn with_groups(groups: &str) -> String {
    CONFIG.replace("instance_group [ { kind: KIND_CPU count: 1 } ]", groups)
}

#[test]
fn a_host_policy_is_the_one_given_or_else_named_after_the_kind() {
    let groups = r#"instance_group [
        { name: "a" kind: KIND_CPU count: 1 },
        { name: "b" kind: KIND_MODEL count: 1 },
        { name: "c" kind: KIND_CPU count: 1 host_policy: "near" }
    ]"#;
    let fixture = serve(Script::EchoInline, &with_groups(groups));
    let told: Vec<_> = fixture
        .backend
        .instances()
        .iter()
        .map(|instance| (instance.name.clone(), instance.host_policy.clone()))
        .collect();
    let expected = [("a_0", "cpu"), ("b_0", "model"), ("c_0", "near")];
    assert_eq!(told, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn a_passive_instance_is_loaded_and_never_runs() {
    let groups = r#"instance_group [
        { name: "idle" kind: KIND_CPU count: 2 passive: true },
        { name: "works" kind: KIND_CPU count: 1 }
    ]"#;
    let fixture = serve(Script::Manual, &with_groups(groups));
    let instances = fixture.backend.instances();
    let names: Vec<_> = instances.iter().map(|each| each.name.as_str()).collect();
    assert_eq!(names, ["idle_0", "idle_1", "works_0"]);
    let replies = ["1", "2", "3"].map(|id| fixture.send_one(id).expect("accepted"));
    for (index, reply) in replies.iter().enumerate() {
        let execution = fixture.backend.next_execution();
        assert_eq!(execution.instance_name, "works_0");
        let waiting = fixture.statistics().pending_count;
        assert_eq!(
            waiting,
            2 - index as u64,
            "one at a time, on the one that works"
        );
        execution.echo();
        assert!(reply.wait().error().is_none());
    }
}

#[test]
fn a_backend_is_told_the_default_batch_size() {
    let told = |settings: &[(&str, &str, &str)]| {
        let repository = TempDir::new().expect("a temporary directory");
        write_model(&repository, "m", &["1"], CONFIG);
        let mut options = ServerOptions::default();
        for (backend, name, value) in settings {
            let of_backend = options.backend_settings.entry((*backend).to_owned());
            of_backend
                .or_default()
                .insert((*name).to_owned(), (*value).to_owned());
        }
        let fixture = serve_with(Script::EchoInline, repository, options);
        fixture.backend.instances()[0].model.settings["default-max-batch-size"].clone()
    };
    assert_eq!(told(&[]), "4");
    let for_all = ("", "default-max-batch-size", "16");
    assert_eq!(told(&[for_all]), "16");
    let for_one = ("scripted", "default-max-batch-size", "32");
    assert_eq!(told(&[for_all, for_one]), "32");
}
