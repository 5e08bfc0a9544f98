// SPDX-License-Identifier: Apache-2.0
//! How many executions of one instance overlap, where `execute` is a coroutine function.

use tritongw_config::{ModelConfig, Scheduling};
use tritongw_engine::backend::Placement;
use tritongw_types::{Error, Result};

use crate::shared::channel::MAX_WAITING_BATCHES;

/// Parameter of a model's configuration: batches that one instance may have under way at once.
const PARAMETER: &str = "TRITONGW_PYTHON_MAX_CONCURRENCY";
const DEFAULT: u32 = 256;

/// Returns the placement of an instance whose executions overlap. Beyond its limit batches wait in
/// the model's queue, where they may time out, be cancelled, and be overtaken.
///
/// # Errors
/// If the parameter is no number in its range.
pub(crate) fn placement_of_coroutines(config: &ModelConfig) -> Result<Placement> {
    let limit = match config.parameters.get(PARAMETER) {
        None => DEFAULT,
        Some(text) => read_limit(text)?,
    };
    let max_inflight = match config.scheduling {
        // The requests of a sequence must not overtake each other.
        Scheduling::SequenceBatching(_) => 1,
        _ => limit,
    };
    Ok(Placement::Concurrent { max_inflight })
}

fn read_limit(text: &str) -> Result<u32> {
    let number = text.parse().ok();
    number
        .filter(|number| (1..=MAX_WAITING_BATCHES).contains(&(*number as usize)))
        .ok_or_else(|| {
            Error::invalid_arg(format!(
                "parameter '{PARAMETER}' must be a number from 1 to {MAX_WAITING_BATCHES}, found \
                 '{text}'"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_has_a_range() {
        for (text, number) in [("1", 1), ("1024", 1024)] {
            assert_eq!(read_limit(text).expect("a number in the range"), number);
        }
        for text in ["0", "1025", "-1", "many", ""] {
            let error = read_limit(text).expect_err("out of range");
            assert_eq!(
                error.message(),
                format!(
                    "parameter 'TRITONGW_PYTHON_MAX_CONCURRENCY' must be a number from 1 to 1024, \
                     found '{text}'"
                )
            );
        }
    }
}
