// SPDX-License-Identifier: Apache-2.0
//! Runs Triton's Python models (`model.py`): in supervised worker processes, or in this process.
//!
//! By default each model instance has a worker process of its own, with its own interpreter:
//! isolation, real parallelism, restart after a crash. A model whose configuration has the
//! parameter `TRITONGW_PYTHON_HOST` with the value `in_process` runs in the interpreter that runs
//! the server instead: lowest latency, GIL and crashes shared. `model.py` cannot tell.
//!
//! Settings (`--backend-config=python,<name>=<value>`) and the parameters of a model that concern
//! its workers are read in `settings`; `docs/python-models.md` lists them.
//!
//! Requests travel to a worker, and responses back, as frames in two rings of shared memory
//! (`shared::ring`); large tensors lie in slabs, memfds that both sides map. The server receives
//! large request bodies directly into a slab, and hands large outputs out of one. Nothing has a
//! name in `/dev/shm`, and nothing is left behind by a crash.
//!
//! **Invariant:** what a worker writes is untrusted: every offset, length and count is checked
//! after it was copied out of shared memory. This crate knows no Python: the worker's and the
//! in-process interpreter are driven by the extension module through [`host`] and [`worker`].
//! Start with [`PythonBackend`], then `server::supervisor`.
#![deny(unsafe_code)]

mod backend;
pub mod host;
mod server;
mod settings;
mod shared;
pub mod worker;

pub use backend::{PythonBackend, PythonBackendConfig};
