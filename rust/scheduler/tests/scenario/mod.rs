// SPDX-License-Identifier: Apache-2.0
//! The commands of a case, carried out by a driver whose clock is the file.

mod command;
mod sequence;

use std::collections::BTreeMap;
use std::fmt::Write;

use tritongw_scheduler::{
    DispatchReason, DynamicBatcher, Effects, InstanceIndex, OrderKey, RejectReason, ResponseOrder,
    Ticket, Timestamp,
};

use self::command::Command;
use self::sequence::SequenceDriver;

/// Carries out the lines of a case and returns its effects, one per line.
pub(crate) fn run(lines: &[&str]) -> Vec<String> {
    let mut commands = lines.iter().map(|line| Command::parse(line)).peekable();
    if commands
        .next_if(|command| command.verb == "order")
        .is_some()
    {
        let mut driver = OrderDriver::default();
        commands.for_each(|command| driver.carry_out(&command));
        return driver.output;
    }
    let config = commands.next().expect("a case begins with its config");
    if config.verb == "sequences" {
        let mut driver = SequenceDriver::new(config.sequence_config());
        commands.for_each(|command| driver.carry_out(&command));
        return driver.output;
    }
    assert_eq!(config.verb, "config", "{config:?}");
    let mut config = config.batcher_config();
    while let Some(command) = commands.next_if(|command| command.verb == "policy") {
        config
            .priority_queue_policies
            .insert(command.number("level"), command.queue_policy());
    }
    let mut driver = BatcherDriver {
        batcher: DynamicBatcher::new(config),
        tickets: BTreeMap::new(),
        effects: Effects::default(),
        output: Vec::new(),
    };
    commands.for_each(|command| driver.carry_out(&command));
    driver.output
}

struct BatcherDriver {
    batcher: DynamicBatcher<u32>,
    tickets: BTreeMap<u32, Ticket>,
    effects: Effects<u32>,
    output: Vec<String>,
}

impl BatcherDriver {
    fn carry_out(&mut self, command: &Command<'_>) {
        let now = Timestamp::from_nanos(command.number::<u64>("t") * 1000);
        self.pass_deadlines_before(now);
        let instance = InstanceIndex(command.number_or("instance", 0));
        match command.verb {
            "push" => return self.push(now, command),
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
                self.batcher
                    .set_instance_available(instance, command.verb == "available");
                self.batcher.poll(now, &mut self.effects);
            }
            "stop" => self.batcher.stop(),
            "drain" => self.batcher.drain_queued(&mut self.effects),
            "state" => self.note_state(now),
            verb => panic!("unknown command '{verb}'"),
        }
        self.note_effects(now);
    }

    fn push(&mut self, now: Timestamp, command: &Command<'_>) {
        match self.batcher.push(now, command.arrival()) {
            Ok(ticket) => {
                self.tickets.insert(command.number("id"), ticket);
            }
            Err(rejected) => self.effects.reject.push(rejected),
        }
        if !command.has("gather") {
            self.batcher.poll(now, &mut self.effects);
        }
        self.note_effects(now);
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
            let ids: Vec<_> = payload.requests.iter().map(u32::to_string).collect();
            let mut line = format!("dispatch [{}] batch={}", ids.join(" "), payload.batch_size);
            if self.batcher.config().instance_count > 1 {
                write!(line, " instance={}", payload.instance.0).expect("a string");
            }
            write!(line, " reason={}", dispatch_word(payload.reason)).expect("a string");
            self.note(now, &line);
        }
    }

    fn note_state(&mut self, now: Timestamp) {
        let mut line = format!(
            "state queued={} executing={}",
            self.batcher.queued_count(),
            self.batcher.executing_count()
        );
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

#[derive(Default)]
struct OrderDriver<'a> {
    order: ResponseOrder<&'a str>,
    keys: BTreeMap<u32, OrderKey>,
    output: Vec<String>,
}

impl<'a> OrderDriver<'a> {
    fn carry_out(&mut self, command: &Command<'a>) {
        let id = command.number("id");
        match command.verb {
            "expect" => {
                self.keys.insert(id, self.order.expect());
            }
            "respond" => {
                let (response, mut released) = (command.word("response"), Vec::new());
                let is_final = command.has("final");
                let result = self
                    .order
                    .respond(self.keys[&id], response, is_final, &mut released);
                result.expect("a case answers each request once");
                self.output
                    .push(format!("after {response} release [{}]", released.join(" ")));
            }
            verb => panic!("unknown command '{verb}'"),
        }
    }
}

fn reject_word(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::QueueFull => "queue full",
        RejectReason::Timeout => "timeout",
        RejectReason::SequenceTimeout => "sequence timeout",
        RejectReason::Cancelled => "cancelled",
        RejectReason::Stopping => "stopping",
    }
}

fn dispatch_word(reason: DispatchReason) -> &'static str {
    match reason {
        DispatchReason::Unbatched => "unbatched",
        DispatchReason::Preferred => "preferred",
        DispatchReason::Full => "full",
        DispatchReason::Incompatible => "incompatible",
        DispatchReason::Delay => "delay",
        DispatchReason::Immediate => "immediate",
        DispatchReason::Utilization => "utilization",
    }
}
