// SPDX-License-Identifier: Apache-2.0
//! Where strangers may load models: a load request can bring code.

use std::net::IpAddr;

use tritongw_engine::ModelControlMode;
use tritongw_types::{ApiGroup, RestrictedApis};

use super::ServeArgs;

/// Returns a warning for each door that lets anybody who reaches this machine load models.
pub(super) fn warnings(args: &ServeArgs) -> Vec<String> {
    let repository = &args.repository;
    if repository.control_mode() != ModelControlMode::Explicit || !repository.allow_model_upload {
        return Vec::new();
    }
    let http = args.allows_http().then_some((
        "http",
        args.http.http_address.as_str(),
        &args.http.restricted_apis,
        "--http-restricted-api",
    ));
    let grpc = args.allows_grpc().then_some((
        "grpc",
        args.grpc.grpc_address.as_str(),
        &args.grpc.restricted_apis,
        "--grpc-restricted-protocol",
    ));
    [http, grpc]
        .into_iter()
        .flatten()
        .filter(|(_, address, restricted, _)| is_open(address, restricted))
        .map(|(door, address, _, option)| {
            format!(
                "whoever reaches the {door} service at {address} may load models of their own, \
                 which may be code: restrict model-repository with '{option}', or set \
                 '--allow-model-upload=false'"
            )
        })
        .collect()
}

fn is_open(address: &str, restricted: &RestrictedApis) -> bool {
    let is_loopback = address == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    !is_loopback && restricted.key(ApiGroup::ModelRepository).is_none()
}
