// SPDX-License-Identifier: Apache-2.0
//! Which models to load again because somebody is writing them; when to look is the caller's
//! affair.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model_table::ModelIdentifier;
use crate::repository::ModelSnapshot;

/// Which models are loaded again when their files change, in every control mode.
#[derive(Clone, Debug)]
pub struct ReloadOptions {
    /// How often files are looked at; a change counts when two looks have seen the same.
    pub interval: Duration,
    /// Backends whose models are followed.
    pub backends: BTreeSet<String>,
}

impl Default for ReloadOptions {
    /// Follows Python models, as fast as an author notices.
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(200),
            backends: BTreeSet::from(["python".to_owned()]),
        }
    }
}

/// A model whose files are followed.
pub(crate) struct FollowedModel {
    pub(crate) identifier: ModelIdentifier,
    /// What serves was loaded from this; `None` if nothing serves.
    pub(crate) loaded: Option<ModelSnapshot>,
    pub(crate) now: ModelSnapshot,
}

/// Remembers what was seen and not loaded.
#[derive(Default)]
pub(crate) struct ModelReloader {
    pending: BTreeMap<ModelIdentifier, Pending>,
}

struct Pending {
    seen: ModelSnapshot,
    // Then it failed, or it is what failed before we came.
    is_tried: bool,
}

impl ModelReloader {
    /// Takes in a look at all followed models and returns those to load again.
    pub(crate) fn look(&mut self, models: Vec<FollowedModel>) -> Vec<ModelIdentifier> {
        let mut changed = Vec::new();
        let mut before = std::mem::take(&mut self.pending);
        for model in models {
            let FollowedModel {
                identifier,
                loaded,
                now,
            } = model;
            if loaded.as_ref() == Some(&now) {
                continue;
            }
            let is_tried = match before.remove(&identifier) {
                Some(pending) if pending.seen == now => {
                    if !pending.is_tried {
                        changed.push(identifier.clone());
                    }
                    true
                }
                Some(_) => false,
                None => loaded.is_none(),
            };
            let pending = Pending {
                seen: now,
                is_tried,
            };
            self.pending.insert(identifier, pending);
        }
        changed
    }

    /// Returns whether something has changed that another look has to confirm.
    pub(crate) fn is_settling(&self) -> bool {
        self.pending.values().any(|pending| !pending.is_tried)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> ModelSnapshot {
        ModelSnapshot {
            config: Some(("config.pbtxt".to_owned(), text.to_owned())),
            ..ModelSnapshot::default()
        }
    }

    /// Looks at one model; returns whether it is to be loaded again.
    fn look(reloader: &mut ModelReloader, loaded: Option<&str>, now: &str) -> bool {
        let identifier = ModelIdentifier {
            name: "m".to_owned(),
            namespace: "".into(),
        };
        let model = FollowedModel {
            identifier,
            loaded: loaded.map(snapshot),
            now: snapshot(now),
        };
        reloader.look(vec![model]).len() == 1
    }

    #[test]
    fn a_change_is_loaded_once_it_has_settled() {
        let mut reloader = ModelReloader::default();
        assert!(!look(&mut reloader, Some("one"), "one"));
        assert!(!reloader.is_settling());
        for half_written in ["t", "tw", "two"] {
            assert!(!look(&mut reloader, Some("one"), half_written));
            assert!(reloader.is_settling());
        }
        assert!(look(&mut reloader, Some("one"), "two"));
        assert!(!look(&mut reloader, Some("two"), "two"));
        assert!(!reloader.is_settling());
    }

    #[test]
    fn what_failed_to_load_is_tried_again_when_it_changes() {
        let mut reloader = ModelReloader::default();
        assert!(!look(&mut reloader, Some("one"), "broken"));
        assert!(look(&mut reloader, Some("one"), "broken"));
        assert!(!look(&mut reloader, Some("one"), "broken"), "tried");
        assert!(!look(&mut reloader, Some("one"), "fixed"));
        assert!(look(&mut reloader, Some("one"), "fixed"));
        assert!(!look(&mut reloader, Some("fixed"), "fixed"));
    }

    #[test]
    fn what_never_loaded_waits_for_a_change() {
        let mut reloader = ModelReloader::default();
        assert!(!look(&mut reloader, None, "broken"));
        assert!(!look(&mut reloader, None, "broken"));
        assert!(!look(&mut reloader, None, "fixed"));
        assert!(look(&mut reloader, None, "fixed"));
    }

    #[test]
    fn changing_back_is_no_change() {
        let mut reloader = ModelReloader::default();
        assert!(!look(&mut reloader, Some("one"), "two"));
        assert!(!look(&mut reloader, Some("one"), "one"));
        assert!(!look(&mut reloader, Some("one"), "two"));
    }
}
