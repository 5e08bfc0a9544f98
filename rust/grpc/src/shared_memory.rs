// SPDX-License-Identifier: Apache-2.0
//! Registering, unregistering and listing shared memory regions (P127, P128).

use tritongw_engine::Server;
use tritongw_engine::shared_memory::{RegionKind, RegionPlace, SharedMemoryRegion};
use tritongw_protocol::pb;
use tritongw_types::{CudaIpcHandle, Error, Result};

/// Takes an empty name for none, as Triton does.
fn region(name: &str) -> Option<&str> {
    (!name.is_empty()).then_some(name)
}

pub(crate) fn system_status(
    server: &Server,
    request: &pb::SystemSharedMemoryStatusRequest,
) -> Result<pb::SystemSharedMemoryStatusResponse> {
    let regions = server
        .shared_memory()
        .regions(RegionKind::System, region(&request.name))?;
    let status = |region: &SharedMemoryRegion| match region.place() {
        RegionPlace::Cuda { .. } => None,
        RegionPlace::System { key, offset } => {
            let status = pb::system_shared_memory_status_response::RegionStatus {
                name: region.name().to_owned(),
                key: key.to_owned(),
                offset,
                byte_size: region.byte_size(),
            };
            Some((status.name.clone(), status))
        }
    };
    Ok(pb::SystemSharedMemoryStatusResponse {
        regions: regions.iter().filter_map(|region| status(region)).collect(),
    })
}

pub(crate) fn system_register(
    server: &Server,
    request: &pb::SystemSharedMemoryRegisterRequest,
) -> Result<pb::SystemSharedMemoryRegisterResponse> {
    server.shared_memory().register_system(
        &request.name,
        &request.key,
        request.offset,
        request.byte_size,
    )?;
    Ok(pb::SystemSharedMemoryRegisterResponse {})
}

pub(crate) fn system_unregister(
    server: &Server,
    request: &pb::SystemSharedMemoryUnregisterRequest,
) -> Result<pb::SystemSharedMemoryUnregisterResponse> {
    server
        .shared_memory()
        .unregister(RegionKind::System, region(&request.name))?;
    Ok(pb::SystemSharedMemoryUnregisterResponse {})
}

pub(crate) fn cuda_status(
    server: &Server,
    request: &pb::CudaSharedMemoryStatusRequest,
) -> Result<pb::CudaSharedMemoryStatusResponse> {
    let regions = server
        .shared_memory()
        .regions(RegionKind::Cuda, region(&request.name))?;
    let status = |region: &SharedMemoryRegion| match region.place() {
        RegionPlace::System { .. } => None,
        RegionPlace::Cuda { device_id } => {
            let status = pb::cuda_shared_memory_status_response::RegionStatus {
                name: region.name().to_owned(),
                device_id: u64::from(device_id.unsigned_abs()),
                byte_size: region.byte_size(),
            };
            Some((status.name.clone(), status))
        }
    };
    Ok(pb::CudaSharedMemoryStatusResponse {
        regions: regions.iter().filter_map(|region| status(region)).collect(),
    })
}

pub(crate) fn cuda_register(
    server: &Server,
    request: &pb::CudaSharedMemoryRegisterRequest,
) -> Result<pb::CudaSharedMemoryRegisterResponse> {
    let manager = server.shared_memory();
    manager.check_cuda(&request.name)?;
    let handle: &CudaIpcHandle = request.raw_handle[..].try_into().map_err(|_| {
        Error::invalid_arg(format!(
            "failed to register CUDA shared memory region '{}': invalid args",
            request.name
        ))
    })?;
    manager.register_cuda(&request.name, handle, request.device_id, request.byte_size)?;
    Ok(pb::CudaSharedMemoryRegisterResponse {})
}

pub(crate) fn cuda_unregister(
    server: &Server,
    request: &pb::CudaSharedMemoryUnregisterRequest,
) -> Result<pb::CudaSharedMemoryUnregisterResponse> {
    server
        .shared_memory()
        .unregister(RegionKind::Cuda, region(&request.name))?;
    Ok(pb::CudaSharedMemoryUnregisterResponse {})
}
