// SPDX-License-Identifier: Apache-2.0
use tritongw_protocol::pb;
use tritongw_types::{Error, Result};

pub(crate) const ENSEMBLE: &str = "ensemble";
pub(crate) const TENSORRT_PLAN: &str = "tensorrt_plan";
pub(crate) const TENSORFLOW_SAVEDMODEL: &str = "tensorflow_savedmodel";
pub(crate) const TENSORFLOW_GRAPHDEF: &str = "tensorflow_graphdef";
pub(crate) const ONNXRUNTIME_ONNX: &str = "onnxruntime_onnx";
pub(crate) const PYTORCH_LIBTORCH: &str = "pytorch_libtorch";
pub(crate) const PYTORCH_AOTI: &str = "torch_aoti";

/// Backends whose platform Triton knows, with the platforms each may have.
const PLATFORMS: [(&str, &[&str]); 4] = [
    ("tensorflow", &[TENSORFLOW_SAVEDMODEL, TENSORFLOW_GRAPHDEF]),
    ("tensorrt", &[TENSORRT_PLAN]),
    ("onnxruntime", &[ONNXRUNTIME_ONNX]),
    ("pytorch", &[PYTORCH_LIBTORCH, PYTORCH_AOTI, "libtorch"]),
];

/// Checks that the model has a name, and a backend that goes with its platform.
pub(crate) fn check(config: &pb::ModelConfig) -> Result<()> {
    let pb::ModelConfig {
        name,
        platform,
        backend,
        ..
    } = config;
    if name.is_empty() {
        return Err(Error::invalid_arg(
            "model configuration must specify 'name'",
        ));
    }
    if backend.is_empty() {
        if platform == ENSEMBLE {
            return Ok(());
        }
        return Err(Error::invalid_arg(format!(
            "unexpected platform type '{platform}' for {name}"
        )));
    }
    if platform == ENSEMBLE {
        return Err(Error::invalid_arg(format!(
            "Ensemble model '{name}' must have platform type '{platform}' and empty backend type"
        )));
    }
    let known = PLATFORMS.iter().find(|(known, _)| known == backend);
    if known.is_some_and(|(_, platforms)| !platforms.contains(&platform.as_str())) {
        return Err(Error::invalid_arg(format!(
            "unexpected 'platform' and 'backend' pair, got:{platform}, {backend}"
        )));
    }
    Ok(())
}
