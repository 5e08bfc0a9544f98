// SPDX-License-Identifier: Apache-2.0
//! Which executions wait for which calls to other models, and whether one more call could ever be
//! answered.
//!
//! An execution that calls another model holds its instance until the call is answered, which some
//! instance of the called model does. A call is stuck if every instance that could answer it is
//! held by executions with stuck calls; such a call is refused before it is sent. An instance whose
//! executions overlap is held when there are as many as it takes, or one of them blocks the rest.
//! **Invariant:** without the call that is being looked at none is stuck, because none that would
//! have been was let in.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;
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
    // The calls that the requests of the execution are.
    callers: Calls,
    is_blocking: bool,
}

type Calls = SmallVec<[Arc<CallRecord>; 1]>;

impl CallOrigin {
    /// Returns the execution that holds `permit` and has these requests to answer. A call from
    /// outside of any execution has the default origin. `is_blocking`: the call holds up all
    /// executions of its instance, where these overlap.
    pub fn new<'a>(
        permit: Option<&ExecutionPermit>,
        requests: impl IntoIterator<Item = &'a InferenceRequest>,
        is_blocking: bool,
    ) -> Self {
        let callers = requests.into_iter().filter_map(InferenceRequest::call);
        Self {
            hold: permit.map(|permit| Arc::clone(permit.hold())),
            callers: callers.cloned().collect(),
            is_blocking,
        }
    }

    fn depth(&self) -> u32 {
        self.callers
            .iter()
            .map(|call| call.depth)
            .max()
            .unwrap_or(0)
    }
}

impl fmt::Debug for CallOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOrigin")
            .field("holds_instance", &self.hold.is_some())
            .field("depth", &self.depth())
            .finish()
    }
}

/// A call from a model to another one, until its final response.
pub(crate) struct CallRecord {
    model: CName,
    scheduler: Arc<ModelScheduler>,
    hold: Option<Arc<Hold>>,
    // The calls whose execution makes this one.
    callers: Calls,
    // Whether nothing else goes on at the instance that waits for it.
    is_blocking: bool,
    depth: u32,
    at: AtomicUsize,
}

impl CallRecord {
    /// Notes which instance the call was given to.
    pub(crate) fn note_dispatched(&self, instance: InstanceIndex) {
        self.at.store(instance.0, Ordering::Release);
    }

    /// Returns the instance that the call was given to.
    fn place(&self) -> Option<Place> {
        let at = self.at.load(Ordering::Acquire);
        (at != QUEUED).then(|| Place::new(&self.scheduler, at))
    }

    /// Returns the instances of which one answers the call, each with how many executions of it
    /// overlap.
    fn needs(&self) -> Vec<(Place, u32)> {
        if let Some(place) = self.place() {
            return vec![(place, 1)];
        }
        let instances = self.scheduler.open_overlaps().into_iter();
        instances
            .map(|(instance, overlap)| (Place::new(&self.scheduler, instance), overlap))
            .collect()
    }

    fn note_waiting(&self, change: isize) {
        if let Some(hold) = self.hold.as_ref().filter(|_| self.is_blocking) {
            hold.note_calls(change);
        }
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
        let depth = origin.depth() + 1;
        if depth > MAX_DEPTH {
            return Err(Error::unavailable(format!(
                "more than {MAX_DEPTH} calls from model to model wait for one another, the last \
                 for model '{model}'"
            )));
        }
        let overlaps = |hold: &Arc<Hold>| hold.scheduler.overlap(hold.instance) > 1;
        let call = Arc::new(CallRecord {
            model: model.clone(),
            scheduler: Arc::clone(scheduler),
            is_blocking: origin.is_blocking || !origin.hold.as_ref().is_some_and(overlaps),
            hold: origin.hold.clone(),
            callers: origin.callers.clone(),
            depth,
            at: AtomicUsize::new(QUEUED),
        });
        let Some(hold) = &call.hold else {
            return Ok(call); // Nobody's instance waits for it.
        };
        // Before the look at the graph: what is dispatched later avoids this instance.
        call.note_waiting(1);
        let mut held = self.held.lock();
        if let Some(cycle) = find_cycle(&held, &call) {
            drop(held);
            call.note_waiting(-1);
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
        call.note_waiting(-1);
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
    let needs = call.needs();
    let is_open = |(place, overlap): &(Place, u32)| {
        let waiting = held.get(place).map_or(&[][..], Vec::as_slice);
        let own = (call.waits_at() == Some(*place)).then_some(call);
        let mut calls = waiting.iter().chain(own);
        calls.clone().count() < *overlap as usize && !calls.any(|call| call.is_blocking)
    };
    if needs.is_empty() || needs.iter().any(is_open) {
        return None; // By far the most.
    }
    let mut stuck = calls_behind(held, call);
    loop {
        let before = stuck.len();
        let still: Vec<_> = stuck
            .iter()
            .filter(|call| is_stuck(call, &stuck))
            .cloned()
            .collect();
        stuck = still;
        if !stuck.iter().any(|stuck| Arc::ptr_eq(stuck, call)) {
            return None;
        }
        if stuck.len() == before {
            return Some(cycle_from(call, &stuck));
        }
    }
}

/// Returns whether a call cannot be answered unless one of `stuck` is.
fn is_stuck(call: &Arc<CallRecord>, stuck: &[Arc<CallRecord>]) -> bool {
    let at = |place: Place| {
        let calls = stuck.iter();
        calls.filter(move |call| call.waits_at() == Some(place))
    };
    let is_halted = |place: Place| at(place).any(|call| call.is_blocking);
    if let Some(place) = call.place() {
        return is_halted(place) || stuck.iter().any(|stuck| is_made_by(stuck, call));
    }
    let is_full = |&(place, overlap): &(Place, u32)| {
        let mut holds: Vec<_> = at(place)
            .filter_map(|call| call.hold.as_ref().map(Arc::as_ptr))
            .collect();
        holds.sort_unstable();
        holds.dedup();
        is_halted(place) || holds.len() >= overlap as usize
    };
    let needs = call.needs();
    !needs.is_empty() && needs.iter().all(is_full)
}

/// Returns whether the execution of `outer` makes the call `inner`.
fn is_made_by(inner: &CallRecord, outer: &Arc<CallRecord>) -> bool {
    inner.callers.iter().any(|call| Arc::ptr_eq(call, outer))
}

/// Returns the call and everything that may have to be answered before it can be.
fn calls_behind(
    held: &HashMap<Place, Vec<Arc<CallRecord>>>,
    call: &Arc<CallRecord>,
) -> Vec<Arc<CallRecord>> {
    let mut found = vec![Arc::clone(call)];
    let mut next = 0;
    while let Some(call) = found.get(next) {
        let needs = call.needs();
        let behind = needs.iter().filter_map(|(place, _)| held.get(place));
        for call in behind.flatten() {
            if !found.iter().any(|known| Arc::ptr_eq(known, call)) {
                found.push(Arc::clone(call));
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
        let is_behind = |call: &&Arc<CallRecord>| {
            let place = call.waits_at();
            needs.iter().any(|(needed, _)| place == Some(*needed))
        };
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
