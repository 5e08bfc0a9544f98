// SPDX-License-Identifier: Apache-2.0
//! Load of the server in a response header, for balancers that speak ORCA (P120).

use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Response};
use tritongw_engine::{Server, metrics};

const FORMAT: HeaderName = HeaderName::from_static("endpoint-load-metrics-format");
const LOAD: HeaderName = HeaderName::from_static("endpoint-load-metrics");

/// Blocks of the key-value cache, as TensorRT-LLM reports them.
const KV_CACHE_METRIC: &str = "nv_trt_llm_kv_cache_block_metrics";
const KV_CACHE_TYPE: &str = "kv_cache_block_type";

/// Adds the load header in the format that the request asks for, if there is a load to report.
pub(crate) fn add_load<B>(request: &HeaderMap, server: &Server, response: &mut Response<B>) {
    let Some(format) = request.get(FORMAT) else {
        return;
    };
    if let Some(value) = load(format.as_bytes(), &metrics::render(server)) {
        response.headers_mut().insert(LOAD, value);
    }
}

fn load(format: &[u8], metrics: &str) -> Option<HeaderValue> {
    let is_json = format.eq_ignore_ascii_case(b"json");
    if !is_json && !format.eq_ignore_ascii_case(b"text") {
        return None;
    }
    let cache = KvCache::read(metrics)?;
    let (utilization, capacity) = (cache.utilization(), cache.max_token_capacity());
    let text = if is_json {
        format!(
            "JSON {{\"named_metrics\":{{\"kv_cache_utilization\":{utilization},\
             \"max_token_capacity\":{capacity}}}}}"
        )
    } else {
        format!(
            "TEXT named_metrics.kv_cache_utilization={utilization}, \
             named_metrics.max_token_capacity={capacity}"
        )
    };
    HeaderValue::try_from(text).ok()
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct KvCache {
    used: f64,
    max: f64,
    tokens_per: f64,
}

impl KvCache {
    /// Reads the gauges out of the Prometheus text; `None` unless all three are there.
    fn read(metrics: &str) -> Option<Self> {
        let value_of = |kind: &str| {
            let label = format!("{KV_CACHE_TYPE}=\"{kind}\"");
            let lines = metrics
                .lines()
                .filter_map(|line| line.strip_prefix(KV_CACHE_METRIC)?.strip_prefix('{'));
            let (_, value) = lines
                .filter_map(|line| line.rsplit_once("} "))
                .find(|(labels, _)| labels.split(',').any(|known| known == label))?;
            value
                .trim()
                .parse::<f64>()
                .ok()
                .filter(|value| value.is_finite())
        };
        Some(Self {
            used: value_of("used")?,
            max: value_of("max")?,
            tokens_per: value_of("tokens_per")?,
        })
    }

    fn utilization(self) -> f64 {
        if self.max > 0.0 {
            self.used / self.max
        } else {
            0.0
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float is cut at the limits of the integer"
    )]
    fn max_token_capacity(self) -> u64 {
        (self.max * self.tokens_per) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "\
# HELP nv_trt_llm_kv_cache_block_metrics TRT LLM KV cache block metrics
# TYPE nv_trt_llm_kv_cache_block_metrics gauge
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"tokens_per\",model=\"m\",version=\"1\"} 64
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"used\",model=\"m\",version=\"1\"} 512.000000
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"max\",model=\"m\",version=\"1\"} 2048
";

    fn text(format: &str, metrics: &str) -> Option<String> {
        let value = load(format.as_bytes(), metrics)?;
        Some(value.to_str().expect("ASCII").to_owned())
    }

    #[test]
    fn both_formats_report_the_cache() {
        let json = "JSON {\"named_metrics\":{\"kv_cache_utilization\":0.25,\
                    \"max_token_capacity\":131072}}";
        assert_eq!(text("json", METRICS).as_deref(), Some(json));
        let plain = "TEXT named_metrics.kv_cache_utilization=0.25, \
                     named_metrics.max_token_capacity=131072";
        assert_eq!(text("text", METRICS).as_deref(), Some(plain));
    }

    #[test]
    fn nothing_is_reported_of_what_is_not_there() {
        assert_eq!(text("xml", METRICS), None);
        assert_eq!(text("json", ""), None);
        let without_max: String = METRICS
            .lines()
            .take(4)
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(text("json", &without_max), None);
    }
}
