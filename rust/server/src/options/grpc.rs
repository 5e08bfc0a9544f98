// SPDX-License-Identifier: Apache-2.0
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};
use tritongw_grpc::{CompressionLevel, KeepaliveOptions, TlsOptions};
use tritongw_types::RestrictedApis;

use super::restricted::RestrictedOption;
use super::value;

const RESTRICTED: RestrictedOption = RestrictedOption {
    name: "grpc-restricted-protocol",
    noun: "protocol",
    header_prefix: "triton-grpc-protocol-",
};

/// The gRPC service.
#[derive(Debug, Args)]
#[command(next_help_heading = "GRPC")]
pub(crate) struct GrpcArgs {
    /// Serves gRPC. Default is true, or false if AIP_MODE=PREDICTION.
    #[arg(long, value_name = "boolean", value_parser = value::boolean, action = ArgAction::Set)]
    pub(super) allow_grpc: Option<bool>,

    /// Address of the gRPC service; Triton's default is 0.0.0.0.
    #[arg(long, default_value = "127.0.0.1", value_name = "string")]
    pub(crate) grpc_address: String,

    /// Port of the gRPC service; 0 takes a free one.
    #[arg(long, default_value = "8001", value_name = "integer", value_parser = value::integer::<u16>)]
    pub(crate) grpc_port: u16,

    /// Shares the gRPC port with other servers that have this option (SO_REUSEPORT).
    #[arg(
        long, default_value = "false", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    pub(crate) reuse_grpc_port: bool,

    /// Metadata whose whole name matches this regular expression becomes request parameters; case
    /// does not count unless the pattern says (?-i).
    #[arg(long, value_name = "string")]
    grpc_header_forward_pattern: Option<String>,

    /// Network threads of the gRPC service, 2 to 128.
    #[arg(long, default_value = "2", value_name = "integer", value_parser = thread_count)]
    pub(crate) grpc_infer_thread_count: usize,

    /// Requests whose memory is kept for the next one.
    #[arg(long, default_value = "8", value_name = "integer", value_parser = value::integer::<u32>)]
    pub(crate) grpc_infer_allocation_pool_size: u32,

    /// Responses of one request that may wait for a slow reader.
    #[arg(
        long, default_value = "2147483647", value_name = "integer",
        value_parser = max_response_pool_size
    )]
    pub(crate) grpc_max_response_pool_size: u32,

    /// Serves gRPC over TLS.
    #[arg(
        long, default_value = "false", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    grpc_use_ssl: bool,

    /// Serves gRPC over TLS and asks clients for their certificate; implies --grpc-use-ssl.
    #[arg(
        long, default_value = "false", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    grpc_use_ssl_mutual: bool,

    /// File with the server's certificate (PEM).
    #[arg(long, value_name = "string")]
    grpc_server_cert: Option<PathBuf>,

    /// File with the server's key (PEM).
    #[arg(long, value_name = "string")]
    grpc_server_key: Option<PathBuf>,

    /// File with the certificate that those of clients lead to (PEM).
    #[arg(long, value_name = "string")]
    grpc_root_cert: Option<PathBuf>,

    /// How hard responses are compressed: none, low, medium or high.
    #[arg(long, default_value = "none", value_name = "string", value_parser = compression_level)]
    pub(crate) grpc_infer_response_compression_level: CompressionLevel,

    /// Milliseconds after which an idle client is asked whether it is there.
    #[arg(
        long, default_value = "7200000", value_name = "integer", value_parser = value::positive::<i32>
    )]
    grpc_keepalive_time: i32,

    /// Milliseconds that its answer may take before the connection is closed.
    #[arg(
        long, default_value = "20000", value_name = "integer", value_parser = value::positive::<i32>
    )]
    grpc_keepalive_timeout: i32,

    /// Asks clients without calls too.
    #[arg(
        long, default_value = "false", value_name = "boolean", value_parser = value::boolean,
        action = ArgAction::Set
    )]
    grpc_keepalive_permit_without_calls: bool,

    /// How often a client is asked while no data is sent; 0 is without limit.
    #[arg(long, default_value = "2", value_name = "integer", value_parser = value::integer::<u32>)]
    grpc_http2_max_pings_without_data: u32,

    /// Milliseconds that must lie between two pings of a client without data; a ping that comes
    /// sooner is a strike.
    #[arg(
        long, default_value = "300000", value_name = "integer", value_parser = value::integer::<u32>
    )]
    grpc_http2_min_recv_ping_interval_without_data: u32,

    /// Strikes after which a connection is closed; 0 is without limit.
    #[arg(long, default_value = "2", value_name = "integer", value_parser = value::integer::<u32>)]
    grpc_http2_max_ping_strikes: u32,

    /// Milliseconds that a connection may live; without limit unless given.
    #[arg(long, value_name = "integer", value_parser = value::positive::<i32>)]
    grpc_max_connection_age: Option<i32>,

    /// Milliseconds that calls may go on after that.
    #[arg(long, value_name = "integer", value_parser = value::positive::<i32>)]
    grpc_max_connection_age_grace: Option<i32>,

    /// Groups of calls that need metadata: <group>[,<group>...]:<key>=<value>, sent as
    /// triton-grpc-protocol-<key>; may be given several times, but a group once. Groups as for
    /// --http-restricted-api.
    #[arg(long, value_name = "<string>:<string>=<string>", value_parser = restriction)]
    grpc_restricted_protocol: Vec<String>,
    /// Which calls need which metadata; complete after [`Self::resolve`].
    #[arg(skip)]
    pub(crate) restricted_apis: RestrictedApis,
}

impl GrpcArgs {
    pub(crate) fn header_forward_pattern(&self) -> Option<&String> {
        self.grpc_header_forward_pattern
            .as_ref()
            .filter(|pattern| !pattern.is_empty())
    }

    /// Returns the files of the TLS service, `None` if it is plain.
    pub(crate) fn tls(&self) -> Option<TlsOptions> {
        let given =
            |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        (self.grpc_use_ssl || self.grpc_use_ssl_mutual).then(|| TlsOptions {
            server_cert: given(&self.grpc_server_cert),
            server_key: given(&self.grpc_server_key),
            root_cert: given(&self.grpc_root_cert),
            is_mutual: self.grpc_use_ssl_mutual,
        })
    }

    pub(crate) fn keepalive(&self) -> KeepaliveOptions {
        let min_ping_interval = self.grpc_http2_min_recv_ping_interval_without_data;
        KeepaliveOptions {
            // gRPC takes the largest number for never.
            time: Some(self.grpc_keepalive_time)
                .filter(|time| *time != i32::MAX)
                .map(milliseconds),
            timeout: milliseconds(self.grpc_keepalive_timeout),
            permits_without_calls: self.grpc_keepalive_permit_without_calls,
            min_ping_interval: Duration::from_millis(min_ping_interval.into()),
            max_ping_strikes: self.grpc_http2_max_ping_strikes,
            max_connection_age: self.grpc_max_connection_age.map(milliseconds),
            max_connection_age_grace: self.grpc_max_connection_age_grace.map(milliseconds),
        }
    }

    /// Reads the restrictions as a whole (C065).
    ///
    /// # Errors
    /// If a group was given twice (C109).
    pub(super) fn resolve(&mut self) -> Result<(), String> {
        self.restricted_apis =
            RESTRICTED.merge(self.grpc_restricted_protocol.iter().map(String::as_str))?;
        Ok(())
    }
}

fn milliseconds(count: i32) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(0))
}

fn restriction(text: &str) -> Result<String, String> {
    RESTRICTED.check(text)
}

fn thread_count(text: &str) -> Result<usize, String> {
    match value::integer::<i32>(text)? {
        count @ 2..=128 => Ok(count as usize),
        _ => Err(
            "invalid argument for --grpc_infer_thread_count. Must be in the range 2 to 128."
                .to_owned(),
        ),
    }
}

fn max_response_pool_size(text: &str) -> Result<u32, String> {
    match value::integer::<i32>(text)? {
        ..=0 => Err("Error: --grpc-max-response-pool-size must be greater than 0.".to_owned()),
        count => Ok(count.unsigned_abs()),
    }
}

fn compression_level(text: &str) -> Result<CompressionLevel, String> {
    match text.to_ascii_lowercase().as_str() {
        "none" => Ok(CompressionLevel::None),
        "low" => Ok(CompressionLevel::Low),
        "medium" => Ok(CompressionLevel::Medium),
        "high" => Ok(CompressionLevel::High),
        _ => Err("invalid argument for --grpc_infer_response_compression_level".to_owned()),
    }
}
