// SPDX-License-Identifier: Apache-2.0
//! Registering, unregistering and listing shared memory regions (P127, P128).

use tritongw_engine::Server;
use tritongw_engine::shared_memory::SharedMemoryRegion;
use tritongw_protocol::pb;
use tritongw_types::Result;

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
        .system_regions(region(&request.name))?;
    let status =
        |region: &SharedMemoryRegion| pb::system_shared_memory_status_response::RegionStatus {
            name: region.name().to_owned(),
            key: region.key().to_owned(),
            offset: region.offset(),
            byte_size: region.byte_size(),
        };
    Ok(pb::SystemSharedMemoryStatusResponse {
        regions: regions
            .iter()
            .map(|region| (region.name().to_owned(), status(region)))
            .collect(),
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
        .unregister_system(region(&request.name))?;
    Ok(pb::SystemSharedMemoryUnregisterResponse {})
}

pub(crate) fn cuda_status(
    server: &Server,
    request: &pb::CudaSharedMemoryStatusRequest,
) -> Result<pb::CudaSharedMemoryStatusResponse> {
    server.shared_memory().cuda_regions(region(&request.name))?;
    Ok(pb::CudaSharedMemoryStatusResponse::default())
}

pub(crate) fn cuda_register(
    server: &Server,
    request: &pb::CudaSharedMemoryRegisterRequest,
) -> Result<pb::CudaSharedMemoryRegisterResponse> {
    server.shared_memory().register_cuda(&request.name)?;
    Ok(pb::CudaSharedMemoryRegisterResponse {})
}

pub(crate) fn cuda_unregister(
    server: &Server,
    _: &pb::CudaSharedMemoryUnregisterRequest,
) -> Result<pb::CudaSharedMemoryUnregisterResponse> {
    server.shared_memory().unregister_cuda()?;
    Ok(pb::CudaSharedMemoryUnregisterResponse {})
}
