// SPDX-License-Identifier: Apache-2.0
//! Keeps a thread's Python state from one attachment to the next.
//!
//! Attaching a foreign thread makes a state for it, with a stack that is mapped and unmapped, each
//! time: tens of microseconds on a small request. A thread that attaches again and again keeps it.
#![expect(unsafe_code, reason = "Python's thread states have no safe interface")]

use std::ptr::NonNull;

use pyo3::ffi;

/// A thread's state, made once and freed when the thread ends.
struct KeptState {
    saved: Option<NonNull<ffi::PyThreadState>>,
    handle: ffi::PyGILState_STATE,
}

thread_local! {
    static STATE: KeptState = KeptState::new();
}

/// Lets later attachments of this thread use one state. The thread must not be attached.
pub(crate) fn keep() {
    STATE.with(|_| ());
}

/// As [`keep`], unless the thread is one of Python's, which has its state. It must not be attached.
pub(crate) fn keep_if_foreign() {
    // SAFETY: the interpreter runs; the call only looks at the thread.
    if unsafe { ffi::PyGILState_GetThisThreadState() }.is_null() {
        keep();
    }
}

impl KeptState {
    fn new() -> Self {
        // SAFETY: the interpreter runs as long as the server whose thread this is. `Ensure`
        // attaches the thread, `SaveThread` detaches it and leaves the state in place.
        unsafe {
            let handle = ffi::PyGILState_Ensure();
            let saved = NonNull::new(ffi::PyEval_SaveThread());
            Self { saved, handle }
        }
    }
}

impl Drop for KeptState {
    fn drop(&mut self) {
        let Some(saved) = self.saved else { return };
        // SAFETY: runs on the thread that made the state, at its end, detached; `saved` and
        // `handle` are given back once, in reverse order. Without an interpreter nothing is left
        // to give back.
        unsafe {
            if ffi::Py_IsInitialized() != 0 {
                ffi::PyEval_RestoreThread(saved.as_ptr());
                ffi::PyGILState_Release(self.handle);
            }
        }
    }
}
