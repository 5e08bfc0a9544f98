// SPDX-License-Identifier: Apache-2.0
use std::collections::{BTreeMap, HashSet};

use tritongw_protocol::pb;
use tritongw_types::{Error, Result};

use super::ensemble::EnsembleStep;

/// A tensor of the ensemble; the step that writes it reads the tensors in `sources`.
#[derive(Default)]
struct Tensor<'a> {
    is_written: bool,
    is_ready: bool,
    is_read: bool,
    sources: Vec<&'a str>,
}

type Graph<'a> = BTreeMap<&'a str, Tensor<'a>>;

/// Checks that each tensor is written by one step at most, that every input is used, that every
/// output can be computed, and that nothing else is in the graph.
pub(super) fn check(steps: &[EnsembleStep], config: &pb::ModelConfig) -> Result<()> {
    let model = &config.name;
    let mut graph = build(steps, model)?;
    for input in &config.input {
        let Some(tensor) = graph.get_mut(input.name.as_str()) else {
            return Err(Error::invalid_arg(format!(
                "ensemble input '{}' for ensemble {model}' is not used",
                input.name
            )));
        };
        tensor.is_ready = true;
    }
    spread_readiness(&mut graph, steps);
    for output in &config.output {
        check_output(&graph, &output.name, model)?;
    }
    let outputs: HashSet<&str> = config.output.iter().map(|io| io.name.as_str()).collect();
    let mut others = graph.iter().filter(|(name, _)| !outputs.contains(**name));
    match others.find(|(_, tensor)| !tensor.is_ready || !tensor.is_read) {
        None => Ok(()),
        Some((name, _)) => Err(Error::invalid_arg(format!(
            "ensemble tensor '{name}' is unused in ensemble '{model}'"
        ))),
    }
}

fn build<'a>(steps: &'a [EnsembleStep], model: &str) -> Result<Graph<'a>> {
    let mut graph = Graph::new();
    for (index, step) in steps.iter().enumerate() {
        let sources: Vec<&str> = step.input_map.values().map(String::as_str).collect();
        for name in step.output_map.values() {
            let tensor = graph.entry(name).or_default();
            if tensor.is_written {
                return Err(Error::invalid_arg(format!(
                    "ensemble tensor '{name}' can appear in an output map only once for ensemble \
                     '{model}' step {index}"
                )));
            }
            tensor.is_written = true;
            tensor.sources.clone_from(&sources);
        }
        for name in sources {
            graph.entry(name).or_default().is_read = true;
        }
    }
    Ok(graph)
}

/// Marks what can be computed from what is ready, until nothing changes.
fn spread_readiness<'a>(graph: &mut Graph<'a>, steps: &'a [EnsembleStep]) {
    loop {
        let is_ready = |name: &String| graph[name.as_str()].is_ready;
        let newly_ready: Vec<&str> = steps
            .iter()
            .filter(|step| step.input_map.values().all(is_ready))
            .flat_map(|step| step.output_map.values())
            .filter(|name| !is_ready(name))
            .map(String::as_str)
            .collect();
        if newly_ready.is_empty() {
            return;
        }
        for name in newly_ready {
            graph.entry(name).or_default().is_ready = true;
        }
    }
}

fn check_output(graph: &Graph<'_>, name: &str, model: &str) -> Result<()> {
    let Some(tensor) = graph.get(name) else {
        return Err(Error::invalid_arg(format!(
            "ensemble output '{name}' for ensemble {model}' is not used"
        )));
    };
    if tensor.is_ready {
        return Ok(());
    }
    let mut text = format!("output '{name}' for ensemble '{model}' is not written");
    if let Some(source) = unconnected_source(graph, name) {
        text += &format!(": at least one of its depending tensors, '{source}', is not connected");
    }
    Err(Error::invalid_arg(text))
}

/// Walks back from a tensor that is not ready to the first that keeps it so; a cycle ends the walk.
fn unconnected_source<'a>(graph: &Graph<'a>, output: &'a str) -> Option<&'a str> {
    let mut seen = HashSet::new();
    let mut current = output;
    loop {
        let mut sources = graph[current].sources.iter();
        match sources.find(|name| !graph[**name].is_ready && !seen.contains(*name)) {
            Some(source) => {
                seen.insert(source);
                current = source;
            }
            None => return (current != output).then_some(current),
        }
    }
}
