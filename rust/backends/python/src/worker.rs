// SPDX-License-Identifier: Apache-2.0
//! The worker's side, for the interpreter that hosts the model: where work comes from, and where
//! responses go.
//!
//! [`connect`] says what there is to do. A [`WorkerSession`] then gives one batch after another;
//! its [`BatchReply`](crate::host::BatchReply) takes the responses, from any thread. A host waits
//! for the next batch by [`WorkerSession::wait`], or takes the session as the
//! [`BatchSource`](crate::host::BatchSource) of its event loop.
//! **Invariant:** when the server is gone the process ends at once, whatever the model does.

mod call_handle;
mod calls;
mod fetched;
mod link;
mod metrics;
mod outbox;
mod output_slab;
mod reply_reader;
mod session;

pub use session::{Assignment, ConfigSession, WorkerSession, connect};
