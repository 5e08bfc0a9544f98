// SPDX-License-Identifier: Apache-2.0
//! One line of a case: a verb, `key=value` pairs, bare flags.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use tritongw_scheduler::{
    Arrival, DynamicBatcherConfig, QueuePolicy, SequenceArrival, SequenceBatcherConfig,
    SequenceStrategy, TimeoutAction,
};
use tritongw_types::CorrelationId;

#[derive(Debug)]
pub(crate) struct Command<'a> {
    pub(crate) verb: &'a str,
    arguments: BTreeMap<&'a str, &'a str>,
}

impl<'a> Command<'a> {
    pub(crate) fn parse(line: &'a str) -> Self {
        let mut words = line.split_whitespace();
        let verb = words.next().expect("a command has a verb");
        let arguments = words
            .map(|word| word.split_once('=').unwrap_or((word, "")))
            .collect();
        let command = Self { verb, arguments };
        let known = command.known_arguments();
        for argument in command.arguments.keys() {
            assert!(
                known.contains(argument),
                "'{argument}' means nothing in '{line}'"
            );
        }
        command
    }

    fn known_arguments(&self) -> &'static [&'static str] {
        match self.verb {
            "config" => &[
                "max_batch_size",
                "no_batching",
                "preferred",
                "max_queue_delay_us",
                "priority_levels",
                "default_priority_level",
                "timeout_action",
                "timeout_us",
                "allow_override",
                "max_queue_size",
                "instances",
                "max_inflight",
            ],
            "sequences" => &[
                "max_batch_size",
                "oldest",
                "preferred",
                "max_queue_delay_us",
                "utilization",
                "idle_us",
                "iterative",
                "instances",
            ],
            "policy" => &[
                "level",
                "timeout_action",
                "timeout_us",
                "allow_override",
                "max_queue_size",
            ],
            "push" => &[
                "t",
                "id",
                "batch",
                "priority",
                "timeout_us",
                "shape",
                "gather",
                "seq",
                "start",
                "end",
            ],
            "cancel" | "reschedule" => &["t", "id"],
            "complete" | "available" | "unavailable" | "retire" => &["t", "instance"],
            "poll" | "stop" | "drain" | "state" => &["t"],
            "expect" => &["id"],
            "respond" => &["id", "response", "final"],
            _ => &[],
        }
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.arguments.contains_key(flag)
    }

    pub(crate) fn word(&self, key: &str) -> &'a str {
        self.arguments
            .get(key)
            .unwrap_or_else(|| panic!("'{key}' is missing in {self:?}"))
    }

    pub(crate) fn number<N: FromStr<Err: Debug>>(&self, key: &str) -> N {
        self.word(key).parse().expect("a number")
    }

    pub(crate) fn number_or<N: FromStr<Err: Debug>>(&self, key: &str, default: N) -> N {
        if self.has(key) {
            self.number(key)
        } else {
            default
        }
    }

    fn list<N: FromStr<Err: Debug>>(&self, key: &str) -> Option<Vec<N>> {
        let numbers = self.arguments.get(key)?.split(',');
        Some(
            numbers
                .map(|number| number.parse().expect("a number"))
                .collect(),
        )
    }

    fn duration(&self, key: &str) -> Option<Duration> {
        self.has(key)
            .then(|| Duration::from_micros(self.number(key)))
    }

    pub(crate) fn batcher_config(&self) -> DynamicBatcherConfig {
        DynamicBatcherConfig {
            max_batch_size: self.number("max_batch_size"),
            is_batching: !self.has("no_batching"),
            preferred_batch_sizes: self.list("preferred").unwrap_or_default(),
            max_queue_delay: self.duration("max_queue_delay_us").unwrap_or_default(),
            priority_levels: self.number_or("priority_levels", 0),
            default_priority_level: self.number_or("default_priority_level", 0),
            default_queue_policy: self.queue_policy(),
            instance_count: self.number_or("instances", 1),
            max_inflight_per_instance: self.number_or("max_inflight", 1),
            ..DynamicBatcherConfig::default()
        }
    }

    pub(crate) fn queue_policy(&self) -> QueuePolicy {
        QueuePolicy {
            timeout_action: match self.arguments.get("timeout_action") {
                Some(&"delay") => TimeoutAction::Delay,
                None => TimeoutAction::Reject,
                Some(action) => panic!("unknown timeout action '{action}'"),
            },
            default_timeout: self.duration("timeout_us"),
            allow_timeout_override: self.has("allow_override"),
            max_queue_size: NonZeroU32::new(self.number_or("max_queue_size", 0)),
        }
    }

    pub(crate) fn arrival(&self) -> Arrival<u32> {
        Arrival {
            request: self.number("id"),
            batch_size: self.number_or("batch", 1),
            priority: self.number_or("priority", 0),
            timeout: self.duration("timeout_us"),
            compatibility: self.list("shape").map(Vec::into_boxed_slice),
        }
    }

    pub(crate) fn sequence_config(&self) -> SequenceBatcherConfig {
        let max_queue_delay = self.duration("max_queue_delay_us").unwrap_or_default();
        SequenceBatcherConfig {
            max_batch_size: self.number("max_batch_size"),
            strategy: if self.has("oldest") {
                SequenceStrategy::Oldest {
                    max_candidate_sequences: self.number("oldest"),
                    preferred_batch_sizes: self.list("preferred").unwrap_or_default(),
                    max_queue_delay,
                }
            } else {
                SequenceStrategy::Direct {
                    max_queue_delay,
                    minimum_slot_utilization: self.number_or("utilization", 0.0),
                }
            },
            max_sequence_idle: self.duration("idle_us").unwrap_or(Duration::from_secs(1)),
            is_iterative: self.has("iterative"),
            instance_count: self.number_or("instances", 1),
        }
    }

    /// A sequence named by a number has an integer id, any other a string (G5.06).
    pub(crate) fn sequence_arrival(&self) -> SequenceArrival<u32> {
        let name = self.word("seq");
        SequenceArrival {
            request: self.number("id"),
            correlation_id: match name.parse() {
                Ok(number) => CorrelationId::UInt(number),
                Err(_) => CorrelationId::String(name.into()),
            },
            is_start: self.has("start"),
            is_end: self.has("end"),
            timeout: self.duration("timeout_us"),
            compatibility: self.list("shape").map(Vec::into_boxed_slice),
        }
    }
}
