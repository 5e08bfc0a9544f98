// SPDX-License-Identifier: Apache-2.0
//! NVIDIA GPUs, where there are any: which there are, their memory, and what they are doing.
//!
//! Owns the two libraries of NVIDIA's driver, `libcuda.so.1` and `libnvidia-ml.so.1`, which are
//! loaded when first asked for. **Invariant:** nothing here is linked, so that everything else
//! builds, runs and is tested where there is no GPU and no driver; whoever asks for one there gets
//! an error that says so. Start with [`Driver::get`].
#![deny(unsafe_code)]

mod device_memory;
mod driver;
mod gpu;
mod ipc_memory;
mod library;
mod meter;
mod status;

pub use device_memory::{DeviceMemory, LEGACY_STREAM};
pub use driver::Driver;
pub use gpu::Gpu;
pub use ipc_memory::IpcMemory;
pub use meter::{GpuMeter, GpuSample};
