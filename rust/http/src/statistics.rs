// SPDX-License-Identifier: Apache-2.0
//! Model statistics (T001-T009).

use std::sync::Arc;

use tritongw_engine::{DurationStat, Model, StatisticsSnapshot};

use crate::json::Writer;

/// Renders the statistics of these model versions.
pub(crate) fn render(models: &[(Arc<Model>, StatisticsSnapshot)]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(1024 * models.len() + 32);
    writer.begin_object();
    writer.key("model_stats");
    writer.begin_array();
    for (model, statistics) in models {
        write_model(&mut writer, model, statistics);
    }
    writer.end_array();
    writer.end_object();
    writer.into_bytes()
}

fn write_model(writer: &mut Writer, model: &Model, statistics: &StatisticsSnapshot) {
    writer.begin_object();
    writer.key("name");
    writer.string(model.name());
    writer.key("version");
    writer.quoted_integer(model.version());
    writer.key("last_inference");
    writer.integer(statistics.last_inference_ms);
    writer.key("inference_count");
    writer.integer(statistics.inference_count);
    writer.key("execution_count");
    writer.integer(statistics.execution_count);
    writer.key("inference_stats");
    write_durations(writer, &inference_stats(statistics));
    writer.key("response_stats");
    write_responses(writer, statistics);
    writer.key("batch_stats");
    write_batches(writer, statistics);
    // Filled by backends that report their memory.
    writer.key("memory_usage");
    writer.begin_array();
    writer.end_array();
    writer.end_object();
}

fn inference_stats(statistics: &StatisticsSnapshot) -> [(&'static str, DurationStat); 8] {
    [
        ("success", statistics.success),
        ("fail", statistics.failed()),
        ("queue", statistics.queue),
        ("compute_input", statistics.compute_input),
        ("compute_infer", statistics.compute_infer),
        ("compute_output", statistics.compute_output),
        // No response cache: neither hits nor misses.
        ("cache_hit", DurationStat::default()),
        ("cache_miss", DurationStat::default()),
    ]
}

/// Writes the responses of decoupled requests by their index (T007).
fn write_responses(writer: &mut Writer, statistics: &StatisticsSnapshot) {
    writer.begin_object();
    for (index, stat) in &statistics.responses {
        writer.key(itoa::Buffer::new().format(*index));
        let durations = [
            ("compute_infer", stat.compute_infer),
            ("compute_output", stat.compute_output),
            ("success", stat.success),
            ("fail", stat.fail),
            ("empty_response", stat.empty_response),
            ("cancel", stat.cancel),
        ];
        write_durations(writer, &durations);
    }
    writer.end_object();
}

fn write_batches(writer: &mut Writer, statistics: &StatisticsSnapshot) {
    writer.begin_array();
    for (batch_size, stat) in &statistics.batches {
        writer.begin_object();
        writer.key("batch_size");
        writer.integer(*batch_size);
        let durations = [
            ("compute_input", stat.compute_input),
            ("compute_infer", stat.compute_infer),
            ("compute_output", stat.compute_output),
        ];
        write_duration_members(writer, &durations);
        writer.end_object();
    }
    writer.end_array();
}

fn write_durations(writer: &mut Writer, durations: &[(&str, DurationStat)]) {
    writer.begin_object();
    write_duration_members(writer, durations);
    writer.end_object();
}

fn write_duration_members(writer: &mut Writer, durations: &[(&str, DurationStat)]) {
    for (name, duration) in durations {
        writer.key(name);
        writer.begin_object();
        writer.key("count");
        writer.integer(duration.count);
        writer.key("ns");
        writer.integer(duration.ns);
        writer.end_object();
    }
}
