// SPDX-License-Identifier: Apache-2.0
use std::any::Any;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use rustix::process::Signal;
use tritongw_engine::clock::monotonic_ns;
use tritongw_types::{Result, byte_size};

use super::calls::WorkerCalls;
use super::link::{Link, log_to_server};
use super::metrics::LinkMetrics;
use super::outbox::{BatchLease, Outbox, WorkerReply};
use super::output_slab::WorkerOutputs;
use crate::host::{
    BatchReply, BatchSource, Execution, HostBatch, HostRequest, HostTensor, MetricService,
    ModelCalls, ModelSource, ModelTraits, Next, ReadyThread, TensorMemory,
};
use crate::shared::channel::WorkerChannel;
use crate::shared::control::{ControlSocket, PROTOCOL_VERSION, StartOrder, ToServer, ToWorker};
use crate::shared::descriptor::{Descriptor, FrameKind};
use crate::shared::memory::SharedMemory;
use crate::shared::message::{TensorPlace, read_request, read_tensor};
use crate::shared::ring::Consumer;
use crate::shared::wake::{Sleeper, Wakeup};
use crate::shared::wire::Reader;

/// What a worker process is there for.
#[derive(Debug)]
pub enum Assignment {
    /// To serve a model.
    Serve(WorkerSession),
    /// To say what configuration a model wants.
    CompleteConfig(ConfigSession),
}

/// Takes the control socket, which stands in for standard input, and hears what there is to do.
///
/// # Errors
/// If this process was not started by a server of this version.
pub fn connect() -> io::Result<Assignment> {
    // The end of the socket tells that the server is gone, and then the whole process group goes
    // ([`Link::start`]). This wakes a worker that stands still, under a debugger for instance.
    rustix::process::set_parent_process_death_signal(Some(Signal::CONT))?;
    let socket = ControlSocket::from_fd(take_standard_input()?);
    let Some((message, fds)) = socket.receive::<ToWorker>()? else {
        return Err(io::Error::other("the server is gone"));
    };
    match message {
        ToWorker::Serve(order) => {
            let (source, link) = accept(order, socket)?;
            Ok(Assignment::Serve(WorkerSession::new(
                source,
                link,
                WorkerChannel::open(fds)?,
            )))
        }
        ToWorker::CompleteConfig(order) => {
            let (source, link) = accept(order, socket)?;
            Ok(Assignment::CompleteConfig(ConfigSession { source, link }))
        }
        ToWorker::Cancelled { .. }
        | ToWorker::Room { .. }
        | ToWorker::Metric { .. }
        | ToWorker::CheckReady => Err(io::Error::other("the server gave no order")),
    }
}

/// Returns what standard input was, and leaves nothing to read there.
fn take_standard_input() -> io::Result<OwnedFd> {
    let input = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(input)
}

fn accept(order: StartOrder, socket: ControlSocket) -> io::Result<(ModelSource, Arc<Link>)> {
    // While there is but one thread.
    let limited = order.limits.apply();
    let link = Link::start(socket)?;
    if order.protocol_version != PROTOCOL_VERSION {
        return Err(io::Error::other(
            "the server is of another version of tritongw",
        ));
    }
    log_to_server(&link, order.log_level);
    if let Err(error) = limited {
        link.tell(&ToServer::Failed {
            message: format!(
                "failed to set the limits of '{}': {error}",
                order.source.instance_name
            ),
        })?;
        return Err(error);
    }
    Ok((order.source, link))
}

/// A worker that only asks the model for its configuration.
#[derive(Debug)]
pub struct ConfigSession {
    source: ModelSource,
    link: Arc<Link>,
}

impl ConfigSession {
    /// Returns where the model's metrics go: nowhere, for nothing of this process lasts.
    pub fn metrics(&self) -> Arc<dyn MetricService> {
        Arc::new(LinkMetrics(Arc::clone(&self.link)))
    }

    /// Returns the model to ask.
    pub fn source(&self) -> &ModelSource {
        &self.source
    }

    /// Tells the server the completed configuration, `None` if the model completes nothing, or
    /// why there is none.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn report(&self, result: Result<Option<String>>) -> io::Result<()> {
        self.link.tell(&match result {
            Ok(config) => ToServer::Completed { config },
            Err(error) => ToServer::Failed {
                message: error.message().to_owned(),
            },
        })
    }
}

/// A worker that serves a model.
#[derive(Debug)]
pub struct WorkerSession {
    source: ModelSource,
    link: Arc<Link>,
    requests: Consumer,
    sleeper: Sleeper,
    input_slab: Arc<SharedMemory>,
    outbox: Arc<Outbox>,
    calls: Arc<WorkerCalls>,
    payload: Vec<u8>,
}

impl WorkerSession {
    fn new(source: ModelSource, link: Arc<Link>, channel: WorkerChannel) -> Self {
        let outputs = WorkerOutputs::new(channel.output_slab, channel.release_flags);
        let outbox = Arc::new(Outbox::new(
            channel.responses,
            outputs,
            Arc::clone(&channel.input_slab),
            channel.response_waker,
        ));
        let calls = WorkerCalls::new(
            Arc::clone(&outbox),
            Arc::clone(&channel.input_slab),
            channel.replies,
            channel.reply_sleeper,
            channel.reply_channel,
            source.call_limit,
        );
        Self {
            source,
            link,
            requests: channel.requests,
            sleeper: channel.request_sleeper,
            input_slab: channel.input_slab,
            outbox,
            calls,
            payload: Vec::new(),
        }
    }

    /// Returns where the model's metrics go.
    pub fn metrics(&self) -> Arc<dyn MetricService> {
        Arc::new(LinkMetrics(Arc::clone(&self.link)))
    }

    /// Returns the model to serve.
    pub fn source(&self) -> &ModelSource {
        &self.source
    }

    /// Returns the way to other models; it leads somewhere once the model is ready to execute.
    pub fn calls(&self) -> Arc<dyn ModelCalls> {
        Arc::new(Arc::clone(&self.calls))
    }

    /// Lets the server ask whether the model is ready, of `probe`; before [`Self::report_start`].
    /// To be stopped before the model ends.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub fn answer_ready_checks(
        &self,
        probe: impl Fn() -> Result<()> + Send + 'static,
    ) -> io::Result<Arc<ReadyThread>> {
        let thread = Arc::new(ReadyThread::start(probe)?);
        let is_first = self.link.readiness.set(Arc::clone(&thread)).is_ok();
        debug_assert!(is_first, "a worker has one model");
        Ok(thread)
    }

    /// Tells the server that the model is ready to execute, or why it did not load.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn report_start(&self, result: &Result<ModelTraits>) -> io::Result<()> {
        self.link.tell(&match result {
            Ok(traits) => ToServer::Started { traits: *traits },
            Err(error) => ToServer::Failed {
                message: error.message().to_owned(),
            },
        })
    }

    /// Returns what is there to do, without waiting for it.
    ///
    /// # Errors
    /// If the server writes what no server of good faith writes.
    pub fn try_next(&mut self) -> io::Result<Option<Next>> {
        if !self.requests.is_ready() || !self.outbox.may_gather() {
            self.outbox.flush();
        }
        let Some(descriptor) = self
            .requests
            .pop(&mut self.payload)
            .map_err(io::Error::other)?
        else {
            return Ok(None);
        };
        match descriptor.kind {
            FrameKind::Execute => {
                let next = self.read_batch(&descriptor);
                next.map(Some)
                    .ok_or_else(|| io::Error::other("a batch of requests is malformed"))
            }
            FrameKind::Stop => Ok(Some(Next::Stop)),
            other => Err(io::Error::other(format!(
                "a server sends no {other:?} frame"
            ))),
        }
    }

    /// Sleeps until there may be something to do.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn wait(&self) -> io::Result<()> {
        if !self.requests.prepare_sleep() {
            return Ok(());
        }
        self.note_call()
    }

    fn note_call(&self) -> io::Result<()> {
        let slept = self.sleeper.sleep();
        self.requests.end_sleep();
        match slept? {
            Wakeup::Called => Ok(()),
            Wakeup::Abandoned => Err(io::Error::other("the server is gone")),
        }
    }

    fn read_batch(&self, descriptor: &Descriptor) -> Option<Next> {
        let mut lease = None;
        let body;
        let payload = if descriptor.body_size > 0 {
            body = self.read_body(descriptor)?;
            self.lease(descriptor.batch, &mut lease);
            &body
        } else {
            &self.payload
        };
        let inline = TensorMemory::copy_of(payload);
        let mut reader = Reader::new(payload);
        let count = descriptor.count as usize;
        let mut requests = Vec::with_capacity(count.min(payload.len()));
        for _ in 0..count {
            let (mut request, input_count) = read_request(&mut reader)?;
            for _ in 0..input_count {
                self.read_input(
                    &mut reader,
                    &mut request,
                    descriptor.batch,
                    &inline,
                    &mut lease,
                )?;
            }
            requests.push(request);
        }
        let reply = Arc::new(WorkerReply {
            outbox: Arc::clone(&self.outbox),
            link: Arc::clone(&self.link),
            batch: descriptor.batch,
            compute_start_ns: monotonic_ns(),
            compute_end_ns: AtomicU64::new(0),
            unasked: (0..requests.len()).map(|_| AtomicUsize::new(0)).collect(),
        });
        let host_reply = Arc::clone(&reply) as Arc<dyn BatchReply>;
        let end = move |result: Result<()>| {
            let descriptor = reply.descriptor(FrameKind::Executed);
            let sent = reply.outbox.send_executed(descriptor, &result);
            // Held until here, so that the server hears of the execution's end first.
            drop(lease);
            sent
        };
        Some(Next::Batch(HostBatch {
            requests,
            reply: host_reply,
            execution: Execution::new(end),
        }))
    }

    fn read_body(&self, descriptor: &Descriptor) -> Option<Vec<u8>> {
        let byte_size = usize::try_from(descriptor.body_size).ok()?;
        if byte_size > self.input_slab.byte_size() {
            return None;
        }
        let mut body = vec![0; byte_size];
        let offset = usize::try_from(descriptor.body_offset).ok()?;
        self.input_slab.read(offset, &mut body).then_some(body)
    }

    fn read_input(
        &self,
        reader: &mut Reader<'_>,
        request: &mut HostRequest,
        batch: u64,
        inline: &TensorMemory,
        lease: &mut Option<Arc<BatchLease>>,
    ) -> Option<()> {
        let tensor = read_tensor(reader)?;
        let memory = match tensor.place {
            TensorPlace::Inline { offset, byte_size } => inline.slice(offset, byte_size)?,
            TensorPlace::Slab(range) => {
                let owner = SlabOwner {
                    _lease: self.lease(batch, lease),
                    _memory: Arc::clone(&self.input_slab),
                };
                let owner: Arc<dyn Any + Send + Sync> = Arc::new(owner);
                let offset = usize::try_from(range.offset).ok()?;
                let byte_size = usize::try_from(range.byte_size).ok()?;
                TensorMemory::shared(&self.input_slab, offset, byte_size, owner)?
            }
            TensorPlace::Passed(_) => return None,
        };
        let expected = byte_size(tensor.data_type, &tensor.shape).ok()?;
        if expected.is_some_and(|expected| expected != memory.byte_size()) {
            return None;
        }
        if !memory.is_aligned(tensor.data_type.element_size().unwrap_or(1)) {
            return None;
        }
        request.inputs.push(HostTensor {
            name: tensor.name.to_owned(),
            data_type: tensor.data_type,
            shape: tensor.shape,
            memory,
        });
        Some(())
    }

    fn lease(&self, batch: u64, lease: &mut Option<Arc<BatchLease>>) -> Arc<BatchLease> {
        let outbox = &self.outbox;
        let lease = lease.get_or_insert_with(|| {
            Arc::new(BatchLease {
                outbox: Arc::clone(outbox),
                batch,
            })
        });
        Arc::clone(lease)
    }
}

/// Keeps an input of the slab mapped, and the server from using its memory again.
struct SlabOwner {
    _lease: Arc<BatchLease>,
    _memory: Arc<SharedMemory>,
}

impl BatchSource for WorkerSession {
    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.sleeper.as_fd()
    }

    fn try_next(&mut self) -> io::Result<Option<Next>> {
        Self::try_next(self)
    }

    fn prepare_sleep(&mut self) -> bool {
        self.requests.prepare_sleep()
    }

    fn note_call(&mut self) -> io::Result<()> {
        Self::note_call(self)
    }

    fn flush(&self) {
        self.outbox.flush();
    }
}
