// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

/// How long connections live, and how both sides see that the other is there (C057-C064).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepaliveOptions {
    /// How often a silent client is asked whether it is there; `None` for never
    /// (`--grpc-keepalive-time`). Clients without calls are asked too.
    pub time: Option<Duration>,
    /// How long its answer may take (`--grpc-keepalive-timeout`).
    pub timeout: Duration,
    /// Whether clients without calls may ping as often as others
    /// (`--grpc-keepalive-permit-without-calls`).
    pub permits_without_calls: bool,
    /// What must lie between two pings of a client to which nothing is sent
    /// (`--grpc-http2-min-recv-ping-interval-without-data`).
    pub min_ping_interval: Duration,
    /// Pings too early before a connection is closed; 0 for any number
    /// (`--grpc-http2-max-ping-strikes`).
    pub max_ping_strikes: u32,
    /// Age at which a connection takes no more calls (`--grpc-max-connection-age`).
    pub max_connection_age: Option<Duration>,
    /// How long its calls may go on then (`--grpc-max-connection-age-grace`).
    pub max_connection_age_grace: Option<Duration>,
}

impl Default for KeepaliveOptions {
    fn default() -> Self {
        Self {
            time: Some(Duration::from_secs(7200)),
            timeout: Duration::from_secs(20),
            permits_without_calls: false,
            min_ping_interval: Duration::from_secs(300),
            max_ping_strikes: 2,
            max_connection_age: None,
            max_connection_age_grace: None,
        }
    }
}
