// SPDX-License-Identifier: Apache-2.0
//! What a server and a worker process have in common: memory, rings, frames, wake-ups.

pub(crate) mod call_message;
pub(crate) mod channel;
pub(crate) mod control;
pub(crate) mod descriptor;
pub(crate) mod free_list;
#[cfg(test)]
mod fuzz;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod message;
pub(crate) mod metric_message;
pub(crate) mod ring;
pub(crate) mod space;
pub(crate) mod wake;
pub(crate) mod wire;
