// SPDX-License-Identifier: Apache-2.0
//! Long work beside the network thread, so that its other connections need not wait for it.

use std::panic::resume_unwind;

use tritongw_engine::InferenceResponse;

use crate::codec::OutputEncoding;
use crate::panics::Panicked;

/// JSON of more bytes than this is read beside the network thread: it takes about a millisecond,
/// against which the way to another thread and back counts for little.
pub(crate) const LONG_JSON: usize = 256 << 10;

/// Tensors of more bytes than this are written as JSON beside the network thread.
const LONG_TENSORS: usize = LONG_JSON / 4;

/// Runs `work`, on another thread if it is long.
///
/// # Panics
/// If `work` does.
pub(crate) async fn run<T: Send + 'static>(
    is_long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    if !is_long {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends, and with it whoever waits here.
            Err(_) => resume_unwind(Box::new(Panicked)),
        },
    }
}

/// Returns whether much of a response is to be written as JSON.
pub(crate) fn is_long_to_write(response: &InferenceResponse, encoding: &OutputEncoding) -> bool {
    let in_json = response
        .outputs()
        .filter(|output| !encoding.is_binary(&output.name));
    let sizes = in_json.map(|output| output.buffer.as_ref().map_or(0, |data| data.byte_size()));
    sizes.sum::<usize>() > LONG_TENSORS
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::panics;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(future)
    }

    #[test]
    fn only_long_work_leaves_the_thread() {
        let here = thread::current().id();
        let ran_on = |is_long| block_on(run(is_long, || thread::current().id()));
        assert_eq!(ran_on(false), here);
        assert_ne!(ran_on(true), here);
    }

    #[test]
    fn a_panic_comes_back() {
        let result = block_on(panics::catch(run(true, || panic!("as the test asked"))));
        assert_eq!(result, Err::<(), _>(Panicked));
    }
}
