// SPDX-License-Identifier: Apache-2.0
//! What a door's network thread does between its sockets: dispatch what it gathered, and wake the
//! tasks that other threads have answers for.
//!
//! A network thread only queues requests, so that those which its sockets brought together can
//! share a batch. One task of each thread dispatches them: it is woken by the first request queued
//! and, on a runtime that runs the tasks of a thread in the order in which they became ready, runs
//! after every connection that was ready then. So a thread that is never idle dispatches as well,
//! and the answers of inline models are written without another look at the sockets. What is
//! queued outside of any connection is dispatched before the thread parks.
//!
//! The same task hears of answers that come from other threads. Each of these would otherwise write
//! to the runtime's event descriptor by itself; like this only the first of a burst does.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use crate::deferral::{defer_dispatch_on_this_thread, dispatch_deferred};

thread_local! {
    static GATHERER: RefCell<Gatherer> = const { RefCell::new(Gatherer::NONE) };
    /// Dispatchers to call when the thread has answered all it can; `None` where it calls at once.
    static HELD_CALLS: RefCell<Option<Vec<Waker>>> = const { RefCell::new(None) };
}

/// The dispatching task of this thread.
struct Gatherer {
    /// Wakes the task; `None` while it is awake already.
    asleep: Option<Waker>,
    /// What other threads have for this one.
    inbox: Option<Arc<Inbox>>,
}

impl Gatherer {
    const NONE: Self = Self {
        asleep: None,
        inbox: None,
    };
}

/// Makes this thread gather, and returns the task that dispatches: to be spawned here, before any
/// other. It never ends.
pub fn gather_on_this_thread() -> impl Future<Output = ()> + Send + 'static {
    defer_dispatch_on_this_thread();
    let inbox = Arc::new(Inbox::default());
    GATHERER.with_borrow_mut(|gatherer| gatherer.inbox = Some(Arc::clone(&inbox)));
    poll_fn(move |context| {
        inbox.empty(context.waker());
        dispatch_deferred();
        let waker = context.waker().clone();
        GATHERER.with_borrow_mut(|gatherer| gatherer.asleep = Some(waker));
        Poll::Pending
    })
}

/// Has the requests of this thread dispatched once the tasks that are ready have run.
pub fn dispatch_soon() {
    if let Some(waker) = GATHERER.with_borrow_mut(|gatherer| gatherer.asleep.take()) {
        waker.wake();
    }
}

/// Tasks of one network thread that other threads want to wake.
#[derive(Debug, Default)]
pub struct Inbox(Mutex<InboxState>);

#[derive(Debug, Default)]
struct InboxState {
    woken: Vec<Waker>,
    dispatcher: Option<Waker>,
}

impl Inbox {
    /// Returns the inbox of this thread, if it gathers.
    pub fn of_this_thread() -> Option<Arc<Self>> {
        GATHERER.with_borrow(|gatherer| gatherer.inbox.clone())
    }

    /// Wakes a task of the inbox's thread: at once from that thread, with all others that are to be
    /// woken from elsewhere.
    pub fn wake(&self, task: Waker) {
        let is_here = GATHERER.with_borrow(|gatherer| {
            let here = gatherer.inbox.as_deref();
            here.is_some_and(|here| std::ptr::eq(here, self))
        });
        if is_here {
            return task.wake();
        }
        let mut state = self.0.lock();
        state.woken.push(task);
        let dispatcher = match state.woken.len() {
            1 => state.dispatcher.clone(),
            _ => None, // Whoever was first has called it.
        };
        drop(state);
        if let Some(dispatcher) = dispatcher {
            call(dispatcher);
        }
    }

    /// Wakes what other threads have left here, and names who is to be called for more.
    fn empty(&self, dispatcher: &Waker) {
        let woken = {
            let mut state = self.0.lock();
            match &mut state.dispatcher {
                Some(known) => known.clone_from(dispatcher),
                unknown => *unknown = Some(dispatcher.clone()),
            }
            std::mem::take(&mut state.woken)
        };
        woken.into_iter().for_each(Waker::wake);
    }
}

fn call(dispatcher: Waker) {
    let at_once = HELD_CALLS.with_borrow_mut(|held| match held {
        Some(held) => {
            held.push(dispatcher);
            None
        }
        None => Some(dispatcher),
    });
    if let Some(dispatcher) = at_once {
        dispatcher.wake();
    }
}

/// Holds back the calls to network threads that answers of this thread bring about, so that a
/// thread with many answers calls each of them once.
///
/// [`Self::release`] must come before the thread blocks, and now and then where it never does.
#[derive(Debug)]
pub struct HeldCalls {
    // What it holds is this thread's.
    _not_send: PhantomData<*const ()>,
}

impl HeldCalls {
    /// Begins to hold back on this thread.
    pub fn begin() -> Self {
        HELD_CALLS.with_borrow_mut(|held| {
            held.get_or_insert_default();
        });
        Self {
            _not_send: PhantomData,
        }
    }

    /// Calls everybody who waits to be called.
    pub fn release(&self) {
        let held = HELD_CALLS.with_borrow_mut(|held| held.as_mut().map(std::mem::take));
        held.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Drop for HeldCalls {
    fn drop(&mut self) {
        let held = HELD_CALLS.with_borrow_mut(Option::take);
        held.into_iter().flatten().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use super::*;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Bell {
        fn rung(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_burst_from_another_thread_calls_the_dispatcher_once() {
        let (dispatcher, tasks) = (Arc::new(Bell::default()), [(); 3].map(|()| Arc::default()));
        let tasks: [Arc<Bell>; 3] = tasks;
        let mut gathering = pin!(gather_on_this_thread());
        let waker = Waker::from(Arc::clone(&dispatcher));
        let mut poll = || gathering.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll().is_pending());
        let inbox = Inbox::of_this_thread().expect("this thread gathers");
        let burst = || {
            for task in &tasks {
                inbox.wake(Waker::from(Arc::clone(task)));
            }
        };
        for round in 1..=2 {
            std::thread::scope(|scope| drop(scope.spawn(burst)));
            assert_eq!(dispatcher.rung(), round, "one call for the whole burst");
            assert!(tasks.iter().all(|task| task.rung() == round - 1));
            assert!(poll().is_pending());
            assert!(tasks.iter().all(|task| task.rung() == round));
        }
        burst();
        assert_eq!(
            dispatcher.rung(),
            2,
            "on its own thread nobody needs to be called"
        );
        assert!(tasks.iter().all(|task| task.rung() == 3));
    }

    #[test]
    fn held_calls_are_made_when_released() {
        let dispatcher = Arc::new(Bell::default());
        let inbox = Inbox::default();
        inbox.empty(&Waker::from(Arc::clone(&dispatcher)));
        let held = HeldCalls::begin();
        inbox.wake(Waker::noop().clone());
        inbox.wake(Waker::noop().clone());
        assert_eq!(dispatcher.rung(), 0);
        held.release();
        assert_eq!(dispatcher.rung(), 1);
        inbox.empty(&Waker::from(Arc::clone(&dispatcher)));
        inbox.wake(Waker::noop().clone());
        assert_eq!(dispatcher.rung(), 1);
        drop(held);
        assert_eq!(dispatcher.rung(), 2, "nothing is forgotten");
        inbox.empty(&Waker::from(Arc::clone(&dispatcher)));
        inbox.wake(Waker::noop().clone());
        assert_eq!(dispatcher.rung(), 3, "at once again");
    }
}
