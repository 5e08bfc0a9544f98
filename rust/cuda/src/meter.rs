// SPDX-License-Identifier: Apache-2.0
//! What GPUs are doing, as NVIDIA's management library (NVML) tells it.
#![expect(unsafe_code, reason = "calls functions of a C library")]

use std::ffi::{CString, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::fmt;
use std::ptr::null_mut;

use tritongw_types::Result;

use crate::gpu::Gpu;
use crate::library::functions;
use crate::status::check;

type Handle = *mut c_void;

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    total: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

functions! {
    /// The functions that are used.
    struct Functions from "libnvidia-ml.so.1" {
        init: "nvmlInit_v2" ();
        handle_by_uuid: "nvmlDeviceGetHandleByUUID" (*const c_char, *mut Handle);
        utilization: "nvmlDeviceGetUtilizationRates" (Handle, *mut Utilization);
        memory: "nvmlDeviceGetMemoryInfo" (Handle, *mut Memory);
        power_usage: "nvmlDeviceGetPowerUsage" (Handle, *mut c_uint);
        power_limit: "nvmlDeviceGetPowerManagementLimit" (Handle, *mut c_uint);
        energy: "nvmlDeviceGetTotalEnergyConsumption" (Handle, *mut c_ulonglong);
    }
}

/// Measures GPUs.
pub struct GpuMeter {
    functions: Functions,
    gpus: Vec<MeteredGpu>,
}

struct MeteredGpu {
    uuid: String,
    handle: Handle,
    // Millijoules used before anything was measured.
    first_energy: Option<u64>,
}

// SAFETY: NVML is thread-safe, and a handle belongs to no thread.
unsafe impl Send for GpuMeter {}
// SAFETY: see above.
unsafe impl Sync for GpuMeter {}

/// What one GPU was doing; what it does not tell is not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuSample {
    /// Its UUID, prefix included.
    pub uuid: String,
    /// Share of the time in which it computed, 0 to 1.
    pub utilization: Option<f64>,
    /// Size of its memory in bytes.
    pub memory_total_bytes: Option<u64>,
    /// Bytes of it in use, by whomever.
    pub memory_used_bytes: Option<u64>,
    /// Watts it takes.
    pub power_watts: Option<f64>,
    /// Watts it may take.
    pub power_limit_watts: Option<f64>,
    /// Joules it has taken since the meter was made.
    pub energy_joules: Option<f64>,
}

impl GpuMeter {
    /// Makes a meter for these GPUs; those that NVML does not know are left out, with a warning.
    ///
    /// # Errors
    /// If there is no NVML, or it does not work.
    pub fn new(gpus: &[Gpu]) -> Result<Self> {
        let functions = Functions::load()?;
        // SAFETY: initialises the library, from any thread.
        check("initialise NVML", unsafe { (functions.init)() }, |_| None)?;
        let mut meter = Self {
            functions,
            gpus: Vec::new(),
        };
        for gpu in gpus {
            match meter.find(gpu) {
                Some(metered) => meter.gpus.push(metered),
                None => log::warn!(
                    "GPU metrics will not be available for device: NVML does not know GPU {} ({})",
                    gpu.id,
                    gpu.name
                ),
            }
        }
        Ok(meter)
    }

    /// Measures each GPU.
    pub fn measure(&self) -> Vec<GpuSample> {
        self.gpus.iter().map(|gpu| self.sample(gpu)).collect()
    }

    fn find(&self, gpu: &Gpu) -> Option<MeteredGpu> {
        // A part of a GPU (MIG) has a UUID of its own.
        ["GPU", "MIG"].into_iter().find_map(|prefix| {
            let uuid = format!("{prefix}-{}", gpu.uuid_text());
            let name = CString::new(uuid.as_str()).ok()?;
            let mut handle = null_mut();
            // SAFETY: reads a NUL-terminated text and writes one handle.
            let status = unsafe { (self.functions.handle_by_uuid)(name.as_ptr(), &raw mut handle) };
            (status == 0).then(|| MeteredGpu {
                uuid,
                handle,
                first_energy: self.read(self.functions.energy, handle),
            })
        })
    }

    fn sample(&self, gpu: &MeteredGpu) -> GpuSample {
        let functions = &self.functions;
        let utilization = self.read(functions.utilization, gpu.handle);
        let memory = self.read(functions.memory, gpu.handle);
        let watts = |milliwatts: c_uint| f64::from(milliwatts) / 1e3;
        let energy = self.read(functions.energy, gpu.handle);
        let energy = gpu.first_energy.zip(energy);
        GpuSample {
            uuid: gpu.uuid.clone(),
            utilization: utilization.map(|percent| f64::from(percent.gpu) / 1e2),
            memory_total_bytes: memory.map(|memory| memory.total),
            memory_used_bytes: memory.map(|memory| memory.used),
            power_watts: self.read(functions.power_usage, gpu.handle).map(watts),
            power_limit_watts: self.read(functions.power_limit, gpu.handle).map(watts),
            energy_joules: energy.map(|(first, now)| now.saturating_sub(first) as f64 / 1e3),
        }
    }

    /// Asks for one value of a GPU.
    fn read<T: Default>(
        &self,
        function: unsafe extern "C" fn(Handle, *mut T) -> c_int,
        handle: Handle,
    ) -> Option<T> {
        let mut value = T::default();
        // SAFETY: the handle is NVML's, which writes one value of the function's type.
        let status = unsafe { function(handle, &raw mut value) };
        (status == 0).then_some(value)
    }
}

impl fmt::Debug for GpuMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GpuMeter")
            .field("gpu_count", &self.gpus.len())
            .finish_non_exhaustive()
    }
}
