// SPDX-License-Identifier: Apache-2.0
use std::ffi::{CStr, c_char, c_int};

use tritongw_types::{Error, Result};

/// Turns a status of the driver or of the management library into a result; `explain` gives its
/// text, if it has one.
pub(crate) fn check(
    what: &str,
    status: c_int,
    explain: impl FnOnce(c_int) -> Option<String>,
) -> Result<()> {
    if status == 0 {
        return Ok(());
    }
    let reason = explain(status).unwrap_or_else(|| "no text".to_owned());
    Err(Error::internal(format!(
        "failed to {what}: {reason} (error {status})"
    )))
}

/// Copies a text of the library.
///
/// # Safety
/// `text` is null or a NUL-terminated text that lives until this returns.
#[expect(unsafe_code, reason = "texts of a C library")]
pub(crate) unsafe fn copied(text: *const c_char) -> Option<String> {
    // SAFETY: the caller's word, and not null.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text).to_string_lossy().into_owned() })
}

/// Returns the text in a buffer that a library filled: up to the first NUL.
pub(crate) fn text_in(buffer: &[u8]) -> String {
    let text = buffer.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{check, text_in};

    #[test]
    fn a_failure_says_what_was_done_and_why_it_failed() {
        assert!(check("look", 0, |_| None).is_ok());
        let error = check("copy 8 bytes", 700, |_| {
            Some("an illegal access".to_owned())
        });
        assert_eq!(
            error.expect_err("a failure").message(),
            "failed to copy 8 bytes: an illegal access (error 700)"
        );
    }

    #[test]
    fn a_name_ends_at_its_first_nul() {
        assert_eq!(text_in(b"NVIDIA H100\0\0x"), "NVIDIA H100");
        assert_eq!(text_in(b""), "");
    }
}
