// SPDX-License-Identifier: Apache-2.0
//! `ModelStreamInfer`: many requests and many responses on one call (P149-P157).
//!
//! A task reads requests while the answer's body writes responses; between them lies the queue of
//! the call, which alone knows what is under way. **Invariant:** what has not been written is
//! bounded: above the limit no request is read, and decoupled models are held back. Start with
//! [`StreamCall`].

mod call;
mod encode;
mod order;
mod queue;
mod sink;
mod writer;

pub(crate) use call::{StreamCall, StreamShared};
pub(crate) use queue::StreamLimits;
