// SPDX-License-Identifier: Apache-2.0
//! What a newcomer reads after start-up: each model's signature, and a request that works when
//! pasted.

use std::net::SocketAddr;

use tritongw_config::{ModelConfig, ModelInput};
use tritongw_engine::{Model, Server};
use tritongw_types::DataType;

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

/// Logs a request to the first model whose inputs are small enough to spell out.
pub(crate) fn example_request(server: &Server, http: SocketAddr) {
    let example = server
        .models()
        .iter()
        .find_map(|model| Some((model.clone(), body(model)?)));
    if let Some((model, body)) = example {
        let name = model.name();
        log::info!(
            target: TABLE_TARGET,
            "try it:\n  curl -s http://{http}/v2/models/{name}/infer -d '{body}'\n"
        );
    }
}

fn body(model: &Model) -> Option<String> {
    let config = model.config();
    let inputs: Option<Vec<_>> = config
        .inputs
        .iter()
        .filter(|input| !input.is_optional)
        .map(|input| example_input(config, input))
        .collect();
    Some(format!("{{\"inputs\":[{}]}}", inputs?.join(",")))
}

/// Returns an input whose variable dimensions are 1 and whose elements count up.
fn example_input(config: &ModelConfig, input: &ModelInput) -> Option<String> {
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
    let (name, data_type) = (&input.name, input.data_type);
    Some(format!(
        "{{\"name\":\"{name}\",\"datatype\":\"{data_type}\",\"shape\":{shape},\"data\":[{}]}}",
        elements?.join(",")
    ))
}

fn example_element(data_type: DataType, index: i64) -> Option<String> {
    match data_type {
        DataType::Bool => Some((index % 2 == 0).to_string()),
        DataType::Bytes => Some(format!("\"{index}\"")),
        DataType::Fp16 | DataType::Bf16 => None, // Not allowed in JSON (P053).
        _ => Some(index.to_string()),
    }
}
