// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use tritongw_types::{CName, DataType};

use super::{
    BooleanControl, CorrelationIdControl, FalseTrueValues, InitialStateData, Scheduling,
    SequenceBatching, SequenceStrategy, check_refusals, load,
};

fn sequence_batching(text: &str) -> SequenceBatching {
    let config = load(&format!("max_batch_size: 4 sequence_batching {{ {text} }}"));
    match config.expect(text).scheduling {
        Scheduling::SequenceBatching(batching) => *batching,
        other => panic!("sequence batching was chosen, got {other:?}"),
    }
}

#[test]
fn controls_are_found_by_kind() {
    let controls = sequence_batching(
        "control_input { name: 'S' control { kind: CONTROL_SEQUENCE_START int32_false_true: [0, 1] } }
         control_input { name: 'E' control { kind: CONTROL_SEQUENCE_END fp32_false_true: [0, 1] } }
         control_input { name: 'R' control { kind: CONTROL_SEQUENCE_READY bool_false_true: [false, true] } }
         control_input { name: 'C' control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING } }",
    )
    .controls;
    let control = |tensor, values| {
        Some(BooleanControl {
            tensor: CName::new(tensor),
            values,
        })
    };
    assert_eq!(controls.start, control("S", FalseTrueValues::Int32([0, 1])));
    assert_eq!(
        controls.end,
        control("E", FalseTrueValues::Fp32([0.0, 1.0]))
    );
    assert_eq!(
        controls.ready,
        control("R", FalseTrueValues::Bool([false, true]))
    );
    let correlation_id = CorrelationIdControl {
        tensor: CName::new("C"),
        data_type: DataType::Bytes,
    };
    assert_eq!(controls.correlation_id, Some(correlation_id));
}

#[test]
fn the_direct_strategy_is_the_default() {
    let batching = sequence_batching("");
    let direct = SequenceStrategy::Direct {
        max_queue_delay: Duration::ZERO,
        minimum_slot_utilization: 0.0,
    };
    assert_eq!(batching.strategy, direct);
    assert_eq!(batching.max_sequence_idle, Duration::from_secs(1));
    assert!(!batching.is_iterative);
}

#[test]
fn the_oldest_strategy_prefers_full_batches() {
    let batching =
        sequence_batching("oldest { max_candidate_sequences: 9 } iterative_sequence: true");
    let oldest = SequenceStrategy::Oldest {
        max_candidate_sequences: 9,
        preferred_batch_sizes: vec![4],
        max_queue_delay: Duration::ZERO,
        preserve_ordering: false,
    };
    assert_eq!(batching.strategy, oldest);
    assert!(batching.is_iterative);
}

#[test]
fn states_have_first_values() {
    let state = "input_name: 'I' output_name: 'O' data_type: TYPE_FP32 dims: -1";
    let initial = |data: &str| {
        let text =
            format!("state {{ {state} initial_state {{ data_type: TYPE_FP32 dims: 2 {data} }} }}");
        sequence_batching(&text)
            .states
            .remove(0)
            .initial_states
            .remove(0)
            .data
    };
    assert_eq!(initial("zero_data: true"), InitialStateData::Zero);
    assert_eq!(
        initial("data_file: 'f'"),
        InitialStateData::File("f".to_owned())
    );
    assert_eq!(initial(""), InitialStateData::Unset);
}

#[test]
fn sequence_batching_must_be_consistent() {
    let start = "kind: CONTROL_SEQUENCE_START";
    let cases = [
        (
            "control_input { }".to_owned(),
            "sequence batching control tensor must have a name for m",
        ),
        (
            "control_input { name: 'S' } control_input { name: 'S' }".to_owned(),
            "sequence batching control tensor 'S' is specified for multiple control kinds for m",
        ),
        (
            format!("control_input {{ name: 'S' control [ {{ {start} }}, {{ {start} }} ] }}"),
            "sequence batching specifies multiple CONTROL_SEQUENCE_START tensors for m",
        ),
        (
            format!("control_input {{ name: 'S' control {{ {start} }} }}"),
            "sequence batching must specify either 'int32_false_true', 'fp32_false_true' or \
             'bool_false_true' for CONTROL_SEQUENCE_START for m",
        ),
        (
            format!(
                "control_input {{ name: 'S' control {{ {start} int32_false_true: [0, 1] \
                 fp32_false_true: [0, 1] }} }}"
            ),
            "sequence batching specifies more than one from 'int32_false_true', \
             'fp32_false_true' and 'bool_false_true' for CONTROL_SEQUENCE_START for m",
        ),
        (
            format!("control_input {{ name: 'S' control {{ {start} int32_false_true: 1 }} }}"),
            "sequence batching control 'int32_false_true' must have exactly 2 entries for \
             CONTROL_SEQUENCE_START for m",
        ),
        (
            format!("control_input {{ name: 'S' control {{ {start} fp32_false_true: 1 }} }}"),
            "sequence batching control 'fp32_false_true' must have exactly 2 entries for \
             CONTROL_SEQUENCE_START for m",
        ),
        (
            format!("control_input {{ name: 'S' control {{ {start} bool_false_true: true }} }}"),
            "sequence batching control 'bool_false_true' must have exactly 2 entries for \
             CONTROL_SEQUENCE_START for m",
        ),
        (
            "control_input { name: 'C' control { kind: CONTROL_SEQUENCE_CORRID \
             int32_false_true: [0, 1] } }"
                .to_owned(),
            "sequence batching must not specify either 'int32_false_true', 'fp32_false_true' or \
             'bool_false_true' for CONTROL_SEQUENCE_CORRID for m",
        ),
        (
            "control_input { name: 'C' control { kind: CONTROL_SEQUENCE_CORRID \
             data_type: TYPE_FP32 } }"
                .to_owned(),
            "unexpected data type for control CONTROL_SEQUENCE_CORRID for m. Allowed data types \
             are TYPE_UINT64, TYPE_INT64, TYPE_UINT32, TYPE_INT32 and TYPE_STRING",
        ),
        (
            "oldest { preferred_batch_size: 0 }".to_owned(),
            "sequence batching preferred batch size must be positive for m",
        ),
        (
            "oldest { preferred_batch_size: 5 }".to_owned(),
            "sequence batching preferred batch size must be <= max batch size for m",
        ),
        (
            "oldest { max_candidate_sequences: -1 }".to_owned(),
            "sequence batching max candidate sequences must be non-negative for m",
        ),
        (
            "direct { minimum_slot_utilization: 1.5 }".to_owned(),
            "sequence batching minimum slot utilization must be in range (0.0, 1.0] for m",
        ),
        (
            "direct { minimum_slot_utilization: nan }".to_owned(),
            "sequence batching minimum slot utilization must be in range (0.0, 1.0] for m",
        ),
        (
            "state { input_name: 'I' }".to_owned(),
            "sequence batching state 'I' of m must specify 'data_type'",
        ),
        (
            "state { data_type: TYPE_FP32 initial_state { name: 'z' data_type: TYPE_FP32 \
             dims: -1 } }"
                .to_owned(),
            "sequence batching initial state 'z' of m must not have variable dimensions",
        ),
    ];
    for (text, expected) in cases {
        let text = format!("max_batch_size: 4 sequence_batching {{ {text} }}");
        check_refusals(&[(&text, expected)]);
    }
}
