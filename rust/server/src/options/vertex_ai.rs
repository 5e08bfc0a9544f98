// SPDX-License-Identifier: Apache-2.0
use clap::{ArgAction, Args};

use super::value;

/// The Google Vertex AI service.
#[derive(Debug, Args)]
#[command(next_help_heading = "Vertex")]
pub(crate) struct VertexAiArgs {
    /// Serves Google Vertex AI. Default is true if AIP_MODE=PREDICTION, else false.
    #[arg(long, value_name = "boolean", value_parser = value::boolean, action = ArgAction::Set)]
    pub(super) allow_vertex_ai: Option<bool>,

    /// Port of the Vertex AI service. Default is AIP_HTTP_PORT, or 8080 without it.
    #[arg(long, value_name = "integer", value_parser = value::integer::<u16>)]
    pub(super) vertex_ai_port: Option<u16>,

    /// Network threads of the Vertex AI service.
    #[arg(long, default_value = "8", value_name = "integer", value_parser = value::integer::<u32>)]
    pub(crate) vertex_ai_thread_count: u32,

    /// Model that the prediction route asks; may be left out if the repository has a single one.
    #[arg(long, value_name = "string")]
    vertex_ai_default_model: Option<String>,
}

impl VertexAiArgs {
    /// Returns the model of the prediction route (C073).
    pub(crate) fn default_model(&self) -> Option<&String> {
        self.vertex_ai_default_model
            .as_ref()
            .filter(|model| !model.is_empty())
    }
}
