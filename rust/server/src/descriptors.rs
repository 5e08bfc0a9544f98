// SPDX-License-Identifier: Apache-2.0
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets this process have as many open files as the system allows it: each connection is one, and
/// the usual limit of 1024 is meant for programs that call `select`.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        log::warn!("failed to raise the limit on open files: {error}");
    }
}
