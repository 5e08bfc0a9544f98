// SPDX-License-Identifier: Apache-2.0
//! What every port does around an answer: panics, refusals, the rest of the body.

use std::future::Future;
use std::sync::Arc;

use hyper::body::{Body, Incoming};
use hyper::header::EXPECT;
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use tritongw_engine::Server;
use tritongw_engine::trace::{DoorActivities, DoorTrace};

use crate::activity::Activity;
use crate::body::{self, RequestBody};
use crate::network::Service;
use crate::panics;
use crate::refusal::Refusal;
use crate::response::{self, ResponseBody};

/// Answers requests to one port.
pub(crate) trait Answer: Send + Sync + 'static {
    /// Returns the server behind the port.
    fn server(&self) -> &Server;

    /// Answers one request, or says why not.
    fn answer(
        &self,
        parts: &Parts,
        body: &mut RequestBody<'_>,
        trace: &mut DoorTrace,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Refusal>> + Send;
}

/// A port as a [`Service`].
#[derive(Debug)]
pub(crate) struct Port<A>(pub(crate) A);

impl<A: Answer> Service for Port<A> {
    async fn respond(
        &self,
        request: Request<Incoming>,
        activity: &Arc<Activity>,
    ) -> Response<ResponseBody> {
        activity.step();
        let mut trace = DoorTrace::begin(self.0.server().traces(), DoorActivities::HTTP);
        let (parts, mut incoming) = request.into_parts();
        let mut body = RequestBody::new(&mut incoming, activity);
        let answer = self.0.answer(&parts, &mut body, &mut trace);
        let mut response = match panics::catch(answer).await {
            Ok(Ok(response)) => response,
            Ok(Err(refusal)) => refusal.into_response(),
            Err(panics::Panicked) => {
                log::error!(
                    "panic while answering {} {}",
                    parts.method,
                    parts.uri.path()
                );
                let message = "the server failed to handle the request";
                response::error_text(StatusCode::INTERNAL_SERVER_ERROR, message)
            }
        };
        response.body_mut().watched_by(activity);
        response.body_mut().traced_by(trace.send());
        // A client that waits to be told to go on will not send the body of a refused request.
        if !incoming.is_end_stream() && !parts.headers.contains_key(EXPECT) {
            body::discard(incoming);
        }
        response
    }
}
