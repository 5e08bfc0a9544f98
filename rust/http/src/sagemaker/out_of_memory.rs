// SPDX-License-Identifier: Apache-2.0
//! Which errors tell the platform to make room (P165).

use hyper::StatusCode;
use tritongw_types::Error;

/// Texts of backends that ran out of memory, as Triton looks for them.
const TEXTS: [&str; 17] = [
    "CUDA out of memory",
    "CUDA_OUT_OF_MEMORY",
    "Out of memory",
    "Out Of Memory",
    "out of memory",
    "MemoryError",
    "OutOfMemory",
    "OOM",
    "Dst tensor is not initialized",
    "Src tensor is not initialized",
    "CNMEM_STATUS_OUT_OF_MEMORY",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "Failed to allocate memory",
    "failed to allocate memory",
    "No space left on device",
];

/// Returns the status of a failure: 507 has the platform unload other models and try again.
pub(super) fn status_of(error: &Error) -> StatusCode {
    if TEXTS.iter().any(|text| error.message().contains(text)) {
        StatusCode::INSUFFICIENT_STORAGE
    } else {
        StatusCode::BAD_REQUEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_memory_is_told_by_the_text() {
        for text in [
            "RuntimeError: CUDA out of memory. Tried to allocate 2 GiB",
            "MemoryError: ",
            "[Errno 28] No space left on device",
        ] {
            let status = status_of(&Error::internal(text));
            assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{text}");
        }
        let other = Error::not_found("Request for unknown model: 'room' is not found");
        assert_eq!(status_of(&other), StatusCode::BAD_REQUEST);
    }
}
