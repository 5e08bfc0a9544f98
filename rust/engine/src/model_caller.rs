// SPDX-License-Identifier: Apache-2.0
//! The way by which a model calls other models of its server.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tritongw_types::{Error, Result};

use crate::backend::ReadyAnswer;
use crate::buffer::ResponseAllocator;
use crate::call_graph::{CallOrigin, CallRecord};
use crate::model::Model;
use crate::repository_manager::{ModelLoad, OperationDone};
use crate::request::InferenceRequest;
use crate::responder::Responder;
use crate::response::{InferenceResponse, ResponseFlags};
use crate::response_sink::{ResponseSink, Resume};
use crate::server::Server;

/// What a backend gives its models to call other models with, and to load and unload them.
///
/// Keeps neither the server nor any model alive. Callable from any thread.
#[derive(Clone)]
pub struct ModelCaller {
    server: Weak<Server>,
}

impl ModelCaller {
    pub(crate) fn new(server: Weak<Server>) -> Self {
        Self { server }
    }

    /// Returns a model that can execute now: the version asked for, or the highest.
    ///
    /// # Errors
    /// Those of [`Server::model`] and [`Model::ready`].
    pub fn model(&self, name: &str, version: Option<i64>) -> Result<Arc<Model>> {
        let model = self.server()?.model(name, version)?;
        model.ready()?;
        Ok(model)
    }

    /// Asks whether a model is ready, as a client may; `done` hears no of one that is unknown.
    pub fn check_ready(&self, name: &str, version: Option<i64>, done: ReadyAnswer) {
        match self.server().and_then(|server| server.model(name, version)) {
            Ok(model) => model.check_ready(done),
            Err(error) => done(Err(error)),
        }
    }

    /// Sends a request that `origin` makes; its responses go to `sink`, possibly before this
    /// returns. Returns by whom it can be cancelled.
    ///
    /// Never blocks. The request stands in the queue of its model as a client's does, except that
    /// a server which is shutting down still takes it.
    ///
    /// # Errors
    /// The texts of [`Server::infer`], and `Unavailable` if the request could never be answered,
    /// because every instance that could do so waits for it; `sink` hears nothing then.
    pub fn send(
        &self,
        mut request: Box<InferenceRequest>,
        origin: &CallOrigin,
        allocator: Arc<dyn ResponseAllocator>,
        sink: Arc<dyn ResponseSink>,
    ) -> Result<Weak<Responder>> {
        let server = self.server()?;
        let model = request.model();
        let call = server
            .calls()
            .enter(model.name(), model.scheduler(), origin)?;
        let sink = Arc::new(CallSink {
            call: Arc::clone(&call),
            server: Weak::clone(&self.server),
            is_refused: AtomicBool::new(false),
            sink,
        });
        request.set_call(Arc::clone(&call));
        let of_request = Arc::clone(&sink) as Arc<dyn ResponseSink>;
        let responder = Arc::downgrade(request.set_response_handler(allocator, of_request));
        server.infer(request).map_err(|(error, request)| {
            // Before the request goes, whose responder would tell of its end.
            sink.is_refused.store(true, Ordering::Release);
            server.calls().leave(&call);
            drop(request);
            error
        })?;
        Ok(responder)
    }

    /// Begins to load a model, as a client may.
    pub fn load_model(&self, load: ModelLoad, done: OperationDone) {
        match self.server() {
            Ok(server) => server.load_model(load, done),
            Err(error) => done(Err(error)),
        }
    }

    /// Takes a model out of service, as a client may.
    pub fn unload_model(&self, name: &str, done: OperationDone) {
        match self.server() {
            Ok(server) => server.unload_model(name, done),
            Err(error) => done(Err(error)),
        }
    }

    fn server(&self) -> Result<Arc<Server>> {
        self.server
            .upgrade()
            .ok_or_else(|| Error::unavailable("the server is shutting down"))
    }
}

impl fmt::Debug for ModelCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelCaller").finish_non_exhaustive()
    }
}

/// Notes the end of a call before its caller learns of it.
struct CallSink {
    call: Arc<CallRecord>,
    server: Weak<Server>,
    is_refused: AtomicBool,
    sink: Arc<dyn ResponseSink>,
}

impl ResponseSink for CallSink {
    fn respond(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags) {
        if self.is_refused.load(Ordering::Acquire) {
            return;
        }
        if flags.is_final()
            && let Some(server) = self.server.upgrade()
        {
            server.calls().leave(&self.call);
        }
        self.sink.respond(response, flags);
    }

    fn has_room(&self) -> bool {
        self.sink.has_room()
    }

    fn when_room(&self, resume: Resume) {
        self.sink.when_room(resume);
    }
}
