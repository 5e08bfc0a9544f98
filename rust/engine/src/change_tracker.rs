// SPDX-License-Identifier: Apache-2.0
//! Which models of the repositories have changed, told from one look to the next (R025).
//!
//! A change counts once two looks in a row have seen the same, so that a model is not taken up
//! while it is still being written or deleted. When to look is the caller's affair.

use std::collections::{BTreeMap, BTreeSet};

use crate::model_table::ModelIdentifier;
use crate::repository::ModelSnapshot;

/// What a look saw of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sighting {
    /// A directory with this in it.
    Model(ModelSnapshot),
    /// Directories of that name in several repositories.
    Ambiguous,
    /// A directory that cannot be read.
    Unreadable,
}

/// All that one look saw.
pub(crate) type Sightings = BTreeMap<ModelIdentifier, Sighting>;

/// Remembers what was acted on, and what may still be changing.
#[derive(Default)]
pub(crate) struct ChangeTracker {
    acted_on: Sightings,
    // `None` for a model that is gone.
    unsettled: BTreeMap<ModelIdentifier, Option<Sighting>>,
}

impl ChangeTracker {
    /// Begins with models that are being acted on already.
    pub(crate) fn new(acted_on: Sightings) -> Self {
        Self {
            acted_on,
            unsettled: BTreeMap::new(),
        }
    }

    /// Takes in a look and returns the models to act on, with whether they are still there.
    pub(crate) fn look(&mut self, mut seen: Sightings) -> Vec<(ModelIdentifier, bool)> {
        let mut changes = Vec::new();
        let mut unsettled = BTreeMap::new();
        let known: BTreeSet<_> = self.acted_on.keys().chain(seen.keys()).cloned().collect();
        for identifier in known {
            let now = seen.remove(&identifier);
            if now.as_ref() == self.acted_on.get(&identifier) {
                continue;
            }
            if self.unsettled.get(&identifier) != Some(&now) {
                unsettled.insert(identifier, now);
                continue;
            }
            changes.push((identifier.clone(), now.is_some()));
            match now {
                Some(sighting) => drop(self.acted_on.insert(identifier, sighting)),
                None => drop(self.acted_on.remove(&identifier)),
            }
        }
        self.unsettled = unsettled;
        changes
    }

    /// Returns whether something has changed that another look has to confirm.
    pub(crate) fn is_settling(&self) -> bool {
        !self.unsettled.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identifier(name: &str) -> ModelIdentifier {
        ModelIdentifier {
            name: name.to_owned(),
            namespace: "".into(),
        }
    }

    fn seen(models: &[(&str, &str)]) -> Sightings {
        let model = |(name, config): &(&str, &str)| {
            let snapshot = ModelSnapshot {
                config: Some(("config.pbtxt".to_owned(), (*config).to_owned())),
                ..ModelSnapshot::default()
            };
            (identifier(name), Sighting::Model(snapshot))
        };
        models.iter().map(model).collect()
    }

    fn tracker() -> ChangeTracker {
        ChangeTracker::new(seen(&[("m", "one")]))
    }

    #[test]
    fn nothing_new_is_no_change() {
        let mut tracker = tracker();
        assert_eq!(tracker.look(seen(&[("m", "one")])), []);
        assert!(!tracker.is_settling());
    }

    #[test]
    fn a_change_counts_when_it_is_seen_again() {
        let mut tracker = tracker();
        assert_eq!(tracker.look(seen(&[("m", "two")])), []);
        assert!(tracker.is_settling());
        assert_eq!(
            tracker.look(seen(&[("m", "two")])),
            [(identifier("m"), true)]
        );
        assert!(!tracker.is_settling());
        assert_eq!(tracker.look(seen(&[("m", "two")])), []);
    }

    #[test]
    fn what_keeps_changing_waits_and_what_changes_back_is_forgotten() {
        let mut tracker = tracker();
        for config in ["two", "three", "four", "one", "two"] {
            assert_eq!(tracker.look(seen(&[("m", config)])), [], "{config}");
        }
        assert_eq!(
            tracker.look(seen(&[("m", "two")])),
            [(identifier("m"), true)]
        );
    }

    #[test]
    fn models_come_and_go_each_in_its_time() {
        let mut tracker = tracker();
        assert_eq!(tracker.look(seen(&[("n", "one")])), []);
        let changes = tracker.look(seen(&[("n", "two")]));
        assert_eq!(changes, [(identifier("m"), false)], "n is still changing");
        assert_eq!(
            tracker.look(seen(&[("n", "two")])),
            [(identifier("n"), true)]
        );
    }
}
