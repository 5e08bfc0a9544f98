// SPDX-License-Identifier: Apache-2.0
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::status::{Code, Status};

/// Runs a handler; a panic in it becomes the error of its call.
pub(crate) async fn guarded<T>(
    handler: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let mut handler = pin!(handler);
    std::future::poll_fn(move |context| {
        // The handler is not polled again after a panic, so no broken state is seen.
        let polled = catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context)));
        polled.unwrap_or_else(|_| {
            log::error!("a gRPC handler panicked; its call was answered with an error");
            Poll::Ready(Err(Status::new(
                Code::Internal,
                "the request handler failed",
            )))
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_the_error_of_its_call() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let result: Result<(), Status> = runtime.block_on(guarded(async { panic!("broken") }));
        assert_eq!(
            result.expect_err("it panicked").code(),
            Code::Internal as u8
        );
        assert_eq!(runtime.block_on(guarded(async { Ok(7) })), Ok(7));
    }
}
