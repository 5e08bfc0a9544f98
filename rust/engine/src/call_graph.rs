// SPDX-License-Identifier: Apache-2.0
//! Which executions wait for which calls to other models, and whether one more call could ever be
//! answered.
//!
//! An execution that calls another model holds its instance until the call is answered, which some
//! instance of the called model does. A call is stuck if every instance that could answer it is
//! held by an execution with a stuck call; such a call is refused before it is sent.
//! **Invariant:** without the call that is being looked at none is stuck, because none that would
//! have been was let in.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tritongw_scheduler::InstanceIndex;
use tritongw_types::{CName, Error, Result};

use crate::batch::ExecutionPermit;
use crate::model_scheduler::ModelScheduler;
use crate::request::InferenceRequest;

/// Calls that may wait for one another in a row: more is a recursion without an end.
const MAX_DEPTH: u32 = 64;
/// [`CallRecord::at`] of a call that no instance has been given.
const QUEUED: usize = usize::MAX;

/// An instance of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    // Address of the scheduler, which its holders keep where it is.
    scheduler: usize,
    instance: usize,
}

impl Place {
    fn new(scheduler: &Arc<ModelScheduler>, instance: usize) -> Self {
        let scheduler = Arc::as_ptr(scheduler) as usize;
        Self {
            scheduler,
            instance,
        }
    }
}

/// The hold that an execution has on its instance, as far as calls are concerned.
pub(crate) struct Hold {
    scheduler: Arc<ModelScheduler>,
    instance: InstanceIndex,
    state: Mutex<HoldState>,
}

#[derive(Default)]
struct HoldState {
    calls: isize,
    is_over: bool,
}

impl Hold {
    pub(crate) fn new(scheduler: Arc<ModelScheduler>, instance: InstanceIndex) -> Self {
        Self {
            scheduler,
            instance,
            state: Mutex::default(),
        }
    }

    fn place(&self) -> Place {
        Place::new(&self.scheduler, self.instance.0)
    }

    fn is_over(&self) -> bool {
        self.state.lock().is_over
    }

    /// Notes calls that begin or end; nothing more is given to an instance that waits for one
    /// while others could take it.
    fn note_calls(&self, change: isize) {
        let mut state = self.state.lock();
        if state.is_over {
            return;
        }
        state.calls += change;
        drop(state);
        self.scheduler.note_calls(self.instance, change);
    }

    /// Notes that the execution has ended, whether its calls are answered or not.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.is_over = true;
        let calls = std::mem::take(&mut state.calls);
        drop(state);
        if calls != 0 {
            self.scheduler.note_calls(self.instance, -calls);
        }
    }
}

/// The execution that makes a call.
#[derive(Clone, Default)]
pub struct CallOrigin {
    // None once the execution has given its instance back.
    hold: Option<Arc<Hold>>,
    depth: u32,
}

impl CallOrigin {
    /// Returns the execution that holds `permit` and has these requests to answer. A call from
    /// outside of any execution has the default origin.
    pub fn new<'a>(
        permit: Option<&ExecutionPermit>,
        requests: impl IntoIterator<Item = &'a InferenceRequest>,
    ) -> Self {
        let depths = requests.into_iter().filter_map(InferenceRequest::call);
        Self {
            hold: permit.map(|permit| Arc::clone(permit.hold())),
            depth: depths.map(|call| call.depth).max().unwrap_or(0),
        }
    }
}

impl fmt::Debug for CallOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOrigin")
            .field("holds_instance", &self.hold.is_some())
            .field("depth", &self.depth)
            .finish()
    }
}

/// A call from a model to another one, until its final response.
pub(crate) struct CallRecord {
    model: CName,
    scheduler: Arc<ModelScheduler>,
    hold: Option<Arc<Hold>>,
    depth: u32,
    at: AtomicUsize,
}

impl CallRecord {
    /// Notes which instance the call was given to.
    pub(crate) fn note_dispatched(&self, instance: InstanceIndex) {
        self.at.store(instance.0, Ordering::Release);
    }

    /// Returns the instances of which one is needed to answer the call.
    fn needs(&self) -> Vec<Place> {
        let instances = match self.at.load(Ordering::Acquire) {
            QUEUED => self.scheduler.open_indices(),
            at => vec![at],
        };
        let places = instances.into_iter();
        places
            .map(|instance| Place::new(&self.scheduler, instance))
            .collect()
    }

    /// Returns the instance that waits for the call.
    fn waits_at(&self) -> Option<Place> {
        let hold = self.hold.as_ref()?;
        (!hold.is_over()).then(|| hold.place())
    }
}

/// The calls of a server for which an instance waits.
#[derive(Default)]
pub(crate) struct CallGraph {
    held: Mutex<HashMap<Place, Vec<Arc<CallRecord>>>>,
}

impl CallGraph {
    /// Lets a call in; [`Self::leave`] must follow.
    ///
    /// # Errors
    /// `Unavailable` if it could never be answered, or would be one of too many in a row.
    pub(crate) fn enter(
        &self,
        model: &CName,
        scheduler: &Arc<ModelScheduler>,
        origin: &CallOrigin,
    ) -> Result<Arc<CallRecord>> {
        let depth = origin.depth + 1;
        if depth > MAX_DEPTH {
            return Err(Error::unavailable(format!(
                "more than {MAX_DEPTH} calls from model to model wait for one another, the last \
                 for model '{model}'"
            )));
        }
        let call = Arc::new(CallRecord {
            model: model.clone(),
            scheduler: Arc::clone(scheduler),
            hold: origin.hold.clone(),
            depth,
            at: AtomicUsize::new(QUEUED),
        });
        let Some(hold) = &call.hold else {
            return Ok(call); // Nobody's instance waits for it.
        };
        // Before the look at the graph: what is dispatched later avoids this instance.
        hold.note_calls(1);
        let mut held = self.held.lock();
        if let Some(cycle) = find_cycle(&held, &call) {
            drop(held);
            hold.note_calls(-1);
            return Err(circular(&cycle));
        }
        held.entry(hold.place())
            .or_default()
            .push(Arc::clone(&call));
        drop(held);
        Ok(call)
    }

    /// Takes a call out that is answered, or was never sent.
    pub(crate) fn leave(&self, call: &Arc<CallRecord>) {
        let Some(hold) = &call.hold else { return };
        let place = hold.place();
        let mut held = self.held.lock();
        if let Some(calls) = held.get_mut(&place) {
            calls.retain(|known| !Arc::ptr_eq(known, call));
            if calls.is_empty() {
                held.remove(&place);
            }
        }
        drop(held);
        hold.note_calls(-1);
    }
}

impl fmt::Debug for CallGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallGraph")
            .field("waiting_instances", &self.held.lock().len())
            .finish()
    }
}

/// Returns the models that would wait for one another if `call` were sent; `None` if it can be
/// answered.
fn find_cycle(
    held: &HashMap<Place, Vec<Arc<CallRecord>>>,
    call: &Arc<CallRecord>,
) -> Option<Vec<CName>> {
    let is_idle = |place: &Place| call.waits_at() != Some(*place) && !held.contains_key(place);
    let needs = call.needs();
    if needs.is_empty() || needs.iter().any(is_idle) {
        return None; // By far the most.
    }
    let mut stuck = calls_behind(held, call);
    loop {
        let before = stuck.len();
        let waiting: Vec<_> = stuck.iter().map(|call| call.waits_at()).collect();
        stuck.retain(|call| {
            let needs = call.needs();
            !needs.is_empty() && needs.iter().all(|place| waiting.contains(&Some(*place)))
        });
        if !stuck.iter().any(|stuck| Arc::ptr_eq(stuck, call)) {
            return None;
        }
        if stuck.len() == before {
            return Some(cycle_from(call, &stuck));
        }
    }
}

/// Returns the call and everything that has to be answered before it can be, by any of the
/// instances that could.
fn calls_behind(
    held: &HashMap<Place, Vec<Arc<CallRecord>>>,
    call: &Arc<CallRecord>,
) -> Vec<Arc<CallRecord>> {
    let mut found = vec![Arc::clone(call)];
    let mut next = 0;
    while let Some(call) = found.get(next) {
        let behind: Vec<_> = call
            .needs()
            .iter()
            .filter_map(|place| held.get(place))
            .flatten()
            .cloned()
            .collect();
        for call in behind {
            if !found.iter().any(|known| Arc::ptr_eq(known, &call)) {
                found.push(call);
            }
        }
        next += 1;
    }
    found
}

/// Follows stuck calls from one to one that holds it up, until one comes again.
fn cycle_from(call: &Arc<CallRecord>, stuck: &[Arc<CallRecord>]) -> Vec<CName> {
    let mut seen: Vec<&Arc<CallRecord>> = Vec::new();
    let mut current = call;
    while !seen.iter().any(|known| Arc::ptr_eq(known, current)) {
        seen.push(current);
        let needs = current.needs();
        let is_behind =
            |call: &&Arc<CallRecord>| call.waits_at().is_some_and(|place| needs.contains(&place));
        match stuck.iter().find(is_behind) {
            Some(next) => current = next,
            None => break,
        }
    }
    seen.push(current);
    seen.into_iter().map(|call| call.model.clone()).collect()
}

fn circular(cycle: &[CName]) -> Error {
    let names: Vec<_> = cycle.iter().map(|name| format!("'{name}'")).collect();
    Error::unavailable(format!(
        "the call would never be answered: no instance is free that does not wait for it ({})",
        names.join(" -> ")
    ))
}
