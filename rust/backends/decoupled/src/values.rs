// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use tritongw_engine::clock::monotonic_ns;
use tritongw_engine::{
    ComputeTimings, InferenceRequest, InferenceResponse, Responder, ResponseFlags, ResponseOutcome,
    ResponseTimings,
};
use tritongw_types::{DataType, Error, Result, Shape};

/// Returns the 32-bit elements of an input.
pub(crate) fn read(request: &InferenceRequest, name: &str) -> Result<Vec<[u8; 4]>> {
    let input = request
        .input(name)
        .ok_or_else(|| Error::invalid_arg(format!("failed to get input '{name}'")))?;
    let data = input.contiguous()?;
    let (elements, rest) = data.as_chunks::<4>();
    if rest.is_empty() {
        Ok(elements.to_vec())
    } else {
        let message = format!("unexpected size for {name} input");
        Err(Error::invalid_arg(message))
    }
}

/// Adds an output of one 32-bit element, if the client wants it.
pub(crate) fn add(
    response: &mut InferenceResponse,
    name: &str,
    data_type: DataType,
    value: [u8; 4],
) -> Result<()> {
    response
        .add_output_buffer(name, data_type, Shape::from([1]), value.len())?
        .copy_from_slice(&value);
    Ok(())
}

/// Counts the request, whose responses may still be to come, and lets it go.
pub(crate) fn release(request: Box<InferenceRequest>, start_ns: u64) {
    let end_ns = monotonic_ns();
    // Triton: the whole execution counts as computing.
    let timings = ComputeTimings {
        exec_start_ns: start_ns,
        compute_start_ns: start_ns,
        compute_end_ns: end_ns,
        exec_end_ns: end_ns,
    };
    let statistics = request.model().statistics();
    statistics.report_batch(1, &timings);
    request.report(true, &timings);
    request.release();
}

/// Counts the response that comes next and sends it, with `FINAL` if it is an error.
pub(crate) fn send(
    responder: &Responder,
    response: Result<Box<InferenceResponse>>,
    timings: ResponseTimings,
) -> bool {
    let statistics = responder.model().statistics();
    let index = responder.sent_count();
    let sent = match response {
        Ok(response) => {
            statistics.report_response(index, ResponseOutcome::Success, timings);
            responder.send(Some(response), ResponseFlags::NONE)
        }
        Err(error) => {
            statistics.report_response(index, ResponseOutcome::Fail, timings);
            responder.send_error(error);
            return false;
        }
    };
    log_refusal(responder, sent);
    true
}

/// Ends a request with flags alone.
pub(crate) fn end(responder: &Responder) {
    log_refusal(responder, responder.send(None, ResponseFlags::FINAL));
}

/// Logs that a response was not taken.
pub(crate) fn log_refusal(responder: &Responder, sent: Result<()>) {
    if let Err(error) = sent {
        log::error!(
            "{}failed to send a response: {}",
            responder.log_prefix(),
            error.message()
        );
    }
}

/// Returns the timings of a response that began at `start_ns` and is complete now.
pub(crate) fn timings(start_ns: u64, output_start_ns: Option<u64>) -> ResponseTimings {
    ResponseTimings {
        start_ns,
        output_start_ns,
        end_ns: monotonic_ns(),
    }
}

/// Sleeps, for as long as the request is not cancelled.
pub(crate) fn sleep_unless_cancelled(request: &InferenceRequest, duration: Duration) {
    const NAP: Duration = Duration::from_millis(20);
    let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let end_ns = monotonic_ns().saturating_add(duration_ns);
    while !request.is_cancelled() {
        let remaining = Duration::from_nanos(end_ns.saturating_sub(monotonic_ns()));
        if remaining.is_zero() {
            return;
        }
        std::thread::sleep(remaining.min(NAP));
    }
}
