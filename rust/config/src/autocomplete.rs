// SPDX-License-Identifier: Apache-2.0
use tritongw_protocol::pb;
use tritongw_types::{Error, Result};

use crate::platform::{
    ONNXRUNTIME_ONNX, PYTORCH_AOTI, PYTORCH_LIBTORCH, TENSORFLOW_GRAPHDEF, TENSORFLOW_SAVEDMODEL,
    TENSORRT_PLAN,
};

const SAVED_MODEL: &str = "model.savedmodel";
const GRAPH_DEF: &str = "model.graphdef";
const LIBTORCH_FILE: &str = "model.pt";
const AOTI_FILE: &str = "model.pt2";

/// A backend that is known by one file name.
struct Rule {
    backend: &'static str,
    platform: Option<&'static str>,
    file: &'static str,
    may_be_directory: bool,
}

const TENSORRT: Rule = Rule {
    backend: "tensorrt",
    platform: Some(TENSORRT_PLAN),
    file: "model.plan",
    may_be_directory: false,
};

/// A large ONNX model is a directory that also holds its weights.
const ONNXRUNTIME: Rule = Rule {
    backend: "onnxruntime",
    platform: Some(ONNXRUNTIME_ONNX),
    file: "model.onnx",
    may_be_directory: true,
};

const OPENVINO: Rule = Rule {
    backend: "openvino",
    platform: None,
    file: "model.xml",
    may_be_directory: true,
};

const PYTHON: Rule = Rule {
    backend: "python",
    platform: None,
    file: "model.py",
    may_be_directory: true,
};

/// Fills in name, platform, backend and `default_model_filename` from each other and from `files`,
/// what the first version directory holds; names of directories end in `/`.
///
/// What the configuration gives stays as it is.
///
/// # Errors
/// Nothing tells the backend.
pub fn guess_backend(config: &mut pb::ModelConfig, model_name: &str, files: &[&str]) -> Result<()> {
    if config.name.is_empty() {
        model_name.clone_into(&mut config.name);
    }
    let is_known = complete_tensorflow(config, files)
        || TENSORRT.complete(config, files)
        || ONNXRUNTIME.complete(config, files)
        || OPENVINO.complete(config, files)
        || complete_pytorch(config, files)
        || PYTHON.complete(config, files);
    if is_known || !tells_nothing(config) {
        return Ok(());
    }
    let Some((_, backend)) = model_name.split_once('.') else {
        return Err(Error::invalid_arg(format!(
            "Invalid model name: Could not determine backend for model '{model_name}' with no \
             backend in model configuration. Expected model name of the form \
             'model.<backend_name>'."
        )));
    };
    backend.clone_into(&mut config.backend);
    config.default_model_filename = format!("model.{backend}");
    Ok(())
}

/// Returns the error for a model without a configuration that nothing is to complete.
pub fn configuration_not_provided(model_name: &str) -> Error {
    Error::not_found(format!(
        "model configuration is not provided for model '{model_name}'"
    ))
}

impl Rule {
    /// Returns whether the backend is this one, with its fields filled in.
    fn complete(&self, config: &mut pb::ModelConfig, files: &[&str]) -> bool {
        if config.backend.is_empty() {
            let is_named = self
                .platform
                .is_some_and(|platform| config.platform == platform)
                || config.default_model_filename == self.file;
            let is_found = || tells_nothing(config) && self.is_among(files);
            if is_named || is_found() {
                self.backend.clone_into(&mut config.backend);
            }
        }
        if config.backend != self.backend {
            return false;
        }
        fill(&mut config.platform, self.platform.unwrap_or_default());
        fill(&mut config.default_model_filename, self.file);
        true
    }

    fn is_among(&self, files: &[&str]) -> bool {
        has_file(files, self.file) || self.may_be_directory && has_directory(files, self.file)
    }
}

fn complete_tensorflow(config: &mut pb::ModelConfig, files: &[&str]) -> bool {
    let may_be = matches!(config.backend.as_str(), "" | "tensorflow");
    if config.platform.is_empty() && may_be {
        let platform = match config.default_model_filename.as_str() {
            SAVED_MODEL => TENSORFLOW_SAVEDMODEL,
            GRAPH_DEF => TENSORFLOW_GRAPHDEF,
            "" if has_file(files, GRAPH_DEF) => TENSORFLOW_GRAPHDEF,
            "" if has_directory(files, SAVED_MODEL) => TENSORFLOW_SAVEDMODEL,
            _ => "",
        };
        platform.clone_into(&mut config.platform);
    }
    let file = match config.platform.as_str() {
        TENSORFLOW_SAVEDMODEL => SAVED_MODEL,
        TENSORFLOW_GRAPHDEF => GRAPH_DEF,
        _ => return false,
    };
    fill(&mut config.backend, "tensorflow");
    fill(&mut config.default_model_filename, file);
    true
}

fn complete_pytorch(config: &mut pb::ModelConfig, files: &[&str]) -> bool {
    if config.backend.is_empty() {
        let by_platform = matches!(
            config.platform.as_str(),
            PYTORCH_LIBTORCH | PYTORCH_AOTI | "libtorch"
        );
        let by_file_name = matches!(
            config.default_model_filename.as_str(),
            LIBTORCH_FILE | AOTI_FILE
        );
        let is_found = || {
            tells_nothing(config) && (has_file(files, LIBTORCH_FILE) || has_file(files, AOTI_FILE))
        };
        if !(by_platform || by_file_name || is_found()) {
            return false;
        }
        if tells_nothing(config) && !has_file(files, LIBTORCH_FILE) {
            PYTORCH_AOTI.clone_into(&mut config.platform);
        }
        "pytorch".clone_into(&mut config.backend);
    }
    if config.backend != "pytorch" {
        return false;
    }
    let is_aoti_file = config.default_model_filename == AOTI_FILE;
    fill(
        &mut config.platform,
        if is_aoti_file {
            PYTORCH_AOTI
        } else {
            PYTORCH_LIBTORCH
        },
    );
    let is_aoti = config.platform == PYTORCH_AOTI;
    fill(
        &mut config.default_model_filename,
        if is_aoti { AOTI_FILE } else { LIBTORCH_FILE },
    );
    true
}

fn tells_nothing(config: &pb::ModelConfig) -> bool {
    config.backend.is_empty()
        && config.platform.is_empty()
        && config.default_model_filename.is_empty()
}

fn fill(field: &mut String, value: &str) {
    if field.is_empty() {
        value.clone_into(field);
    }
}

fn has_file(files: &[&str], name: &str) -> bool {
    files.contains(&name)
}

fn has_directory(files: &[&str], name: &str) -> bool {
    files
        .iter()
        .any(|file| file.strip_suffix('/') == Some(name))
}

#[cfg(test)]
mod tests;
