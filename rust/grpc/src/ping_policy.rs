// SPDX-License-Identifier: Apache-2.0
//! How often a client may ping (C059, C061, C062): one that does so all the time costs work for
//! nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How often an idle client without calls may ping unless it may without limit.
const IDLE_INTERVAL: Duration = Duration::from_secs(2 * 3600);

/// What is asked of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PingPolicy {
    /// Whether calls do not matter for how often a client may ping.
    pub(crate) permits_without_calls: bool,
    /// What must lie between two pings while the server sends nothing.
    pub(crate) min_interval: Duration,
    /// Pings too early that are passed over; 0 for all.
    pub(crate) max_strikes: u32,
}

/// What the calls of a connection tell its pings' judge.
#[derive(Debug, Default)]
pub(crate) struct CallActivity {
    has_sent: AtomicBool,
    open_calls: AtomicUsize,
}

/// A call under way, until dropped.
#[derive(Debug)]
pub(crate) struct ActiveCall(Arc<CallActivity>);

impl ActiveCall {
    pub(crate) fn begin(activity: &Arc<CallActivity>) -> Self {
        activity.open_calls.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }

    /// Notes that the server sends something.
    pub(crate) fn note_sent(&self) {
        self.0.has_sent.store(true, Ordering::Relaxed);
    }
}

impl Drop for ActiveCall {
    fn drop(&mut self) {
        self.0.open_calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Judges the pings of one connection.
///
/// Triton: `PingAbusePolicy` of gRPC.
#[derive(Debug)]
pub(crate) struct PingJudge {
    policy: PingPolicy,
    activity: Arc<CallActivity>,
    last_ns: Option<u64>,
    strikes: u32,
}

impl PingJudge {
    pub(crate) fn new(policy: PingPolicy, activity: Arc<CallActivity>) -> Self {
        Self {
            policy,
            activity,
            last_ns: None,
            strikes: 0,
        }
    }

    /// Takes a ping; returns whether it is one too many.
    pub(crate) fn is_too_many(&mut self, now_ns: u64) -> bool {
        if self.activity.has_sent.swap(false, Ordering::Relaxed) {
            self.last_ns = None;
            self.strikes = 0;
        }
        let is_idle = self.activity.open_calls.load(Ordering::Relaxed) == 0;
        let interval = if is_idle && !self.policy.permits_without_calls {
            IDLE_INTERVAL
        } else {
            self.policy.min_interval
        };
        let since = self.last_ns.map(|last_ns| now_ns.saturating_sub(last_ns));
        if since.is_none_or(|since| u128::from(since) >= interval.as_nanos()) {
            self.last_ns = Some(now_ns);
            return false;
        }
        self.strikes = self.strikes.saturating_add(1);
        self.policy.max_strikes != 0 && self.strikes > self.policy.max_strikes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn judge(max_strikes: u32) -> (PingJudge, Arc<CallActivity>) {
        let activity = Arc::<CallActivity>::default();
        let policy = PingPolicy {
            permits_without_calls: false,
            min_interval: Duration::from_secs(10),
            max_strikes,
        };
        (PingJudge::new(policy, Arc::clone(&activity)), activity)
    }

    #[test]
    fn early_pings_are_strikes_until_there_are_too_many() {
        let (mut judge, activity) = judge(2);
        let _call = ActiveCall::begin(&activity);
        let verdicts = [0, 10, 11, 12, 13].map(|second| judge.is_too_many(second * SECOND));
        assert_eq!(verdicts, [false, false, false, false, true]);
    }

    #[test]
    fn what_the_server_sends_makes_up_for_strikes() {
        let (mut judge, activity) = judge(1);
        let call = ActiveCall::begin(&activity);
        assert!(!judge.is_too_many(0));
        assert!(!judge.is_too_many(SECOND));
        call.note_sent();
        assert!(!judge.is_too_many(2 * SECOND));
        assert!(!judge.is_too_many(3 * SECOND));
        assert!(judge.is_too_many(4 * SECOND));
    }

    #[test]
    fn clients_without_calls_have_more_patience_to_show() {
        let (mut judge, activity) = judge(1);
        drop(ActiveCall::begin(&activity));
        assert!(!judge.is_too_many(0));
        assert!(!judge.is_too_many(60 * SECOND));
        assert!(judge.is_too_many(120 * SECOND));
        assert!(!judge.is_too_many(7200 * SECOND + 1));
    }

    #[test]
    fn zero_is_without_limit() {
        let (mut judge, _) = judge(0);
        assert!((0..100).all(|_| !judge.is_too_many(0)));
    }
}
