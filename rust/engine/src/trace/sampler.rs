// SPDX-License-Identifier: Apache-2.0
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::settings::TraceSettings;

/// Chooses the requests of one scope that are traced; made anew whenever its settings change.
#[derive(Debug)]
pub(super) struct Sampler {
    settings: TraceSettings,
    is_usable: bool,
    seen: AtomicU64,
    // What is left of the count; `None` means no limit.
    remaining: Option<AtomicU32>,
    // Chosen and not yet finished.
    unfinished: AtomicU64,
}

impl Sampler {
    /// Makes a sampler. One that is not usable, since a setting it needs is missing, never
    /// chooses.
    pub(super) fn new(settings: TraceSettings, is_usable: bool) -> Self {
        Self {
            settings,
            is_usable,
            seen: AtomicU64::new(0),
            remaining: settings.count.map(AtomicU32::new),
            unfinished: AtomicU64::new(0),
        }
    }

    /// Returns the settings, with what is left of the count.
    pub(super) fn settings(&self) -> TraceSettings {
        TraceSettings {
            count: self.remaining(),
            ..self.settings
        }
    }

    fn remaining(&self) -> Option<u32> {
        let remaining = self.remaining.as_ref();
        remaining.map(|remaining| remaining.load(Ordering::Relaxed))
    }

    /// Returns whether a request could be chosen at all.
    pub(super) fn is_on(&self) -> bool {
        self.is_usable && !self.settings.levels.is_off()
    }

    /// Decides on one request; one that must be traced is chosen whatever rate and count say. What
    /// is chosen must be told to [`Self::finish`].
    pub(super) fn choose(&self, is_forced: bool) -> bool {
        if !self.is_on() {
            return false;
        }
        // First, so that no trace seems to be the last while this one is being chosen.
        self.unfinished.fetch_add(1, Ordering::AcqRel);
        let is_chosen = self.is_due() || is_forced;
        if !is_chosen {
            self.unfinished.fetch_sub(1, Ordering::AcqRel);
        }
        is_chosen
    }

    fn is_due(&self) -> bool {
        let rate = u64::from(self.settings.rate);
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        rate != 0 && seen.is_multiple_of(rate) && self.take_one()
    }

    fn take_one(&self) -> bool {
        let Some(remaining) = &self.remaining else {
            return true;
        };
        let one_less = |remaining: u32| remaining.checked_sub(1);
        remaining
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less)
            .is_ok()
    }

    /// Notes that a trace is over; returns whether it was the last the count allowed.
    pub(super) fn finish(&self) -> bool {
        let is_alone = self.unfinished.fetch_sub(1, Ordering::AcqRel) == 1;
        is_alone && self.remaining() == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::TraceLevels;
    use super::*;

    fn sampler(rate: u32, count: Option<u32>) -> Sampler {
        let levels = TraceLevels {
            timestamps: true,
            tensors: false,
        };
        let settings = TraceSettings {
            levels,
            rate,
            count,
            ..TraceSettings::default()
        };
        Sampler::new(settings, true)
    }

    #[test]
    fn every_nth_request_is_chosen() {
        let sampler = sampler(3, None);
        let chosen: Vec<bool> = (0..7).map(|_| sampler.choose(false)).collect();
        assert_eq!(chosen, [false, false, true, false, false, true, false]);
    }

    #[test]
    fn the_count_ends_it_and_the_last_to_finish_is_known() {
        let sampler = sampler(1, Some(2));
        assert!(sampler.choose(false) && sampler.choose(false) && !sampler.choose(false));
        assert_eq!(sampler.settings().count, Some(0));
        assert!(!sampler.finish());
        assert!(sampler.finish());
    }

    #[test]
    fn a_forced_request_is_chosen_whatever_the_rate_and_the_count() {
        let never = sampler(0, None);
        assert!(!never.choose(false) && never.choose(true));
        let used_up = sampler(1, Some(0));
        assert!(!used_up.choose(false) && used_up.choose(true));
        let off = Sampler::new(TraceSettings::default(), true);
        assert!(!off.choose(true));
        let unusable = Sampler::new(sampler(1, None).settings, false);
        assert!(!unusable.choose(true));
    }
}
