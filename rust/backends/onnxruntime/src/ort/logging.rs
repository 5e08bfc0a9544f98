// SPDX-License-Identifier: Apache-2.0
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::catch_unwind;

use log::Level;

/// ORT's severities: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal.
const SEVERITY_VERBOSE: c_int = 0;
const SEVERITY_WARNING: c_int = 2;

/// Returns the severity from which on ORT should log: warnings, or everything if we log everything.
pub(super) fn severity() -> c_int {
    if log::max_level() >= log::LevelFilter::Trace {
        SEVERITY_VERBOSE
    } else {
        SEVERITY_WARNING
    }
}

/// Passes a line of ORT's log on to ours.
pub(super) unsafe extern "C" fn pass_on(
    _: *mut c_void,
    severity: c_int,
    _: *const c_char,
    _: *const c_char,
    place: *const c_char,
    message: *const c_char,
) {
    // A panic of a logger must not unwind into C++.
    let _ = catch_unwind(|| {
        // SAFETY: ORT passes NUL-terminated texts that live as long as this call.
        let (place, message) = unsafe { (text(place), text(message)) };
        log::log!(target: "onnxruntime", level(severity), "{message} ({place})");
    });
}

fn level(severity: c_int) -> Level {
    match severity {
        0 => Level::Trace,
        1 => Level::Debug,
        2 => Level::Warn,
        _ => Level::Error,
    }
}

/// # Safety
/// `text` must be null or NUL-terminated, and live for `'a`.
unsafe fn text<'a>(text: *const c_char) -> std::borrow::Cow<'a, str> {
    if text.is_null() {
        return "".into();
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy()
}
