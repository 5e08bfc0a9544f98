// SPDX-License-Identifier: Apache-2.0
//! Whose turn it is.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use super::LimiterKey;

/// One execution that waits for its turn; earlier ones are smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    /// When it would end if each execution took as long as its priority, all one after another.
    tag: u64,
    /// By which turns of one tag are told apart: first asked, first served.
    ordinal: u64,
    pub(super) key: LimiterKey,
}

/// The executions that wait, in the order of self-clocked fair queueing.
///
/// An instance's executions follow one another by its priority; one that comes after a time of
/// rest begins with what is served now, so that it makes up for nothing.
#[derive(Debug, Default)]
pub(super) struct Turns {
    waiting: BTreeSet<Turn>,
    /// Tag of each instance's latest execution.
    latest: BTreeMap<LimiterKey, u64>,
    /// Tag of the execution that began last.
    now: u64,
    next_ordinal: u64,
}

impl Turns {
    pub(super) fn add(&mut self, key: LimiterKey, priority: NonZeroU32) {
        let latest = self.latest.entry(key).or_default();
        *latest = self.now.max(*latest) + u64::from(priority.get());
        self.waiting.insert(Turn {
            tag: *latest,
            ordinal: self.next_ordinal,
            key,
        });
        self.next_ordinal += 1;
    }

    /// Returns what waits at this moment, in order.
    pub(super) fn in_order(&self) -> Vec<Turn> {
        self.waiting.iter().copied().collect()
    }

    pub(super) fn take(&mut self, turn: Turn) {
        self.waiting.remove(&turn);
        self.now = self.now.max(turn.tag);
    }

    pub(super) fn forget(&mut self, key: LimiterKey) {
        self.waiting.retain(|turn| turn.key != key);
        self.latest.remove(&key);
    }
}
