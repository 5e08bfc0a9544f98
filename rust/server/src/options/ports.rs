// SPDX-License-Identifier: Apache-2.0
//! No two services on one address and port (C006).

use std::ops::RangeInclusive;

/// A service that is to listen.
#[derive(Clone, Debug)]
pub(super) struct Listener<'a> {
    /// Its name in Triton's texts.
    pub(super) name: &'static str,
    pub(super) address: &'a str,
    pub(super) port: u16,
    /// Ports that the other services at its address may use.
    pub(super) allowed_for_others: Option<&'a RangeInclusive<u16>>,
}

/// Checks every two of `listeners`; port 0 collides with none, since the system chooses.
pub(super) fn check(listeners: &[Listener<'_>]) -> Result<(), String> {
    for (index, one) in listeners.iter().enumerate() {
        for (other_index, other) in listeners.iter().enumerate() {
            if index == other_index || one.address != other.address {
                continue;
            }
            if let Some(allowed) = one.allowed_for_others
                && !allowed.contains(&other.port)
            {
                return Err(format!(
                    "The server cannot listen to {} requests at port {}, allowed port range is \
                         [{}, {}]\n",
                    other.name,
                    other.port,
                    allowed.start(),
                    allowed.end()
                ));
            }
            if index < other_index && one.port == other.port && one.port != 0 {
                return Err(format!(
                    "The server cannot listen to {} requests and {} requests at the same address \
                         and port {}:{}\n",
                    one.name, other.name, one.address, one.port
                ));
            }
        }
    }
    Ok(())
}
