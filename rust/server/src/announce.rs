// SPDX-License-Identifier: Apache-2.0
//! What a newcomer reads after start-up: each model's signature, and a request that works when
//! pasted.

use std::net::SocketAddr;
use std::sync::Arc;

use tritongw_config::{ModelConfig, ModelInput};
use tritongw_engine::{Model, Server};
use tritongw_types::{DataType, Shape};

use crate::logging::TABLE_TARGET;
use crate::table;

/// Largest number of elements an example request may spell out.
const EXAMPLE_ELEMENT_LIMIT: i64 = 64;

/// Logs each ready model's inputs and outputs.
pub(crate) fn signatures(server: &Server) {
    let rows: Vec<_> = server
        .models()
        .iter()
        .map(|model| {
            let config = model.config();
            let inputs = config.inputs.iter().map(|input| {
                let optional = if input.is_optional { " (optional)" } else { "" };
                let shape = config.full_input_shape(input);
                format!("{} {}{shape}{optional}", input.name, input.data_type)
            });
            let outputs = config.outputs.iter().map(|output| {
                format!(
                    "{} {}{}",
                    output.name,
                    output.data_type,
                    config.full_output_shape(output)
                )
            });
            vec![
                model.name().to_string(),
                inputs.collect::<Vec<_>>().join("\n"),
                outputs.collect::<Vec<_>>().join("\n"),
            ]
        })
        .collect();
    log::info!(target: TABLE_TARGET, "{}", table::render(&["Model", "Inputs", "Outputs"], &rows));
}

/// Logs a request to each of the named models, or if there are none to the first model, whose
/// inputs are small enough to spell out.
pub(crate) fn example_requests(server: &Server, http: SocketAddr, named: &[String]) {
    let models = server.models();
    let is_named = |model: &&Arc<Model>| named.iter().any(|name| model.name() == name.as_str());
    let mut examples: Vec<_> = models
        .iter()
        .filter(is_named)
        .filter_map(|model| example(model, http))
        .collect();
    if named.is_empty() {
        examples.extend(models.iter().find_map(|model| example(model, http)));
    }
    if !examples.is_empty() {
        log::info!(target: TABLE_TARGET, "try it:\n  {}\n", examples.join("\n  "));
    }
}

fn example(model: &Model, http: SocketAddr) -> Option<String> {
    let (config, name) = (model.config(), model.name());
    let required = config.inputs.iter().filter(|input| !input.is_optional);
    if config.is_decoupled {
        // Of these `infer` knows nothing over HTTP.
        let fields: Option<Vec<_>> = required
            .map(|input| {
                let (shape, elements) = example_data(config, input)?;
                let is_single = shape.iter().all(|&dim| dim == 1) && elements.len() == 1;
                let elements = elements.join(",");
                let value = if is_single {
                    elements
                } else {
                    format!("[{elements}]")
                };
                Some(format!("\"{}\":{value}", input.name))
            })
            .collect();
        let body = fields?.join(",");
        return Some(format!(
            "curl -sN http://{http}/v2/models/{name}/generate_stream -d '{{{body}}}'"
        ));
    }
    let inputs: Option<Vec<_>> = required.map(|input| example_input(config, input)).collect();
    let body = inputs?.join(",");
    Some(format!(
        "curl -s http://{http}/v2/models/{name}/infer -d '{{\"inputs\":[{body}]}}'"
    ))
}

fn example_input(config: &ModelConfig, input: &ModelInput) -> Option<String> {
    let (shape, elements) = example_data(config, input)?;
    let (name, data_type) = (&input.name, input.data_type);
    let elements = elements.join(",");
    Some(format!(
        "{{\"name\":\"{name}\",\"datatype\":\"{data_type}\",\"shape\":{shape},\"data\":[{elements}]}}"
    ))
}

/// Returns a shape whose variable dimensions are 1, and elements that count up.
fn example_data(config: &ModelConfig, input: &ModelInput) -> Option<(Shape, Vec<String>)> {
    let mut shape = config.full_input_shape(input);
    for dim in shape.as_mut_slice() {
        *dim = (*dim).max(1);
    }
    let count = shape
        .iter()
        .try_fold(1_i64, |count, dim| count.checked_mul(*dim))?;
    if count > EXAMPLE_ELEMENT_LIMIT {
        return None;
    }
    let elements: Option<Vec<_>> = (0..count)
        .map(|index| example_element(input.data_type, index))
        .collect();
    Some((shape, elements?))
}

fn example_element(data_type: DataType, index: i64) -> Option<String> {
    match data_type {
        DataType::Bool => Some((index % 2 == 0).to_string()),
        DataType::Bytes => Some(format!("\"{index}\"")),
        DataType::Fp16 | DataType::Bf16 => None, // Not allowed in JSON (P053).
        _ => Some(index.to_string()),
    }
}
