// SPDX-License-Identifier: Apache-2.0
use tritongw_engine::{BatchStat, DurationStat, Model, ResponseStat, Server, StatisticsSnapshot};
use tritongw_protocol::pb;
use tritongw_types::Result;

use crate::version::parse_version;

/// Tells the statistics of one model, or of all if the name is empty (P125).
pub(crate) fn model_statistics(
    server: &Server,
    request: &pb::ModelStatisticsRequest,
) -> Result<pb::ModelStatisticsResponse> {
    let version = parse_version(&request.version)?;
    let name = Some(request.name.as_str()).filter(|name| !name.is_empty());
    let statistics = server.statistics(name, version)?;
    let model_stats = statistics
        .iter()
        .map(|(model, stats)| one_model(model, stats))
        .collect();
    Ok(pb::ModelStatisticsResponse { model_stats })
}

fn one_model(model: &Model, statistics: &StatisticsSnapshot) -> pb::ModelStatistics {
    pb::ModelStatistics {
        name: model.name().as_str().to_owned(),
        version: model.version().to_string(),
        last_inference: statistics.last_inference_ms,
        inference_count: statistics.inference_count,
        execution_count: statistics.execution_count,
        inference_stats: Some(pb::InferStatistics {
            success: duration(statistics.success),
            fail: duration(statistics.failed()),
            queue: duration(statistics.queue),
            compute_input: duration(statistics.compute_input),
            compute_infer: duration(statistics.compute_infer),
            compute_output: duration(statistics.compute_output),
            // No response cache yet: nothing was ever looked up.
            cache_hit: duration(DurationStat::default()),
            cache_miss: duration(DurationStat::default()),
        }),
        response_stats: statistics.responses.iter().map(response).collect(),
        batch_stats: statistics.batches.iter().map(batch).collect(),
        ..pb::ModelStatistics::default()
    }
}

/// Responses of decoupled requests, by their index as text (T007).
fn response((index, stat): (&u64, &ResponseStat)) -> (String, pb::InferResponseStatistics) {
    let statistics = pb::InferResponseStatistics {
        compute_infer: duration(stat.compute_infer),
        compute_output: duration(stat.compute_output),
        success: duration(stat.success),
        fail: duration(stat.fail),
        empty_response: duration(stat.empty_response),
        cancel: duration(stat.cancel),
    };
    (index.to_string(), statistics)
}

fn batch((size, stat): (&u32, &BatchStat)) -> pb::InferBatchStatistics {
    pb::InferBatchStatistics {
        batch_size: u64::from(*size),
        compute_input: duration(stat.compute_input),
        compute_infer: duration(stat.compute_infer),
        compute_output: duration(stat.compute_output),
    }
}

/// Triton tells every duration, those of nothing as well.
fn duration(stat: DurationStat) -> Option<pb::StatisticDuration> {
    Some(pb::StatisticDuration {
        count: stat.count,
        ns: stat.ns,
    })
}
