// SPDX-License-Identifier: Apache-2.0
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::landing::Landing;

/// What a connection has done lately, so that one that does nothing can be closed; and where what
/// it brings is to land.
///
/// Counting costs an addition; a timer for each request would cost more than the request's head.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Who is at the other end.
    peer: Option<SocketAddr>,
    steps: AtomicU64,
    is_working: AtomicBool,
    /// Whether bytes came since the last step: the beginning of a head.
    has_read: AtomicBool,
    landing: Landing,
}

// One task writes at a time; the order against other memory does not matter.
impl Activity {
    /// Begins to watch a connection.
    pub(crate) fn of(peer: Option<SocketAddr>) -> Self {
        Self {
            peer,
            ..Self::default()
        }
    }

    /// Returns who is at the other end, if the system said so.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Notes that the connection moved: a request, a piece of a body.
    pub(crate) fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.has_read.store(false, Ordering::Relaxed);
    }

    /// Notes that bytes came, whatever they are.
    pub(crate) fn read(&self) {
        self.has_read.store(true, Ordering::Relaxed);
    }

    /// Returns where the body of the request under way is to go.
    pub(crate) fn landing(&self) -> &Landing {
        &self.landing
    }

    /// Says whether the next move is the server's.
    pub(crate) fn set_working(&self, is_working: bool) {
        self.is_working.store(is_working, Ordering::Relaxed);
    }

    /// Marks the server as working until the guard is dropped.
    pub(crate) fn work(&self) -> WorkGuard<'_> {
        self.set_working(true);
        WorkGuard(self)
    }
}

/// Marks a connection whose next move is the server's.
#[derive(Debug)]
pub(crate) struct WorkGuard<'a>(&'a Activity);

impl Drop for WorkGuard<'_> {
    fn drop(&mut self) {
        self.0.step();
        self.0.set_working(false);
    }
}

/// How long a connection may take; each takes between one and two times as long to be noticed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For bringing nothing at all.
    pub(crate) idle: Duration,
    /// For bringing a head, however steadily it comes.
    pub(crate) head: Duration,
}

impl Patience {
    /// Returns how often to look.
    pub(crate) fn interval(self) -> Duration {
        self.idle.min(self.head)
    }
}

/// Looks at a connection from time to time.
#[derive(Debug)]
pub(crate) struct Watch {
    patience: Patience,
    steps: u64,
    idle_for: Duration,
    // `None` while no head has begun.
    head_for: Option<Duration>,
}

impl Watch {
    pub(crate) fn new(patience: Patience) -> Self {
        Self {
            patience,
            steps: 0,
            idle_for: Duration::ZERO,
            head_for: None,
        }
    }

    /// Looks once more, an interval after the last time; returns whether the connection may stay.
    pub(crate) fn look(&mut self, activity: &Activity) -> bool {
        let steps = activity.steps.load(Ordering::Relaxed);
        let has_moved = std::mem::replace(&mut self.steps, steps) != steps;
        if has_moved || activity.is_working.load(Ordering::Relaxed) {
            self.idle_for = Duration::ZERO;
            self.head_for = None;
        } else {
            self.idle_for += self.patience.interval();
            if let Some(head_for) = &mut self.head_for {
                *head_for += self.patience.interval();
            }
        }
        if self.head_for.is_none() && activity.has_read.load(Ordering::Relaxed) {
            self.head_for = Some(Duration::ZERO);
        }
        self.idle_for < self.patience.idle
            && self.head_for.is_none_or(|time| time < self.patience.head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(idle: u64, head: u64) -> Watch {
        Watch::new(Patience {
            idle: Duration::from_secs(idle),
            head: Duration::from_secs(head),
        })
    }

    #[test]
    fn a_connection_may_idle_for_so_long() {
        let (activity, mut watch) = (Activity::default(), watch(30, 10));
        assert!(watch.look(&activity) && watch.look(&activity));
        activity.step();
        assert!(watch.look(&activity) && watch.look(&activity) && watch.look(&activity));
        assert!(!watch.look(&activity));
    }

    #[test]
    fn a_head_must_come_in_time_however_steadily_it_drips() {
        let (activity, mut watch) = (Activity::default(), watch(1000, 10));
        activity.read();
        assert!(watch.look(&activity));
        activity.read();
        assert!(!watch.look(&activity));
    }

    #[test]
    fn a_finished_head_starts_over() {
        let (activity, mut watch) = (Activity::default(), watch(1000, 10));
        for _ in 0..10 {
            activity.read();
            assert!(watch.look(&activity));
            activity.step();
            assert!(watch.look(&activity));
        }
    }

    #[test]
    fn the_servers_own_time_does_not_count() {
        let (activity, mut watch) = (Activity::default(), watch(10, 10));
        let working = activity.work();
        assert!((0..100).all(|_| watch.look(&activity)));
        drop(working);
        assert!(watch.look(&activity));
        assert!(!watch.look(&activity));
    }
}
