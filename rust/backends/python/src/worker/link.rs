// SPDX-License-Identifier: Apache-2.0
use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};

use log::kv::Value;
use parking_lot::Mutex;
use rustix::process::Signal;
use tritongw_engine::backend::ReadyCheck;
use tritongw_engine::model_log::TRACEBACK_TARGET;

use super::metrics::MetricQuestions;
use crate::host::ReadyThread;
use crate::shared::control::{ControlSocket, LogLine, ToServer, ToWorker};

/// The control socket, shared by all threads of the worker.
#[derive(Debug)]
pub(super) struct Link {
    socket: ControlSocket,
    questions: Mutex<Questions>,
    pub(super) metric_questions: MetricQuestions,
    // Where the model has `is_ready`.
    pub(super) readiness: OnceLock<Arc<ReadyThread>>,
}

#[derive(Debug, Default)]
struct Questions {
    last_token: u64,
    waiting: HashMap<u64, SyncSender<bool>>,
}

impl Link {
    /// Takes the socket; a thread listens on it from now on.
    pub(super) fn start(socket: ControlSocket) -> std::io::Result<Arc<Self>> {
        let link = Arc::new(Self {
            socket,
            questions: Mutex::default(),
            metric_questions: MetricQuestions::default(),
            readiness: OnceLock::new(),
        });
        let listener = Arc::clone(&link);
        std::thread::Builder::new()
            .name("tritongw-link".to_owned())
            .spawn(move || listener.listen())?;
        Ok(link)
    }

    /// Tells the server something.
    pub(super) fn tell(&self, message: &ToServer) -> std::io::Result<()> {
        self.socket.send(message, &[])
    }

    /// Asks whether a request was given up; blocks until the server answers.
    pub(super) fn is_cancelled(&self, batch: u64, index: u32) -> bool {
        self.ask(|token| ToServer::IsCancelled {
            token,
            batch,
            index,
        })
    }

    /// Blocks until the client of a request can be sent more.
    pub(super) fn wait_for_room(&self, batch: u64, index: u32) {
        self.ask(|token| ToServer::WaitForRoom {
            token,
            batch,
            index,
        });
    }

    /// Asks something and blocks until the server answers; false if it cannot be asked.
    fn ask(&self, question: impl FnOnce(u64) -> ToServer) -> bool {
        let (sender, answer) = sync_channel(1);
        let token = {
            let mut questions = self.questions.lock();
            questions.last_token += 1;
            let token = questions.last_token;
            questions.waiting.insert(token, sender);
            token
        };
        if let Err(error) = self.tell(&question(token)) {
            log::warn!("failed to ask the server about a request: {error}");
            self.questions.lock().waiting.remove(&token);
            return false;
        }
        answer.recv().unwrap_or(false)
    }

    /// Asks the model, and tells the server when it has answered.
    fn check_ready(self: &Arc<Self>) {
        let Some(readiness) = self.readiness.get() else {
            return;
        };
        let link = Arc::clone(self);
        readiness.ask(Box::new(move |answer| {
            let reason = answer.err().map(|error| error.message().to_owned());
            if let Err(error) = link.tell(&ToServer::Ready { reason }) {
                log::warn!("failed to tell the server whether the model is ready: {error}");
            }
        }));
    }

    fn listen(self: &Arc<Self>) {
        while let Ok(Some((message, _))) = self.socket.receive::<ToWorker>() {
            let (token, answer) = match message {
                ToWorker::Cancelled {
                    token,
                    is_cancelled,
                } => (token, is_cancelled),
                ToWorker::Room { token } => (token, true),
                ToWorker::Metric { token, answer } => {
                    self.metric_questions.answer(token, answer);
                    continue;
                }
                ToWorker::CheckReady => {
                    self.check_ready();
                    continue;
                }
                ToWorker::Serve(_) | ToWorker::CompleteConfig(_) => continue,
            };
            if let Some(asker) = self.questions.lock().waiting.remove(&token) {
                // The asker's channel has room for the one answer.
                let _ = asker.send(answer);
            }
        }
        // The server is gone, and nobody is left to answer to. Nothing gentler is sure to end a
        // process whose threads run foreign code, and the processes it has started.
        let this = rustix::process::getpid();
        let _ = if rustix::process::getpgrp() == this {
            rustix::process::kill_current_process_group(Signal::KILL)
        } else {
            rustix::process::kill_process(this, Signal::KILL)
        };
    }
}

/// Sends every line to the server's log.
struct LinkLog(Arc<Link>);

/// Makes [`log`] of this process write to the server's log.
pub(super) fn log_to_server(link: &Arc<Link>, max_level: usize) {
    let level = log::LevelFilter::iter().find(|level| *level as usize == max_level);
    if log::set_boxed_logger(Box::new(LinkLog(Arc::clone(link)))).is_ok() {
        log::set_max_level(level.unwrap_or(log::LevelFilter::Info));
    }
}

impl log::Log for LinkLog {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let values = record.key_values();
        let text = |value: Value<'_>| value.to_string();
        let line = LogLine {
            level: record.level() as usize,
            file: record.file().unwrap_or_default().to_owned(),
            line: record.line().unwrap_or_default(),
            message: record.args().to_string(),
            request_id: values
                .get("request_id".into())
                .map_or_else(String::new, text),
            is_traceback: record.target() == TRACEBACK_TARGET,
        };
        // A line that cannot be sent has nowhere else to go.
        let _ = self.0.tell(&ToServer::Log(line));
    }

    fn flush(&self) {}
}
