// SPDX-License-Identifier: Apache-2.0
//! A worker from its start on: the process, the connection to it, the thread that takes what it
//! sends.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tritongw_engine::clock::monotonic_ns;
use tritongw_types::{Error, Result};

use super::call_desk::CallDesk;
use super::connection::{Connection, not_healthy};
use super::conversation::Conversation;
use super::outputs::OutputSlab;
use super::process::WorkerProcess;
use super::receiver::Receiver;
use super::supervisor::Supervisor;
use crate::host::{MetricDesk, ModelSource, ModelTraits};
use crate::shared::channel::ServerChannel;
use crate::shared::control::{PROTOCOL_VERSION, StartOrder, ToServer, ToWorker};
use crate::shared::limits::WorkerLimits;

/// A worker, and what belongs to it as long as it lives.
pub(super) struct Worker {
    pub(super) process: WorkerProcess,
    pub(super) connection: Arc<Connection>,
    pub(super) receiver: JoinHandle<()>,
    pub(super) metrics: MetricDesk,
    started_ns: u64,
}

impl Worker {
    /// Logs what befalls the worker, with the ids of the requests that it holds.
    pub(super) fn report(&self, what: &str) {
        self.process.log.error(&self.connection.request_ids(), what);
    }

    /// Returns for how long the worker has lived.
    pub(super) fn life(&self) -> Duration {
        Duration::from_nanos(monotonic_ns().saturating_sub(self.started_ns))
    }
}

impl Supervisor {
    /// Starts a worker and waits until its model is loaded.
    pub(super) fn start(&self) -> Result<Worker> {
        let failed = |what: &str, source: std::io::Error| {
            let message = format!("failed to {what} the worker of '{}'", self.instance_name);
            Error::internal(format!("{message}: {source}")).with_source(source)
        };
        let channel = ServerChannel::new(self.settings.slab_size)
            .map_err(|source| failed("make shared memory for", source))?;
        let process = WorkerProcess::spawn(&self.launch, self.source.log_owner())
            .map_err(|source| failed("start", source))?;
        let fds = channel.worker_fds(self.input_slab.memory());
        let mut limits = self.settings.limits.clone();
        if let Some(share) = &self.cores {
            limits.cores = share.cores().to_owned();
        }
        let order = ToWorker::Serve(start_order(self.source.clone(), limits));
        process
            .control
            .send(&order, &fds)
            .map_err(|source| failed("speak to", source))?;
        let metrics = MetricDesk::new(Arc::clone(&self.metrics));
        let answer = Conversation {
            process: &process,
            stop: Some(self.stop.as_fd()),
            metrics: &metrics,
        }
        .answer(&self.instance_name, self.settings.start_timeout)?;
        let ToServer::Started { traits } = answer else {
            return Err(not_healthy(&self.instance_name));
        };
        self.connect(process, channel, traits, metrics)
            .map_err(|source| failed("connect", source))
    }

    fn connect(
        &self,
        process: WorkerProcess,
        channel: ServerChannel,
        traits: ModelTraits,
        metrics: MetricDesk,
    ) -> std::io::Result<Worker> {
        let connection = Arc::new(Connection::new(
            Arc::clone(&self.instance_name),
            traits,
            channel.requests,
            channel.request_waker,
            channel.response_waker,
        ));
        if self.settings.execution_timeout.is_some() {
            connection.watch_executions();
        }
        let calls = CallDesk::new(
            Arc::clone(&self.instance_name),
            self.caller.clone(),
            Arc::clone(&self.input_slab),
            channel.replies,
            channel.reply_waker,
            channel.reply_channel,
        );
        let receiver = Receiver {
            connection: Arc::clone(&connection),
            calls: Arc::clone(&calls),
            responses: channel.responses,
            sleeper: channel.response_sleeper,
            outputs: OutputSlab::new(channel.output_slab, channel.release_flags),
            inputs: Arc::clone(&self.input_slab),
            free_ns: Cell::new(0),
        };
        let killer = process.killer();
        let instance_name = Arc::clone(&self.instance_name);
        let receiver = std::thread::Builder::new()
            .name("py-receiver".to_owned())
            .spawn(move || {
                // Whatever ends the receiver early, nobody takes what the worker sends any more.
                let run = catch_unwind(AssertUnwindSafe(|| receiver.run()));
                let run = run.unwrap_or_else(|_| Err("its receiver panicked".to_owned()));
                calls.close();
                if let Err(violation) = run {
                    log::error!("killing the worker of '{instance_name}': {violation}");
                    killer.kill();
                }
            })?;
        Ok(Worker {
            process,
            connection,
            receiver,
            metrics,
            started_ns: monotonic_ns(),
        })
    }
}

/// Returns what a worker is told first.
pub(crate) fn start_order(source: ModelSource, limits: WorkerLimits) -> StartOrder {
    StartOrder {
        protocol_version: PROTOCOL_VERSION,
        source,
        log_level: log::max_level() as usize,
        limits,
    }
}
