// SPDX-License-Identifier: Apache-2.0
//! What every port does around an answer: panics, refusals, the rest of the body.

use std::future::Future;
use std::sync::Arc;

use hyper::body::{Body, Incoming};
use hyper::header::EXPECT;
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use tritongw_engine::Server;

use crate::activity::Activity;
use crate::body::{self, RequestBody};
use crate::exchange::Exchange;
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
        exchange: &mut Exchange,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Refusal>> + Send;
}

/// A port as a [`Service`].
#[derive(Debug)]
pub(crate) struct Port<A> {
    pub(crate) answers: A,
    /// Whether each request gets a line in the log.
    pub(crate) logs_access: bool,
}

impl<A: Answer> Service for Port<A> {
    async fn respond(
        &self,
        request: Request<Incoming>,
        activity: &Arc<Activity>,
    ) -> Response<ResponseBody> {
        activity.step();
        let (parts, mut incoming) = request.into_parts();
        let server = self.answers.server();
        let mut exchange = Exchange::begin(server, &parts, activity, self.logs_access);
        let mut body = RequestBody::new(&mut incoming, activity);
        let answer = self.answers.answer(&parts, &mut body, &mut exchange);
        let mut response = match panics::catch(answer).await {
            Ok(Ok(response)) => response,
            Ok(Err(refusal)) => refusal.into_response(),
            Err(panics::Panicked) => {
                log::error!(
                    "{}panic while answering {} {}",
                    exchange.log_prefix(),
                    parts.method,
                    parts.uri.path()
                );
                let message = "the server failed to handle the request";
                response::error_text(StatusCode::INTERNAL_SERVER_ERROR, message)
            }
        };
        response.body_mut().watched_by(activity);
        exchange.send(&mut response);
        // A client that waits to be told to go on will not send the body of a refused request.
        if !incoming.is_end_stream() && !parts.headers.contains_key(EXPECT) {
            body::discard(incoming);
        }
        response
    }
}
