// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use tritongw_protocol::pb;

/// An agent that prepares the files of the model before they are loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryAgentConfig {
    /// Name, which tells the library.
    pub name: String,
    /// Options of the agent.
    pub parameters: BTreeMap<String, String>,
}

pub(super) fn from_message(message: &pb::ModelConfig) -> Vec<RepositoryAgentConfig> {
    let agents = message
        .model_repository_agents
        .iter()
        .flat_map(|agents| &agents.agents);
    agents
        .map(|agent| RepositoryAgentConfig {
            name: agent.name.clone(),
            parameters: agent.parameters.clone(),
        })
        .collect()
}
