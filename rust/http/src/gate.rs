// SPDX-License-Identifier: Apache-2.0
use tritongw_engine::Server;
use tritongw_types::{Error, Result};

use crate::route::RouteGroup;

/// Decides whether a request to this group may go on: the one gate before every route.
///
/// # Errors
/// `Unavailable` while the server shuts down (P028); health still answers, to say so.
pub(crate) fn authorise(group: RouteGroup, server: &Server) -> Result<()> {
    if group != RouteGroup::Health && server.is_exiting() {
        return Err(Error::unavailable("Server exiting"));
    }
    Ok(())
}
