// SPDX-License-Identifier: Apache-2.0
use std::num::NonZeroU32;

use super::{Scheduling, load, refusal};

const SIGNATURE: &str = "platform: 'ensemble' \
    input { name: 'IN' data_type: TYPE_FP32 dims: 1 } \
    output { name: 'OUT' data_type: TYPE_FP32 dims: 1 }";

/// Writes a step whose maps are given as `model tensor=ensemble tensor` pairs.
fn step(model: &str, inputs: &[&str], outputs: &[&str]) -> String {
    let map = |field: &str, pairs: &[&str]| {
        let entries = pairs.iter().filter_map(|pair| pair.split_once('='));
        let entries =
            entries.map(|(key, value)| format!("{field} {{ key: '{key}' value: '{value}' }} "));
        entries.collect::<String>()
    };
    format!(
        "step {{ model_name: '{model}' model_version: -1 {}{}}} ",
        map("input_map", inputs),
        map("output_map", outputs)
    )
}

fn ensemble(steps: &[String]) -> String {
    format!("{SIGNATURE} ensemble_scheduling {{ {} }}", steps.concat())
}

#[test]
fn steps_are_read() {
    let text = format!(
        "{SIGNATURE} ensemble_scheduling {{ max_inflight_requests: 3 {} {} }}",
        step("a", &["x=IN"], &["y=mid"]),
        step("b", &["x=mid"], &["y=OUT"]).replace("-1", "2"),
    );
    let config = load(&text).expect("valid");
    assert!(config.instance_groups.is_empty());
    let Scheduling::Ensemble(ensemble) = config.scheduling else {
        panic!("an ensemble was chosen");
    };
    assert_eq!(ensemble.max_inflight_requests, NonZeroU32::new(3));
    let steps = ensemble.steps.iter();
    let steps: Vec<_> = steps
        .map(|step| (step.model_name.as_str(), step.model_version))
        .collect();
    assert_eq!(steps, [("a", None), ("b", Some(2))]);
    assert_eq!(ensemble.steps[1].input_map["x"], "mid");
}

#[test]
fn ensembles_have_nothing_that_instances_need() {
    let valid = ensemble(&[step("a", &["x=IN"], &["y=OUT"])]);
    let table = [
        (
            "instance_group { }",
            "instance group should not be specified for ensemble 'm'",
        ),
        (
            "optimization { }",
            "optimization should not be specified for ensemble 'm'",
        ),
        (
            "model_warmup { }",
            "model_warmup can not be specified for ensemble 'm'",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(refusal(&format!("{valid} {text}")).message(), expected);
    }
    let other = valid.replace("platform: 'ensemble'", "backend: 'b'");
    assert_eq!(
        refusal(&other).message(),
        "ensemble scheduling cannot be set for model 'm' whose platform is not ensemble"
    );
}

#[test]
fn steps_must_be_complete() {
    let table = [
        (String::new(), "must specify 'step' for ensemble 'm'"),
        (
            step("", &["x=IN"], &["y=OUT"]),
            "must specify 'model_name' in step 0 of ensemble 'm'",
        ),
        (
            step("a", &[], &["y=OUT"]),
            "must specify 'input_map' in step 0 of ensemble 'm'",
        ),
        (
            step("a", &["x=IN"], &["y=OUT"]) + &step("b", &["x=IN"], &[]),
            "must specify 'output_map' in step 1 of ensemble 'm'",
        ),
    ];
    for (steps, expected) in table {
        assert_eq!(refusal(&ensemble(&[steps])).message(), expected);
    }
}

#[test]
fn the_graph_must_be_connected() {
    let table = [
        (
            vec![
                step("a", &["x=IN"], &["y=OUT"]),
                step("b", &["x=IN"], &["y=OUT"]),
            ],
            "ensemble tensor 'OUT' can appear in an output map only once for ensemble 'm' step 1",
        ),
        (
            vec![step("a", &["x=other"], &["y=OUT"])],
            "ensemble input 'IN' for ensemble m' is not used",
        ),
        (
            vec![step("a", &["x=IN"], &["y=other"])],
            "ensemble output 'OUT' for ensemble m' is not used",
        ),
        (
            vec![step("a", &["x=IN", "z=nowhere"], &["y=OUT"])],
            "output 'OUT' for ensemble 'm' is not written: at least one of its depending tensors, \
             'nowhere', is not connected",
        ),
        (
            vec![
                step("a", &["x=IN", "z=t2"], &["y=t1"]),
                step("b", &["x=t1"], &["y=t2", "z=OUT"]),
            ],
            "output 'OUT' for ensemble 'm' is not written: at least one of its depending tensors, \
             't2', is not connected",
        ),
        (
            vec![step("a", &["x=IN"], &["y=OUT", "z=spare"])],
            "ensemble tensor 'spare' is unused in ensemble 'm'",
        ),
    ];
    for (steps, expected) in table {
        assert_eq!(refusal(&ensemble(&steps)).message(), expected);
    }
}
