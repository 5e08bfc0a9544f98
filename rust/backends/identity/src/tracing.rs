// SPDX-License-Identifier: Apache-2.0
//! Activities of the backend's own in the trace of a request (T029).

use tritongw_engine::clock::monotonic_ns;
use tritongw_engine::trace::InferenceTrace;

use crate::parameters::CustomTracing;

const SINGLE: &str = "CUSTOM_SINGLE_ACTIVITY";

/// Notes a span, an activity and spans within spans, by the names that Triton gives them.
pub(crate) fn note(trace: &InferenceTrace, tracing: CustomTracing) {
    let now = |name: &str| trace.record_custom(name, monotonic_ns());
    now("CUSTOM_ACTIVITY_START");
    now("CUSTOM_ACTIVITY_END");
    now(SINGLE);
    for number in 0..tracing.span_count {
        now(&format!("CUSTOM_ACTIVITY{number}_START"));
        if number.checked_rem(tracing.activity_frequency) == Some(0) {
            now(SINGLE);
        }
    }
    for number in (0..tracing.span_count).rev() {
        now(&format!("CUSTOM_ACTIVITY{number}_END"));
    }
}
