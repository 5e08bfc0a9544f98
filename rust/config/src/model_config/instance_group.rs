// SPDX-License-Identifier: Apache-2.0
use tritongw_protocol::pb;
use tritongw_protocol::pb::model_config::SchedulingChoice;
use tritongw_protocol::pb::model_instance_group::Kind;
use tritongw_types::{Error, Result};

use crate::platform::TENSORRT_PLAN;

/// Where instances run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceGroupKind {
    /// Not yet decided; gone once a configuration is normalised.
    Auto,
    /// On the processor.
    Cpu,
    /// On the GPUs listed.
    Gpu,
    /// Where the backend says.
    Model,
}

/// Something of which an instance must hold an amount while it executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimiterResource {
    /// Name.
    pub name: String,
    /// Whether all devices share it.
    pub is_global: bool,
    /// Amount.
    pub count: u32,
}

/// What instances must hold, and how often they are chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimiter {
    /// What they must hold.
    pub resources: Vec<RateLimiterResource>,
    /// Weight, 1 or more: 2 has half the chances of 1.
    pub priority: u32,
}

/// A device used beside the main one; all are NVIDIA DLA cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondaryDevice {
    /// Number of the device.
    pub device_id: i64,
}

/// A set of equal instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceGroup {
    /// Name; instances are named after it.
    pub name: String,
    /// Where they run.
    pub kind: InstanceGroupKind,
    /// Instances, per device where there are several; at least one.
    pub count: u32,
    /// GPUs, at least one for [`InstanceGroupKind::Gpu`] and none otherwise.
    pub gpus: Vec<i32>,
    /// Devices used beside.
    pub secondary_devices: Vec<SecondaryDevice>,
    /// Optimisation profiles (TensorRT).
    pub profiles: Vec<String>,
    /// Whether they are loaded but never given a request.
    pub is_passive: bool,
    /// Name of the host policy; empty for the usual one.
    pub host_policy: String,
    /// Rate limiter settings, if there are any.
    pub rate_limiter: Option<RateLimiter>,
}

pub(super) fn from_message(message: &pb::ModelConfig) -> Result<Vec<InstanceGroup>> {
    if matches!(
        message.scheduling_choice,
        Some(SchedulingChoice::EnsembleScheduling(_))
    ) {
        return Ok(Vec::new());
    }
    if message.instance_group.is_empty() {
        return Err(Error::invalid_arg(format!(
            "must specify one or more 'instance group's for {}",
            message.name
        )));
    }
    message
        .instance_group
        .iter()
        .map(|group| instance_group(group, message))
        .collect()
}

fn instance_group(
    group: &pb::ModelInstanceGroup,
    config: &pb::ModelConfig,
) -> Result<InstanceGroup> {
    let subject = format!("instance group {} of model {}", group.name, config.name);
    let kind = check_kind(group, &subject)?;
    check_profiles(group, config, &subject)?;
    let count = u32::try_from(group.count).ok().filter(|count| *count > 0);
    let count = count.ok_or_else(|| {
        Error::invalid_arg(format!(
            "{subject} must have a positive count, got {}",
            group.count
        ))
    })?;
    let secondary_devices = group.secondary_devices.iter();
    Ok(InstanceGroup {
        name: group.name.clone(),
        kind,
        count,
        gpus: group.gpus.clone(),
        secondary_devices: secondary_devices
            .map(|device| SecondaryDevice {
                device_id: device.device_id,
            })
            .collect(),
        profiles: group.profile.clone(),
        is_passive: group.passive,
        host_policy: group.host_policy.clone(),
        rate_limiter: group.rate_limiter.as_ref().map(rate_limiter),
    })
}

fn check_kind(group: &pb::ModelInstanceGroup, subject: &str) -> Result<InstanceGroupKind> {
    let has_gpus = !group.gpus.is_empty();
    let refuse = |text: &str| Err(Error::invalid_arg(format!("{subject} {text}")));
    match Kind::try_from(group.kind) {
        Ok(Kind::Model) if has_gpus => refuse("has kind KIND_MODEL but specifies one or more GPUs"),
        Ok(Kind::Model) => Ok(InstanceGroupKind::Model),
        Ok(Kind::Gpu) if has_gpus => Ok(InstanceGroupKind::Gpu),
        Ok(Kind::Gpu) => refuse("has kind KIND_GPU but specifies no GPUs"),
        Ok(Kind::Cpu) if has_gpus => refuse("has kind KIND_CPU but specifies one or more GPUs"),
        Ok(Kind::Cpu) => Ok(InstanceGroupKind::Cpu),
        Ok(Kind::Auto) => Err(Error::internal(format!(
            "{subject} has unexpected kind KIND_AUTO"
        ))),
        Err(_) => refuse(&format!("has unknown kind {}", group.kind)),
    }
}

fn check_profiles(
    group: &pb::ModelInstanceGroup,
    config: &pb::ModelConfig,
    subject: &str,
) -> Result<()> {
    let platform = &config.platform;
    if platform != TENSORRT_PLAN && !group.profile.is_empty() {
        return Err(Error::invalid_arg(format!(
            "{subject} and platform {platform}specifies profile field which is only supported for \
             TensorRT models"
        )));
    }
    for profile in &group.profile {
        if profile.is_empty() {
            return Err(Error::invalid_arg("profile name must not be empty"));
        }
        let Ok(index) = profile.parse::<i32>() else {
            return Err(Error::invalid_arg(format!(
                "unable to parse '{profile}': stoi"
            )));
        };
        if index < 0 {
            return Err(Error::invalid_arg(format!(
                "{subject} and platform {platform} specifies invalid profile {profile}. The field \
                 should contain the string representation of a non-negative integer."
            )));
        }
    }
    Ok(())
}

fn rate_limiter(limiter: &pb::ModelRateLimiter) -> RateLimiter {
    let resources = limiter
        .resources
        .iter()
        .map(|resource| RateLimiterResource {
            name: resource.name.clone(),
            is_global: resource.global,
            count: resource.count,
        });
    RateLimiter {
        resources: resources.collect(),
        priority: limiter.priority.max(1),
    }
}
