// SPDX-License-Identifier: Apache-2.0
//! What all models of a server share.

use std::sync::Arc;

use crate::host_policy::HostPolicies;
use crate::rate_limiter::RateLimiter;
use crate::timer::Timer;

/// What schedulers and instances of all models have in common.
#[derive(Clone)]
pub(crate) struct SharedServices {
    pub(crate) timer: Timer,
    /// Who gives executions their turns, if they do not just begin.
    pub(crate) rate_limiter: Option<Arc<RateLimiter>>,
    /// Where instances run.
    pub(crate) host_policies: Arc<HostPolicies>,
}
