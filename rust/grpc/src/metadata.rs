// SPDX-License-Identifier: Apache-2.0
use tritongw_config::{ModelInput, ModelOutput};
use tritongw_engine::Server;
use tritongw_protocol::pb;
use tritongw_protocol::pb::model_metadata_response::TensorMetadata;
use tritongw_types::{CName, DataType, Result, Shape};

use crate::version::parse_version;

/// Tells a model's versions and signature (P045, P046).
pub(crate) fn model_metadata(
    server: &Server,
    request: &pb::ModelMetadataRequest,
) -> Result<pb::ModelMetadataResponse> {
    let version = parse_version(&request.version)?;
    let model = server.model(&request.name, version)?;
    let config = model.config();
    let versions = match version {
        Some(version) => vec![version],
        None => server.ready_versions(&request.name),
    };
    let input = |input: &ModelInput| {
        tensor(
            &input.name,
            input.data_type,
            &config.full_input_shape(input),
        )
    };
    let output = |output: &ModelOutput| {
        tensor(
            &output.name,
            output.data_type,
            &config.full_output_shape(output),
        )
    };
    Ok(pb::ModelMetadataResponse {
        name: request.name.clone(),
        versions: versions.iter().map(i64::to_string).collect(),
        platform: config.platform_or_backend().to_owned(),
        inputs: config.inputs.iter().map(input).collect(),
        outputs: config.outputs.iter().map(output).collect(),
    })
}

fn tensor(name: &CName, data_type: DataType, shape: &Shape) -> TensorMetadata {
    TensorMetadata {
        name: name.as_str().to_owned(),
        datatype: data_type.as_str().to_owned(),
        shape: shape.to_vec(),
    }
}
