// SPDX-License-Identifier: Apache-2.0
//! The decoupled test backends `repeat` (B081) and `square` (B082): any number of responses to a
//! request, over time, after the request itself was let go.
//!
//! Owns the pacing of responses. **Invariant:** a backend of this crate has one thread for the
//! responses of an instance, however many requests are under way, and never sends to a client that
//! does not keep up. Start with [`RepeatBackend`] and [`SquareBackend`].
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod pacer;
mod repeat;
mod signature;
mod square;
mod values;

pub use repeat::RepeatBackend;
pub use square::SquareBackend;
