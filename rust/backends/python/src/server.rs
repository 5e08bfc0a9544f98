// SPDX-License-Identifier: Apache-2.0
//! The server's side: models, instances, and the supervision of their workers.

pub(crate) mod call_desk;
pub(crate) mod call_request;
pub(crate) mod call_room;
pub(crate) mod concurrency;
pub(crate) mod connection;
pub(crate) mod conversation;
pub(crate) mod cores;
pub(crate) mod encode;
pub(crate) mod environment;
mod execution_clock;
pub(crate) mod in_process;
pub(crate) mod in_process_calls;
pub(crate) mod input_slab;
mod line_budget;
pub(crate) mod model;
pub(crate) mod open_batch;
pub(crate) mod outputs;
mod private_directory;
pub(crate) mod process;
mod ready_desk;
pub(crate) mod receiver;
mod reply_ring;
pub(crate) mod slab_allocator;
pub(crate) mod supervisor;
mod worker_log;
mod worker_output;
pub(crate) mod worker_start;
