// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use clap::Args;
use tritongw_engine::HostPolicySettings;

use super::value::{self, Setting};

/// Memory and devices.
#[derive(Debug, Args)]
#[command(next_help_heading = "Memory/Device Management")]
pub(crate) struct DeviceArgs {
    /// Bytes of the pool of pinned host memory; 0 for none.
    #[arg(
        long, default_value = "268435456", value_name = "integer",
        value_parser = value::integer::<i64>
    )]
    pinned_memory_pool_byte_size: i64,

    /// Bytes of a GPU's memory pool, <GPU>:<bytes>; may be given once for each GPU, the last counts.
    #[arg(long, value_name = "<integer>:<integer>", value_parser = device_bytes)]
    cuda_memory_pool_byte_size: Vec<(i32, u64)>,

    /// Largest size of an implicit state that grows, <GPU>:<bytes>; may be given once for each GPU,
    /// the last counts.
    #[arg(long, value_name = "<integer>:<integer>", value_parser = device_bytes)]
    cuda_virtual_address_size: Vec<(i32, u64)>,

    /// Lowest compute capability of a GPU that is used.
    #[arg(long, default_value = "7.5", value_name = "float", value_parser = value::float)]
    pub(crate) min_supported_compute_capability: f64,

    /// Accepted for Triton's sake; has no effect there either.
    #[arg(long, default_value = "0", value_name = "integer", value_parser = value::integer::<i32>)]
    pub(crate) buffer_manager_thread_count: i32,

    /// Setting of a host policy, <policy>,<setting>=<value>, where the setting is numa-node or
    /// cpu-cores; may be given several times.
    #[arg(long, value_name = "<string>,<string>=<string>", value_parser = host_policy)]
    host_policy: Vec<Setting>,

    /// Share of a GPU's memory above which models are not loaded, <GPU>:<fraction>; may be given
    /// once for each GPU.
    #[arg(long, value_name = "<device_id>:<fraction>", value_parser = device_fraction)]
    model_load_gpu_limit: Vec<(i32, f64)>,

    /// Lets clients register shared-memory regions.
    #[arg(
        long, default_value = "false", value_name = "boolean", value_parser = value::boolean,
        action = clap::ArgAction::Set
    )]
    pub(crate) allow_client_shm: bool,
}

impl DeviceArgs {
    /// Returns the size of the pinned pool; a negative size is none (C089).
    pub(crate) fn pinned_memory_pool_byte_size(&self) -> u64 {
        u64::try_from(self.pinned_memory_pool_byte_size).unwrap_or(0)
    }

    /// Returns pool sizes by GPU (C090).
    pub(crate) fn cuda_memory_pools(&self) -> BTreeMap<i32, u64> {
        self.cuda_memory_pool_byte_size.iter().copied().collect()
    }

    /// Returns address sizes by GPU (C091).
    pub(crate) fn cuda_virtual_address_sizes(&self) -> BTreeMap<i32, u64> {
        self.cuda_virtual_address_size.iter().copied().collect()
    }

    /// Returns host policies by name (C094).
    pub(crate) fn host_policies(&self) -> BTreeMap<String, HostPolicySettings> {
        let mut policies: BTreeMap<String, HostPolicySettings> = BTreeMap::new();
        for setting in &self.host_policy {
            let policy = policies.entry(setting.scope.clone()).or_default();
            policy.insert(setting.name.clone(), setting.value.clone());
        }
        policies
    }

    /// Returns load limits by GPU (C095).
    pub(crate) fn model_load_gpu_limits(&self) -> BTreeMap<i32, f64> {
        self.model_load_gpu_limit.iter().copied().collect()
    }

    /// Checks what Triton checks when it builds the server from its options.
    pub(crate) fn check(&self) -> Result<(), String> {
        for setting in &self.host_policy {
            if !matches!(setting.name.as_str(), "numa-node" | "cpu-cores") {
                return Err(format!(
                    "setting host policy: Unsupported - Unsupported host policy setting '{}' is \
                         specified, supported settings are 'numa-node', 'cpu-cores'",
                    setting.name
                ));
            }
        }
        match self
            .model_load_gpu_limit
            .iter()
            .find(|(_, limit)| !(0.0..=1.0).contains(limit))
        {
            None => Ok(()),
            Some((_, limit)) => Err(format!(
                "setting model load GPU limit: Invalid argument - expects limit fraction to be in \
                     range [0.0, 1.0], got {limit:.6}"
            )),
        }
    }
}

fn device_bytes(text: &str) -> Result<(i32, u64), String> {
    value::pair(text, ':', value::integer::<i32>, value::integer::<u64>)
}

fn device_fraction(text: &str) -> Result<(i32, f64), String> {
    value::pair(text, ':', value::integer::<i32>, value::float)
}

fn host_policy(text: &str) -> Result<Setting, String> {
    Setting::read(text)
        .filter(|setting| !setting.scope.is_empty())
        .ok_or_else(|| {
            format!(
                "--host-policy option format is '<policy name>,<setting>=<value>'. Got {text}\n"
            )
        })
}
