// SPDX-License-Identifier: Apache-2.0
use tritongw_protocol::pb;
use tritongw_protocol::pb::model_config::SchedulingChoice;
use tritongw_protocol::pb::model_instance_group::Kind;
use tritongw_protocol::pb::model_optimization_policy::PinnedMemoryBuffer;
use tritongw_protocol::pb::model_sequence_batching::StrategyChoice;
use tritongw_protocol::pb::model_version_policy::{Latest, PolicyChoice};
use tritongw_types::{Error, Result};

const SEQUENCE_IDLE_DEFAULT_MICROSECONDS: u64 = 1_000_000;
const CPU_INSTANCE_COUNT: i32 = 2;

/// What [`normalize`] knows of the machine and of the backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct NormalizeOptions<'a> {
    /// GPUs that models may use, ascending.
    pub gpus: &'a [i32],
    /// Whether the server can use GPUs at all.
    pub has_gpu_support: bool,
    /// The least compute capability of a GPU in `gpus`, for messages.
    pub min_compute_capability: f64,
    /// Whether the model's backend can execute on GPUs: where it cannot, a kind that is left open
    /// is the CPU. Triton gives such a model a GPU, and its backend then fails.
    pub backend_uses_gpus: bool,
    /// Instance groups the backend would rather have, best first.
    pub preferred_groups: &'a [pb::ModelInstanceGroup],
}

/// Fills in what a configuration leaves to the server; doing it again changes nothing.
///
/// # Errors
/// An instance group asks for a GPU that is not there.
pub fn normalize(config: &mut pb::ModelConfig, options: &NormalizeOptions<'_>) -> Result<()> {
    config.version_policy.get_or_insert_with(latest_version);
    normalize_scheduling(config);
    if matches!(
        config.scheduling_choice,
        Some(SchedulingChoice::EnsembleScheduling(_))
    ) {
        return Ok(());
    }
    let optimization = config.optimization.get_or_insert_default();
    let enabled = PinnedMemoryBuffer { enable: true };
    optimization.input_pinned_memory.get_or_insert(enabled);
    optimization.output_pinned_memory.get_or_insert(enabled);
    normalize_instance_groups(config, options)
}

fn latest_version() -> pb::ModelVersionPolicy {
    pb::ModelVersionPolicy {
        policy_choice: Some(PolicyChoice::Latest(Latest { num_versions: 1 })),
    }
}

fn normalize_scheduling(config: &mut pb::ModelConfig) {
    let max_batch_size = config.max_batch_size;
    let prefer_full_batch = |sizes: &mut Vec<i32>| {
        if sizes.is_empty() && max_batch_size > 0 {
            sizes.push(max_batch_size);
        }
    };
    match &mut config.scheduling_choice {
        Some(SchedulingChoice::DynamicBatching(batching)) => {
            prefer_full_batch(&mut batching.preferred_batch_size);
        }
        Some(SchedulingChoice::SequenceBatching(batching)) => {
            if batching.max_sequence_idle_microseconds == 0 {
                batching.max_sequence_idle_microseconds = SEQUENCE_IDLE_DEFAULT_MICROSECONDS;
            }
            if let Some(StrategyChoice::Oldest(oldest)) = &mut batching.strategy_choice {
                prefer_full_batch(&mut oldest.preferred_batch_size);
            }
        }
        Some(SchedulingChoice::EnsembleScheduling(_)) | None => {}
    }
}

fn normalize_instance_groups(
    config: &mut pb::ModelConfig,
    options: &NormalizeOptions<'_>,
) -> Result<()> {
    if config.instance_group.is_empty() {
        config
            .instance_group
            .push(implicit_group(&config.name, options));
    }
    for (index, group) in config.instance_group.iter_mut().enumerate() {
        if group.name.is_empty() {
            group.name = format!("{}_{index}", config.name);
        }
        if group.kind == Kind::Auto as i32 {
            let has_all = group.gpus.iter().all(|gpu| options.gpus.contains(gpu));
            let is_gpu = options.backend_uses_gpus && !options.gpus.is_empty() && has_all;
            group.set_kind(if is_gpu { Kind::Gpu } else { Kind::Cpu });
        }
        apply_preferences(group, options);
        if group.count < 1 {
            group.count = default_count(group.kind(), &config.backend);
        }
        if group.kind() == Kind::Gpu && group.gpus.is_empty() {
            group.gpus = options.gpus.to_vec();
        }
        check_gpus(group, &config.name, options)?;
    }
    Ok(())
}

/// Returns the one group of a model that names none: the first preferred one that can be had.
fn implicit_group(model: &str, options: &NormalizeOptions<'_>) -> pb::ModelInstanceGroup {
    let mut group = pb::ModelInstanceGroup {
        name: model.to_owned(),
        ..Default::default()
    };
    let mut preferred = options.preferred_groups.iter();
    let usable = preferred.find(|group| group.kind() != Kind::Gpu || !options.gpus.is_empty());
    if let Some(preferred) = usable {
        group.kind = preferred.kind;
        group.count = preferred.count;
        group.gpus = match preferred.kind() {
            Kind::Gpu => supported(&preferred.gpus, options),
            Kind::Auto => preferred.gpus.clone(),
            Kind::Cpu | Kind::Model => Vec::new(),
        };
    }
    group
}

/// Takes from the preferred groups of the same kind what the group leaves open.
fn apply_preferences(group: &mut pb::ModelInstanceGroup, options: &NormalizeOptions<'_>) {
    for preferred in options
        .preferred_groups
        .iter()
        .filter(|other| other.kind == group.kind)
    {
        if group.kind() == Kind::Gpu && group.gpus.is_empty() && !preferred.gpus.is_empty() {
            group.gpus = supported(&preferred.gpus, options);
            if group.gpus.is_empty() {
                continue;
            }
        }
        if group.count < 1 && preferred.count > 0 {
            group.count = preferred.count;
        }
    }
}

fn supported(gpus: &[i32], options: &NormalizeOptions<'_>) -> Vec<i32> {
    gpus.iter()
        .copied()
        .filter(|gpu| options.gpus.contains(gpu))
        .collect()
}

/// Two instances pay off where the framework leaves cores idle between executions.
fn default_count(kind: Kind, backend: &str) -> i32 {
    match (kind, backend) {
        (Kind::Cpu, "onnxruntime" | "tensorflow") => CPU_INSTANCE_COUNT,
        _ => 1,
    }
}

fn check_gpus(
    group: &pb::ModelInstanceGroup,
    model: &str,
    options: &NormalizeOptions<'_>,
) -> Result<()> {
    if group.kind() != Kind::Gpu {
        return Ok(());
    }
    let subject = format!("instance group {} of model {model}", group.name);
    let refuse = |text: &str| Err(Error::invalid_arg(format!("{subject} {text}")));
    if !options.has_gpu_support {
        return refuse("has kind KIND_GPU but server does not support GPUs");
    }
    if group.gpus.is_empty() {
        return refuse("has kind KIND_GPU but no GPUs are available");
    }
    let Some(gpu) = group.gpus.iter().find(|gpu| !options.gpus.contains(gpu)) else {
        return Ok(());
    };
    let gpus: Vec<String> = options.gpus.iter().map(i32::to_string).collect();
    refuse(&format!(
        "specifies invalid or unsupported gpu id {gpu}. GPUs with at least the minimum required \
         CUDA compute compatibility of {:.6} are: {}",
        options.min_compute_capability,
        gpus.join(", ")
    ))
}

#[cfg(test)]
mod tests;
