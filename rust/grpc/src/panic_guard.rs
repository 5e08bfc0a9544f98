// SPDX-License-Identifier: Apache-2.0
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::status::{Code, Status};

/// A handler panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

impl Panicked {
    /// Logs it and returns the error of the call; `prefix` says of which request.
    pub(crate) fn report(self, prefix: &str) -> Status {
        log::error!("{prefix}a gRPC handler panicked; its call was answered with an error");
        Status::new(Code::Internal, "the request handler failed")
    }
}

/// Runs a handler; a panic in it ends it and is returned.
pub(crate) async fn guarded<T>(handler: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut handler = pin!(handler);
    std::future::poll_fn(move |context| {
        // The handler is not polled again after a panic, so no broken state is seen.
        let polled = catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
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
        let result: Result<(), Panicked> = runtime.block_on(guarded(async { panic!("broken") }));
        let panicked = result.expect_err("it panicked");
        let status = panicked.report("[request id: 7] ");
        assert_eq!(status.code(), Code::Internal as u8);
        assert_eq!(runtime.block_on(guarded(async { 7 })), Ok(7));
    }
}
