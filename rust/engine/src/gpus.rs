// SPDX-License-Identifier: Apache-2.0
//! Which GPUs models may use (C092, M049, M051, M057, M108).

use std::collections::BTreeMap;

use tritongw_config::NormalizeOptions;
use tritongw_cuda::{Driver, Gpu, GpuMeter};
use tritongw_types::{Error, Result};

/// GPUs of the machine, and which of them models may have.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Whether there is a driver for them.
    pub has_driver: bool,
    /// All GPUs that the process may see.
    pub gpus: Vec<Gpu>,
    /// Compute capability that a GPU needs for models.
    pub min_compute_capability: f64,
    /// Share of a GPU's memory in use above which it takes no further instance (C095).
    pub load_limits: BTreeMap<i32, f64>,
}

impl GpuOptions {
    /// Looks for GPUs; without NVIDIA's driver there are none.
    pub fn find(min_compute_capability: f64) -> Self {
        let driver = Driver::get();
        if let Err(error) = &driver {
            log::debug!("no GPU is used: {error}");
        }
        let options = Self {
            has_driver: driver.is_ok(),
            gpus: driver.map_or_else(|_| Vec::new(), Driver::gpus),
            min_compute_capability,
            load_limits: BTreeMap::new(),
        };
        for gpu in &options.gpus {
            let (major, minor) = gpu.compute_capability;
            log::info!(
                "GPU {}: {}, compute capability {major}.{minor}{}",
                gpu.id,
                gpu.name,
                match options.is_usable(gpu) {
                    true => "",
                    false => ", too low for models",
                }
            );
        }
        options
    }

    fn is_usable(&self, gpu: &Gpu) -> bool {
        gpu.has_capability(self.min_compute_capability)
    }
}

/// What configurations of models may ask for.
#[derive(Clone, Debug)]
pub(crate) struct UsableGpus {
    has_driver: bool,
    ids: Vec<i32>,
    min_compute_capability: f64,
}

impl UsableGpus {
    pub(crate) fn new(options: &GpuOptions) -> Self {
        let usable = options.gpus.iter().filter(|gpu| options.is_usable(gpu));
        Self {
            has_driver: options.has_driver,
            ids: usable.map(|gpu| gpu.id).collect(),
            min_compute_capability: options.min_compute_capability,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns what normalising the configuration of a model needs to know.
    pub(crate) fn normalize_options(&self, backend_uses_gpus: bool) -> NormalizeOptions<'_> {
        NormalizeOptions {
            gpus: &self.ids,
            has_gpu_support: self.has_driver,
            min_compute_capability: self.min_compute_capability,
            backend_uses_gpus,
            ..NormalizeOptions::default()
        }
    }
}

/// How full a GPU may be before it takes no further instance (C095, S095).
#[derive(Debug, Default)]
pub(crate) struct GpuLoadLimits(BTreeMap<i32, LoadLimit>);

#[derive(Debug)]
struct LoadLimit {
    fraction: f64,
    meter: GpuMeter,
}

impl GpuLoadLimits {
    /// Prepares to measure the GPUs that have a limit.
    ///
    /// # Errors
    /// If they cannot be measured: a limit that nobody holds is none.
    pub(crate) fn new(options: &GpuOptions) -> Result<Self> {
        let mut limits = BTreeMap::new();
        for (id, &fraction) in &options.load_limits {
            let Some(gpu) = options.gpus.iter().find(|gpu| gpu.id == *id) else {
                log::warn!("'--model-load-gpu-limit' names GPU {id}, which is not there");
                continue;
            };
            let meter = GpuMeter::new(std::slice::from_ref(gpu))?;
            limits.insert(*id, LoadLimit { fraction, meter });
        }
        Ok(Self(limits))
    }

    /// Checks that a GPU may take a further instance.
    ///
    /// # Errors
    /// In Triton's words if more of its memory is in use than its limit says.
    pub(crate) fn check(&self, instance: &str, gpu: i32) -> Result<()> {
        let Some(LoadLimit { fraction, meter }) = self.0.get(&gpu) else {
            return Ok(());
        };
        let sample = meter.measure().pop();
        let memory = sample.and_then(|sample| {
            let (total, used) = (sample.memory_total_bytes?, sample.memory_used_bytes?);
            Some((total as f64, used as f64))
        });
        match memory {
            Some((total, used)) if used <= total * fraction => Ok(()),
            Some(_) => Err(Error::unavailable(format!(
                "can not create model '{instance}': memory limit set for GPU {gpu} has exceeded, \
                 model loading is rejected."
            ))),
            None => Err(Error::unavailable(format!(
                "can not create model '{instance}': GPU {gpu} does not tell how much of its memory \
                 is in use"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(id: i32, compute_capability: (i32, i32)) -> Gpu {
        Gpu {
            id,
            name: format!("GPU {id}"),
            uuid: [0; 16],
            compute_capability,
        }
    }

    #[test]
    fn a_gpu_below_the_least_capability_is_not_for_models() {
        let options = GpuOptions {
            has_driver: true,
            gpus: vec![gpu(0, (9, 0)), gpu(1, (7, 0)), gpu(2, (7, 5))],
            min_compute_capability: 7.5,
            ..GpuOptions::default()
        };
        assert_eq!(UsableGpus::new(&options).ids, [0, 2]);
        let every = GpuOptions {
            min_compute_capability: 0.0,
            ..options
        };
        assert_eq!(UsableGpus::new(&every).ids, [0, 1, 2]);
        assert!(UsableGpus::new(&GpuOptions::default()).is_empty());
    }
}
