// SPDX-License-Identifier: Apache-2.0
//! `tritongw._core`: the extension module.
use pyo3::prelude::*;

/// The Rust core of tritongw.
#[pymodule(gil_used = false)]
mod _core {
    use super::*;

    #[pyfunction]
    fn main(py: Python<'_>, argv: Vec<String>) -> i32 {
        py.detach(|| i32::from(argv.is_empty()))
    }
}
