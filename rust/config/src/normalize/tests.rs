// SPDX-License-Identifier: Apache-2.0
use tritongw_protocol::pb;
use tritongw_protocol::pb::model_instance_group::Kind;

use super::{NormalizeOptions, normalize};
use crate::text;

const NO_GPU: NormalizeOptions<'_> = NormalizeOptions {
    gpus: &[],
    has_gpu_support: true,
    backend_uses_gpus: true,
    min_compute_capability: 7.5,
    preferred_groups: &[],
};
const TWO_GPUS: NormalizeOptions<'_> = NormalizeOptions {
    gpus: &[0, 1],
    ..NO_GPU
};

fn read(text: &str) -> pb::ModelConfig {
    text::parse("config.pbtxt", &format!("name: 'm' {text}")).expect("valid text")
}

fn normalized(text: &str, options: &NormalizeOptions<'_>) -> pb::ModelConfig {
    let mut config = read(text);
    normalize(&mut config, options).expect("valid");
    let mut again = config.clone();
    normalize(&mut again, options).expect("valid still");
    assert_eq!(again, config, "doing it again changes nothing");
    config
}

/// Returns name, kind, count and GPUs of each group.
fn groups(text: &str, options: &NormalizeOptions<'_>) -> Vec<(String, Kind, i32, Vec<i32>)> {
    let groups = normalized(text, options).instance_group.into_iter();
    groups
        .map(|group| (group.name.clone(), group.kind(), group.count, group.gpus))
        .collect()
}

fn group(name: &str, kind: Kind, count: i32, gpus: &[i32]) -> (String, Kind, i32, Vec<i32>) {
    (name.to_owned(), kind, count, gpus.to_vec())
}

#[test]
fn what_is_left_out_is_filled_in() {
    let expected = read(
        "version_policy { latest { num_versions: 1 } }
         optimization { input_pinned_memory { enable: true } output_pinned_memory { enable: true } }
         instance_group { name: 'm' kind: KIND_CPU count: 1 }",
    );
    assert_eq!(normalized("", &NO_GPU), expected);
}

#[test]
fn what_is_given_stays() {
    let text = "version_policy { all { } }
        optimization { input_pinned_memory { } output_pinned_memory { enable: false } }
        dynamic_batching { preferred_batch_size: 2 } max_batch_size: 8
        instance_group { name: 'g' kind: KIND_MODEL count: 3 host_policy: 'h' }";
    assert_eq!(normalized(text, &TWO_GPUS), read(text));
}

#[test]
fn a_batcher_prefers_full_batches() {
    let batching = |text: &str| normalized(text, &NO_GPU).scheduling_choice;
    let dynamic = batching("max_batch_size: 8 dynamic_batching { }");
    assert_eq!(
        dynamic,
        read("dynamic_batching { preferred_batch_size: 8 }").scheduling_choice
    );
    let unbatched = batching("dynamic_batching { }");
    assert_eq!(unbatched, read("dynamic_batching { }").scheduling_choice);
    let oldest = batching("max_batch_size: 8 sequence_batching { oldest { } }");
    let expected = "sequence_batching { oldest { preferred_batch_size: 8 }
                    max_sequence_idle_microseconds: 1000000 }";
    assert_eq!(oldest, read(expected).scheduling_choice);
    assert_eq!(batching("max_batch_size: 8"), None);
}

#[test]
fn an_ensemble_has_neither_instances_nor_optimization() {
    let config = normalized("platform: 'ensemble' ensemble_scheduling { }", &TWO_GPUS);
    assert!(config.instance_group.is_empty() && config.optimization.is_none());
    assert!(config.version_policy.is_some());
}

#[test]
fn groups_are_numbered_and_the_implicit_one_is_named_like_the_model() {
    let names = |text: &str| {
        groups(text, &NO_GPU)
            .into_iter()
            .map(|(name, ..)| name)
            .collect::<Vec<String>>()
    };
    assert_eq!(names(""), ["m"]);
    assert_eq!(
        names("instance_group [ { }, { name: 'g' }, { } ]"),
        ["m_0", "g", "m_2"]
    );
}

#[test]
fn auto_is_gpu_where_every_gpu_is_at_hand() {
    let auto = |gpus: &str| format!("instance_group {{ gpus: [{gpus}] }}");
    assert_eq!(groups("", &NO_GPU), [group("m", Kind::Cpu, 1, &[])]);
    assert_eq!(groups("", &TWO_GPUS), [group("m", Kind::Gpu, 1, &[0, 1])]);
    assert_eq!(
        groups(&auto("1"), &TWO_GPUS),
        [group("m_0", Kind::Gpu, 1, &[1])]
    );
    assert_eq!(
        groups(&auto("7"), &TWO_GPUS),
        [group("m_0", Kind::Cpu, 1, &[7])]
    );
}

#[test]
fn auto_is_cpu_where_the_backend_uses_no_gpus() {
    let without = NormalizeOptions {
        backend_uses_gpus: false,
        ..TWO_GPUS
    };
    assert_eq!(groups("", &without), [group("m", Kind::Cpu, 1, &[])]);
    let explicit = "instance_group { kind: KIND_GPU }";
    assert_eq!(
        groups(explicit, &without),
        [group("m_0", Kind::Gpu, 1, &[0, 1])]
    );
}

#[test]
fn onnxruntime_and_tensorflow_have_two_instances_on_the_processor() {
    for (backend, count) in [
        ("onnxruntime", 2),
        ("tensorflow", 2),
        ("python", 1),
        ("pytorch", 1),
    ] {
        let text = format!("backend: '{backend}'");
        assert_eq!(
            groups(&text, &NO_GPU),
            [group("m", Kind::Cpu, count, &[])],
            "{backend}"
        );
    }
    let onnx = "backend: 'onnxruntime'";
    assert_eq!(groups(onnx, &TWO_GPUS), [group("m", Kind::Gpu, 1, &[0, 1])]);
    let one = format!("{onnx} instance_group {{ count: 1 kind: KIND_CPU }}");
    assert_eq!(groups(&one, &NO_GPU), [group("m_0", Kind::Cpu, 1, &[])]);
}

#[test]
fn the_implicit_group_is_the_first_preferred_one_that_can_be_had() {
    let preferred = read(
        "instance_group [ { kind: KIND_GPU count: 3 gpus: [1, 5] }, { kind: KIND_MODEL count: 4 } ]",
    )
    .instance_group;
    let with = |gpus| NormalizeOptions {
        gpus,
        preferred_groups: &preferred,
        ..NO_GPU
    };
    assert_eq!(groups("", &with(&[0, 1])), [group("m", Kind::Gpu, 3, &[1])]);
    assert_eq!(groups("", &with(&[])), [group("m", Kind::Model, 4, &[])]);
    let explicit =
        "instance_group [ { kind: KIND_GPU }, { kind: KIND_CPU }, { kind: KIND_MODEL } ]";
    let expected = [
        group("m_0", Kind::Gpu, 3, &[1]),
        group("m_1", Kind::Cpu, 1, &[]),
        group("m_2", Kind::Model, 4, &[]),
    ];
    assert_eq!(groups(explicit, &with(&[0, 1])), expected);
}

#[test]
fn a_gpu_must_be_there() {
    let cpu_only = NormalizeOptions::default();
    let table = [
        (
            "instance_group { kind: KIND_GPU }",
            cpu_only,
            "instance group m_0 of model m has kind KIND_GPU but server does not support GPUs",
        ),
        (
            "instance_group { name: 'g' kind: KIND_GPU }",
            NO_GPU,
            "instance group g of model m has kind KIND_GPU but no GPUs are available",
        ),
        (
            "instance_group { kind: KIND_GPU gpus: [1, 2] }",
            TWO_GPUS,
            "instance group m_0 of model m specifies invalid or unsupported gpu id 2. GPUs with at \
             least the minimum required CUDA compute compatibility of 7.500000 are: 0, 1",
        ),
    ];
    for (text, options, expected) in table {
        let error = normalize(&mut read(text), &options).expect_err(text);
        assert_eq!(error.to_string(), format!("Invalid argument: {expected}"));
    }
}
