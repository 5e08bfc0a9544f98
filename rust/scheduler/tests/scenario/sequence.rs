// SPDX-License-Identifier: Apache-2.0
//! The commands of a case about sequences.

use std::collections::BTreeMap;
use std::fmt::Write;

use tritongw_scheduler::{
    Effects, InstanceIndex, Payload, SequenceBatcher, SequenceBatcherConfig, SequenceRefusal,
    SequenceTicket, Timestamp,
};

use super::command::Command;
use super::{dispatch_word, reject_word};

pub(crate) struct SequenceDriver {
    batcher: SequenceBatcher<u32>,
    tickets: BTreeMap<u32, SequenceTicket>,
    effects: Effects<u32>,
    pub(crate) output: Vec<String>,
}

impl SequenceDriver {
    pub(crate) fn new(config: SequenceBatcherConfig) -> Self {
        Self {
            batcher: SequenceBatcher::new(config),
            tickets: BTreeMap::new(),
            effects: Effects::default(),
            output: Vec::new(),
        }
    }

    pub(crate) fn carry_out(&mut self, command: &Command<'_>) {
        let now = Timestamp::from_nanos(command.number::<u64>("t") * 1000);
        self.pass_deadlines_before(now);
        let instance = InstanceIndex(command.number_or("instance", 0));
        match command.verb {
            "push" => return self.push(now, command),
            "reschedule" => return self.reschedule(now, command.number("id")),
            "poll" => self.batcher.poll(now, &mut self.effects),
            "complete" => self.batcher.complete(now, instance, &mut self.effects),
            "cancel" => {
                let id = command.number("id");
                if !self
                    .batcher
                    .cancel(now, self.tickets[&id], &mut self.effects)
                {
                    self.note(now, &format!("cancel [{id}] not queued"));
                }
            }
            "available" | "unavailable" => {
                let is_available = command.verb == "available";
                self.batcher.set_instance_available(instance, is_available);
                self.batcher.poll(now, &mut self.effects);
            }
            "retire" => self.batcher.retire_instance(instance),
            "stop" => self.batcher.stop(),
            "drain" => self.batcher.drain_queued(now, &mut self.effects),
            "state" => self.note_state(now),
            verb => panic!("unknown command '{verb}'"),
        }
        self.note_effects(now);
    }

    fn push(&mut self, now: Timestamp, command: &Command<'_>) {
        let id = command.number("id");
        match self.batcher.push(now, command.sequence_arrival()) {
            Ok(accepted) => {
                self.tickets.insert(id, accepted.ticket);
                if accepted.is_conflict {
                    self.note(now, &format!("conflict [{id}]"));
                }
            }
            Err((_, refusal)) => self.refuse(now, id, refusal),
        }
        if !command.has("gather") {
            self.batcher.poll(now, &mut self.effects);
        }
        self.note_effects(now);
    }

    fn reschedule(&mut self, now: Timestamp, id: u32) {
        match self.batcher.reschedule(now, self.tickets[&id], id, None) {
            Ok(ticket) => {
                self.tickets.insert(id, ticket);
            }
            Err((_, refusal)) => self.refuse(now, id, refusal),
        }
    }

    fn refuse(&mut self, now: Timestamp, id: u32, refusal: SequenceRefusal) {
        let word = match refusal {
            SequenceRefusal::NotStarted => "not started",
            SequenceRefusal::Stopping => "stopping",
            SequenceRefusal::NotRescheduled => "not rescheduled",
        };
        self.note(now, &format!("refuse [{id}] {word}"));
    }

    fn pass_deadlines_before(&mut self, now: Timestamp) {
        while let Some(deadline) = self
            .batcher
            .next_deadline()
            .filter(|deadline| *deadline < now)
        {
            self.batcher.poll(deadline, &mut self.effects);
            self.note_effects(deadline);
        }
    }

    fn note_effects(&mut self, now: Timestamp) {
        let effects = std::mem::take(&mut self.effects);
        for (id, reason) in effects.reject {
            self.note(now, &format!("reject [{id}] {}", reject_word(reason)));
        }
        for payload in effects.dispatch {
            let mut line = format!("dispatch [{}]", slots(&payload));
            if self.batcher.config().instance_count > 1 {
                write!(line, " instance={}", payload.instance.0).expect("a string");
            }
            write!(line, " reason={}", dispatch_word(payload.reason)).expect("a string");
            self.note(now, &line);
        }
    }

    fn note_state(&mut self, now: Timestamp) {
        let mut line = format!(
            "state sequences={} queued={} executing={}",
            self.batcher.sequence_count(),
            self.batcher.queued_count(),
            self.batcher.executing_count()
        );
        for index in 0..self.batcher.config().instance_count {
            if self.batcher.is_vacant(InstanceIndex(index)) {
                write!(line, " vacant={index}").expect("a string");
            }
        }
        if let Some(deadline) = self.batcher.next_deadline() {
            write!(line, " deadline={}", deadline.as_nanos() / 1000).expect("a string");
        }
        self.note(now, &line);
    }

    fn note(&mut self, now: Timestamp, what: &str) {
        self.output
            .push(format!("t={} {what}", now.as_nanos() / 1000));
    }
}

/// Writes the batch slot by slot; a dash is a null request.
fn slots(payload: &Payload<u32>) -> String {
    let mut requests = payload.requests.iter();
    let slots = (0..payload.batch_size as usize).map(|slot| {
        if payload.null_slots.contains(&slot) {
            return "-".to_owned();
        }
        requests
            .next()
            .expect("a request for each slot")
            .to_string()
    });
    slots.collect::<Vec<_>>().join(" ")
}
