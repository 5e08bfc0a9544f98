// SPDX-License-Identifier: Apache-2.0
//! Names the extension module as Triton's C library is named: a compiled backend's
//! `NEEDED libtritonserver.so` then finds the module that is already loaded.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libtritonserver.so");
}
