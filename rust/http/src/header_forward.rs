// SPDX-License-Identifier: Apache-2.0
//! Headers that become request parameters (C041, P057).

use hyper::HeaderMap;
use tritongw_engine::{InferenceRequest, header_forward};
use tritongw_types::Result;

/// Chooses headers by name.
#[derive(Debug)]
pub(crate) struct HeaderForward(header_forward::HeaderForward);

impl HeaderForward {
    /// Compiles a pattern that a whole name must match.
    ///
    /// # Errors
    /// `InvalidArg` if it is no regular expression.
    pub(crate) fn new(pattern: &str) -> Result<Self> {
        header_forward::HeaderForward::new(pattern).map(Self)
    }

    /// Adds the headers that match as string parameters.
    ///
    /// # Errors
    /// `InvalidArg` if a matching header has the name of a parameter that is the server's own.
    pub(crate) fn apply(&self, headers: &HeaderMap, request: &mut InferenceRequest) -> Result<()> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        self.0.apply(headers, request)
    }
}
