// SPDX-License-Identifier: Apache-2.0
use tritongw_types::ApiGroup;

/// A method of one of the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    ServerLive,
    ServerReady,
    ModelReady,
    ServerMetadata,
    ModelMetadata,
    ModelInfer,
    ModelStreamInfer,
    ModelConfig,
    ModelStatistics,
    RepositoryIndex,
    RepositoryModelLoad,
    RepositoryModelUnload,
    SystemSharedMemoryStatus,
    SystemSharedMemoryRegister,
    SystemSharedMemoryUnregister,
    CudaSharedMemoryStatus,
    CudaSharedMemoryRegister,
    CudaSharedMemoryUnregister,
    TraceSetting,
    LogSettings,
    HealthCheck,
    HealthWatch,
    Reflection,
}

const INFERENCE_SERVICE: &str = "inference.GRPCInferenceService";
const HEALTH_SERVICE: &str = "grpc.health.v1.Health";

/// The methods with their names on the wire; the one called most comes first.
pub(crate) const METHODS: [(&str, &str, Method); 24] = [
    (INFERENCE_SERVICE, "ModelInfer", Method::ModelInfer),
    (INFERENCE_SERVICE, "ServerLive", Method::ServerLive),
    (INFERENCE_SERVICE, "ServerReady", Method::ServerReady),
    (INFERENCE_SERVICE, "ModelReady", Method::ModelReady),
    (INFERENCE_SERVICE, "ServerMetadata", Method::ServerMetadata),
    (INFERENCE_SERVICE, "ModelMetadata", Method::ModelMetadata),
    (
        INFERENCE_SERVICE,
        "ModelStreamInfer",
        Method::ModelStreamInfer,
    ),
    (INFERENCE_SERVICE, "ModelConfig", Method::ModelConfig),
    (
        INFERENCE_SERVICE,
        "ModelStatistics",
        Method::ModelStatistics,
    ),
    (
        INFERENCE_SERVICE,
        "RepositoryIndex",
        Method::RepositoryIndex,
    ),
    (
        INFERENCE_SERVICE,
        "RepositoryModelLoad",
        Method::RepositoryModelLoad,
    ),
    (
        INFERENCE_SERVICE,
        "RepositoryModelUnload",
        Method::RepositoryModelUnload,
    ),
    (
        INFERENCE_SERVICE,
        "SystemSharedMemoryStatus",
        Method::SystemSharedMemoryStatus,
    ),
    (
        INFERENCE_SERVICE,
        "SystemSharedMemoryRegister",
        Method::SystemSharedMemoryRegister,
    ),
    (
        INFERENCE_SERVICE,
        "SystemSharedMemoryUnregister",
        Method::SystemSharedMemoryUnregister,
    ),
    (
        INFERENCE_SERVICE,
        "CudaSharedMemoryStatus",
        Method::CudaSharedMemoryStatus,
    ),
    (
        INFERENCE_SERVICE,
        "CudaSharedMemoryRegister",
        Method::CudaSharedMemoryRegister,
    ),
    (
        INFERENCE_SERVICE,
        "CudaSharedMemoryUnregister",
        Method::CudaSharedMemoryUnregister,
    ),
    (INFERENCE_SERVICE, "TraceSetting", Method::TraceSetting),
    (INFERENCE_SERVICE, "LogSettings", Method::LogSettings),
    (HEALTH_SERVICE, "Check", Method::HealthCheck),
    (HEALTH_SERVICE, "Watch", Method::HealthWatch),
    (
        "grpc.reflection.v1.ServerReflection",
        "ServerReflectionInfo",
        Method::Reflection,
    ),
    (
        "grpc.reflection.v1alpha.ServerReflection",
        "ServerReflectionInfo",
        Method::Reflection,
    ),
];

impl Method {
    /// Returns the method of a path `/<service>/<method>`.
    pub(crate) fn from_path(path: &str) -> Option<Self> {
        let (service, name) = path.strip_prefix('/')?.split_once('/')?;
        METHODS
            .iter()
            .find(|(of_service, of_name, _)| *of_name == name && *of_service == service)
            .map(|(_, _, method)| *method)
    }

    /// Returns the group an operator restricts it with (C100-C108).
    pub(crate) fn group(self) -> ApiGroup {
        match self {
            Self::ServerLive
            | Self::ServerReady
            | Self::ModelReady
            | Self::HealthCheck
            | Self::HealthWatch => ApiGroup::Health,
            Self::ServerMetadata | Self::ModelMetadata | Self::Reflection => ApiGroup::Metadata,
            Self::ModelInfer | Self::ModelStreamInfer => ApiGroup::Inference,
            Self::ModelConfig => ApiGroup::ModelConfig,
            Self::ModelStatistics => ApiGroup::Statistics,
            Self::RepositoryIndex | Self::RepositoryModelLoad | Self::RepositoryModelUnload => {
                ApiGroup::ModelRepository
            }
            Self::SystemSharedMemoryStatus
            | Self::SystemSharedMemoryRegister
            | Self::SystemSharedMemoryUnregister
            | Self::CudaSharedMemoryStatus
            | Self::CudaSharedMemoryRegister
            | Self::CudaSharedMemoryUnregister => ApiGroup::SharedMemory,
            Self::TraceSetting => ApiGroup::Trace,
            Self::LogSettings => ApiGroup::Logging,
        }
    }

    /// Returns whether the method takes tensors, and so ends first when the server stops.
    pub(crate) fn is_inference(self) -> bool {
        matches!(self, Self::ModelInfer | Self::ModelStreamInfer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_one_path() {
        for (service, name, method) in METHODS {
            assert_eq!(
                Method::from_path(&format!("/{service}/{name}")),
                Some(method)
            );
        }
    }

    #[test]
    fn other_paths_are_no_methods() {
        let paths = [
            "",
            "/",
            "/ModelInfer",
            "/inference.GRPCInferenceService/modelinfer",
            "/inference.GRPCInferenceService/Check",
            "/grpc.health.v1.Health/ServerLive",
            "inference.GRPCInferenceService/ModelInfer",
        ];
        for path in paths {
            assert_eq!(Method::from_path(path), None, "{path}");
        }
    }
}
