// SPDX-License-Identifier: Apache-2.0
//! Tables of the functions of a library that is loaded at run time.
#![expect(
    unsafe_code,
    reason = "functions of a library are found by their names alone"
)]

use libloading::Library;
use tritongw_types::{Error, Result};

/// A library while its functions are looked up.
pub(crate) struct Opened {
    name: &'static str,
    library: Library,
}

impl Opened {
    /// Loads a library by the name that the system's search path knows.
    pub(crate) fn open(name: &'static str) -> Result<Self> {
        // SAFETY: the initialisers of NVIDIA's libraries have no preconditions. That the file is
        // what the system's search path says it is is all that can be known of a library.
        let library = unsafe { Library::new(name) }.map_err(|source| {
            let message = format!("failed to load '{name}', the library of NVIDIA's driver");
            Error::unavailable(message).with_source(source)
        })?;
        Ok(Self { name, library })
    }

    /// Returns the function of that name.
    ///
    /// # Safety
    /// `F` must be a pointer to a function with the signature of that name.
    pub(crate) unsafe fn function<F: Copy>(&self, symbol: &str) -> Result<F> {
        // SAFETY: the signature is the caller's word.
        let function = unsafe { self.library.get::<F>(symbol) };
        function.map(|function| *function).map_err(|source| {
            let message = format!("'{}' is too old: it has no '{symbol}'", self.name);
            Error::unsupported(message).with_source(source)
        })
    }

    /// Keeps the library loaded for good: its threads outlive every use of it, and so do the
    /// functions that were looked up.
    pub(crate) fn keep(self) {
        std::mem::forget(self.library);
    }
}

/// Declares a table of functions and how it is read from a library.
macro_rules! functions {
    (
        $(#[$meta:meta])*
        struct $table:ident from $library:literal {
            $($field:ident: $symbol:literal ($($argument:ty),*);)*
        }
    ) => {
        $(#[$meta])*
        pub(crate) struct $table {
            $(pub(crate) $field: unsafe extern "C" fn($($argument),*) -> std::ffi::c_int,)*
        }

        impl $table {
            /// Loads the library for good and looks its functions up.
            pub(crate) fn load() -> tritongw_types::Result<Self> {
                let opened = $crate::library::Opened::open($library)?;
                // SAFETY: the signatures are those of NVIDIA's headers, which have kept every one
                // of them since the driver of CUDA 11.
                let table = unsafe {
                    Self { $($field: opened.function($symbol)?,)* }
                };
                opened.keep();
                Ok(table)
            }
        }
    };
}

pub(crate) use functions;

#[cfg(test)]
mod tests {
    use tritongw_types::ErrorCode;

    use super::Opened;

    #[test]
    fn a_library_that_is_not_there_is_named() {
        let Err(error) = Opened::open("libno-such-driver.so.1") else {
            panic!("there is no such library");
        };
        assert_eq!(error.code(), ErrorCode::Unavailable);
        assert_eq!(
            error.message(),
            "failed to load 'libno-such-driver.so.1', the library of NVIDIA's driver"
        );
    }

    #[test]
    fn a_function_that_is_not_there_is_named() {
        let library = Opened::open("libc.so.6").expect("the C library");
        // SAFETY: never called.
        let found = unsafe { library.function::<unsafe extern "C" fn()>("cuNoSuchFunction") };
        let error = found.expect_err("no such function");
        assert_eq!(error.code(), ErrorCode::Unsupported);
        assert_eq!(
            error.message(),
            "'libc.so.6' is too old: it has no 'cuNoSuchFunction'"
        );
    }
}
