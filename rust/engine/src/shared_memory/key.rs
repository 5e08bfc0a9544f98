// SPDX-License-Identifier: Apache-2.0
//! Which objects a client may name (P086, P087).

use tritongw_types::{Error, Result};

/// Where Linux keeps POSIX shared memory objects; the C library knows no other place.
const DIRECTORY: &str = "/dev/shm";

/// Names of Triton's own memory for Python models, not for clients.
const RESERVED_PREFIX: &str = "triton_python_backend_shm_region_";

/// Longest name of a file.
const MAX_LENGTH: usize = 255;

/// Returns the path of the object with this key, which may begin with slashes.
///
/// # Errors
/// `InvalidArg` for keys that are not for clients; `Internal`, as for an object that is not there,
/// for those that can name none.
pub(super) fn object_path(region: &str, key: &str) -> Result<String> {
    let refused = |reason: &str| {
        Error::invalid_arg(format!(
            "cannot register shared memory region '{region}' with key '{key}' as {reason}"
        ))
    };
    let name = key.trim_start_matches('/');
    if name.is_empty() && !key.is_empty() {
        return Err(refused("the key contains only slashes"));
    }
    if name.starts_with(RESERVED_PREFIX) {
        return Err(refused(&format!(
            "the key contains the reserved prefix '{RESERVED_PREFIX}'"
        )));
    }
    let names_no_object = name.is_empty()
        || name == "."
        || name == ".."
        || name.contains(['/', '\0'])
        || name.len() > MAX_LENGTH;
    if names_no_object {
        return Err(unable_to_open(key));
    }
    Ok(format!("{DIRECTORY}/{name}"))
}

/// What a client hears of an object that cannot be opened, whatever the reason (P089).
pub(super) fn unable_to_open(key: &str) -> Error {
    Error::internal(format!("Unable to open shared memory region: '{key}'"))
}

#[cfg(test)]
mod tests {
    use tritongw_types::ErrorCode;

    use super::*;

    #[test]
    fn keys_with_and_without_slashes_name_one_object() {
        for key in ["data", "/data", "//data"] {
            assert_eq!(object_path("r", key).expect("a name"), "/dev/shm/data");
        }
    }

    #[test]
    fn keys_that_are_not_for_clients_are_invalid() {
        for key in ["/", "///"] {
            let error = object_path("r", key).expect_err("no name");
            assert_eq!(error.code(), ErrorCode::InvalidArg);
            assert_eq!(
                error.message(),
                format!(
                    "cannot register shared memory region 'r' with key '{key}' as the key contains \
                     only slashes"
                )
            );
        }
        for slashes in ["", "/", "//"] {
            let key = format!("{slashes}triton_python_backend_shm_region_7");
            let error = object_path("r", &key).expect_err("reserved");
            assert_eq!(
                error.message(),
                format!(
                    "cannot register shared memory region 'r' with key '{key}' as the key contains \
                     the reserved prefix 'triton_python_backend_shm_region_'"
                )
            );
        }
    }

    #[test]
    fn keys_that_lead_elsewhere_name_no_object() {
        let long = "x".repeat(256);
        for key in [
            "",
            ".",
            "/..",
            "a/b",
            "/../etc/passwd",
            "a\0b",
            long.as_str(),
        ] {
            let error = object_path("r", key).expect_err("no object");
            assert_eq!(error.code(), ErrorCode::Internal, "{key}");
        }
    }
}
