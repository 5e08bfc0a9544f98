// SPDX-License-Identifier: Apache-2.0
use hyper::HeaderMap;
use tritongw_engine::InferenceRequest;
use tritongw_engine::header_forward::HeaderForward;
use tritongw_types::Result;

/// Metadata of one call, and which of it becomes request parameters (C049, P148).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forward<'a> {
    pub(crate) pattern: Option<&'a HeaderForward>,
    pub(crate) headers: &'a HeaderMap,
}

impl Forward<'_> {
    /// Adds the metadata that matches to `request`.
    ///
    /// # Errors
    /// `InvalidArg` if a name that matches is that of a parameter of the server's own.
    pub(crate) fn apply(&self, request: &mut InferenceRequest) -> Result<()> {
        let Some(pattern) = self.pattern else {
            return Ok(());
        };
        let metadata = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .filter(|(name, _)| !is_of_grpc(name));
        pattern.apply(metadata, request)
    }
}

/// Returns whether a header belongs to gRPC itself, which its libraries keep from applications.
fn is_of_grpc(name: &str) -> bool {
    name.starts_with("grpc-") || matches!(name, "te" | "content-type")
}
