// SPDX-License-Identifier: Apache-2.0
//! Metrics of the server, asked for through the control socket.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use parking_lot::Mutex;
use tritongw_engine::{MetricKind, MetricUpdate};
use tritongw_types::{Error, Result};

use super::link::Link;
use crate::host::{MetricService, NewMetric};
use crate::shared::control::ToServer;
use crate::shared::metric_message::{
    MetricAnswer, MetricRequest, kind_number, read, update_numbers,
};

/// Answers that threads of the worker wait for.
#[derive(Debug, Default)]
pub(super) struct MetricQuestions(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    last_token: u64,
    by_token: HashMap<u64, SyncSender<MetricAnswer>>,
}

impl MetricQuestions {
    /// Hands an answer to the thread that waits for it.
    pub(super) fn answer(&self, token: u64, answer: MetricAnswer) {
        let waiting = self.0.lock().by_token.remove(&token);
        if let Some(sender) = waiting {
            // Its channel has room for the one answer.
            let _ = sender.send(answer);
        }
    }
}

/// The server's metrics as this process reaches them.
#[derive(Debug)]
pub(super) struct LinkMetrics(pub(super) Arc<Link>);

impl LinkMetrics {
    fn ask(&self, request: MetricRequest) -> Result<u64> {
        let (sender, answer) = sync_channel(1);
        let questions = &self.0.metric_questions;
        let token = {
            let mut waiting = questions.0.lock();
            waiting.last_token += 1;
            let token = waiting.last_token;
            waiting.by_token.insert(token, sender);
            token
        };
        if let Err(error) = self.0.tell(&ToServer::Metric { token, request }) {
            questions.0.lock().by_token.remove(&token);
            return Err(gone(error));
        }
        read(
            answer
                .recv()
                .map_err(|_| Error::internal("the server is gone"))?,
        )
    }

    /// Says something that is not answered.
    fn tell(&self, request: MetricRequest) -> Result<()> {
        let message = ToServer::Metric { token: 0, request };
        self.0.tell(&message).map_err(gone)
    }
}

fn gone(source: std::io::Error) -> Error {
    Error::internal(format!("failed to reach the server: {source}")).with_source(source)
}

impl MetricService for LinkMetrics {
    fn new_family(&self, name: &str, help: &str, kind: MetricKind) -> Result<u64> {
        self.ask(MetricRequest::NewFamily {
            name: name.to_owned(),
            help: help.to_owned(),
            kind: kind_number(kind),
        })
    }

    fn new_metric(&self, metric: NewMetric) -> Result<u64> {
        let bits = |all: Vec<f64>| all.into_iter().map(f64::to_bits).collect();
        self.ask(MetricRequest::NewMetric {
            family: metric.family,
            labels: metric.labels,
            buckets: metric.buckets.map(bits),
        })
    }

    fn update(&self, metric: u64, update: MetricUpdate) -> Result<()> {
        let (kind, bits) = update_numbers(update);
        self.tell(MetricRequest::Update { metric, kind, bits })
    }

    fn value(&self, metric: u64) -> Result<f64> {
        self.ask(MetricRequest::Value { metric })
            .map(f64::from_bits)
    }

    fn release(&self, number: u64) {
        if let Err(error) = self.tell(MetricRequest::Release { number }) {
            log::warn!("failed to let go of a metric: {}", error.message());
        }
    }
}
