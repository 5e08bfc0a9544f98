// SPDX-License-Identifier: Apache-2.0
//! Server and model metadata (P043-P046).

use tritongw_engine::{Model, Server};
use tritongw_types::{DataType, Shape};

use crate::json::Writer;

/// Renders the metadata of the server.
pub(crate) fn of_server(server: &Server) -> Vec<u8> {
    let mut writer = Writer::with_capacity(512);
    writer.begin_object();
    writer.key("name");
    writer.string(server.id());
    writer.key("version");
    writer.string(server.version());
    writer.key("extensions");
    writer.begin_array();
    server
        .extensions()
        .iter()
        .for_each(|extension| writer.string(extension));
    writer.end_array();
    writer.end_object();
    writer.into_bytes()
}

/// Renders the metadata of a model, of which these versions are ready.
pub(crate) fn of_model(model: &Model, versions: &[i64]) -> Vec<u8> {
    let config = model.config();
    let mut writer = Writer::with_capacity(512);
    writer.begin_object();
    writer.key("name");
    writer.string(model.name());
    writer.key("versions");
    writer.begin_array();
    versions
        .iter()
        .for_each(|version| writer.quoted_integer(*version));
    writer.end_array();
    writer.key("platform");
    writer.string(config.platform_or_backend());
    writer.key("inputs");
    writer.begin_array();
    for input in &config.inputs {
        write_tensor(
            &mut writer,
            &input.name,
            input.data_type,
            &config.full_input_shape(input),
        );
    }
    writer.end_array();
    writer.key("outputs");
    writer.begin_array();
    for output in &config.outputs {
        let shape = config.full_output_shape(output);
        write_tensor(&mut writer, &output.name, output.data_type, &shape);
    }
    writer.end_array();
    writer.end_object();
    writer.into_bytes()
}

fn write_tensor(writer: &mut Writer, name: &str, data_type: DataType, shape: &Shape) {
    writer.begin_object();
    writer.key("name");
    writer.string(name);
    writer.key("datatype");
    writer.string(data_type.as_str());
    writer.key("shape");
    writer.begin_array();
    shape.iter().for_each(|dim| writer.integer(*dim));
    writer.end_array();
    writer.end_object();
}
