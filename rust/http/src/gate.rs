// SPDX-License-Identifier: Apache-2.0
use hyper::HeaderMap;
use tritongw_engine::Server;
use tritongw_types::{ApiGroup, Error, RestrictedApis};

use crate::refusal::Refusal;

/// Decides who may go where: the one gate before every route of every HTTP port.
#[derive(Debug)]
pub(crate) struct Gate {
    restricted: RestrictedApis,
}

impl Gate {
    pub(crate) fn new(restricted: RestrictedApis) -> Self {
        Self { restricted }
    }

    /// Lets a request to this group go on, or says why not.
    ///
    /// # Errors
    /// [`Refusal::Restricted`] without the group's key (P037); `Unavailable` while the server
    /// shuts down (P028), when health still answers, to say so.
    pub(crate) fn authorise(
        &self,
        group: ApiGroup,
        headers: &HeaderMap,
        server: &Server,
    ) -> Result<(), Refusal> {
        if let Some(key) = self.restricted.key(group) {
            let mut presented = headers.get_all(key.header()).iter();
            if !presented.any(|value| key.opens_with(value.as_bytes())) {
                return Err(Refusal::Restricted(key.header().to_owned()));
            }
        }
        if group != ApiGroup::Health && server.is_exiting() {
            return Err(Error::unavailable("Server exiting").into());
        }
        Ok(())
    }
}
