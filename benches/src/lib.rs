// SPDX-License-Identifier: Apache-2.0
//! Criterion suites over the hot paths, one file in `benches/` for each; the library is empty.
//!
//! `cargo bench -p tritongw-benches --bench dynamic_batcher` measures one suite,
//! `cargo bench -p tritongw-benches -- --test` runs every benchmark once, as CI does. Ids read
//! `suite/operation/condition=value`, so that a filter such as `queue=1k` picks a column.
#![forbid(unsafe_code)]
