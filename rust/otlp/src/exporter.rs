// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use prost::Message;
use tritongw_engine::trace::{TraceExporter, TraceRecord};
use tritongw_types::{Error, Result};
use ureq::Agent;

use crate::messages::{
    ExportTraceServiceRequest, InstrumentationScope, KeyValue, Resource, ResourceSpans, ScopeSpans,
};
use crate::options::OtlpOptions;
use crate::queue::Queue;
use crate::spans::add_spans;

/// How long a collector may take (the default of `OTEL_EXPORTER_OTLP_TIMEOUT`).
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long when the server ends.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends finished traces to a collector, in batches, from a thread of its own.
#[derive(Debug)]
pub struct OtlpExporter {
    options: OtlpOptions,
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl OtlpExporter {
    /// Starts the exporter. Whether a collector is there is seen when there is something to send.
    ///
    /// # Errors
    /// `InvalidArg` if the options contradict each other, `Internal` if the thread cannot start.
    pub fn start(options: OtlpOptions) -> Result<Arc<Self>> {
        options.check()?;
        let queue = Queue::new(
            options.max_queue_size.get(),
            options.max_export_batch_size.get(),
        );
        let queue = Arc::new(queue);
        let sender = Sender::new(&options, Arc::clone(&queue));
        let thread = std::thread::Builder::new()
            .name("otlp".to_owned())
            .spawn(move || sender.run())
            .map_err(|source| {
                Error::internal("failed to start the thread that exports traces")
                    .with_source(source)
            })?;
        Ok(Arc::new(Self {
            options,
            queue,
            thread: Mutex::new(Some(thread)),
        }))
    }
}

impl TraceExporter for OtlpExporter {
    fn export(&self, records: Vec<TraceRecord>) {
        self.queue.push(records);
    }

    fn settings(&self) -> Vec<(&'static str, Vec<String>)> {
        self.options.settings()
    }

    fn shut_down(&self) {
        self.queue.close();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            log::error!("the thread that exports traces panicked");
        }
    }
}

impl Drop for OtlpExporter {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// What the thread owns.
struct Sender {
    url: String,
    schedule_delay: Duration,
    resource: Resource,
    queue: Arc<Queue>,
    agent: Agent,
    is_failing: bool,
}

impl Sender {
    fn new(options: &OtlpOptions, queue: Arc<Queue>) -> Self {
        let own = [
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.name", "tritongw"),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let attributes = own.into_iter().chain(options.resource());
        Self {
            url: options.url.clone(),
            schedule_delay: options.schedule_delay,
            resource: Resource {
                attributes: attributes
                    .map(|(name, value)| KeyValue::string(&name, &value))
                    .collect(),
            },
            queue,
            agent: Agent::new_with_config(Agent::config_builder().build()),
            is_failing: false,
        }
    }

    fn run(mut self) {
        loop {
            let batch = self.queue.next_batch(self.schedule_delay);
            if batch.dropped > 0 {
                let dropped = batch.dropped;
                log::warn!("{dropped} traces were dropped: they come faster than they are sent");
            }
            let is_ending = self.queue.is_closed();
            let is_sent = self.send(&batch.records, is_ending);
            // A collector that does not answer must not hold up the end of the server.
            if batch.is_last || (is_ending && !is_sent) {
                return;
            }
        }
    }

    fn send(&mut self, records: &[TraceRecord], is_ending: bool) -> bool {
        let mut spans = Vec::new();
        for record in records {
            add_spans(record, &mut spans);
        }
        if spans.is_empty() {
            return true;
        }
        let count = spans.len();
        let scope = InstrumentationScope {
            name: "triton-server".to_owned(),
        };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope),
                    spans,
                }],
            }],
        };
        let result = self
            .agent
            .post(&self.url)
            .config()
            .timeout_global(Some(if is_ending { LAST_TIMEOUT } else { TIMEOUT }))
            .build()
            .content_type("application/x-protobuf")
            .send(request.encode_to_vec());
        // Once for each time it begins to fail, not for each batch.
        if let Err(error) = &result
            && !self.is_failing
        {
            log::warn!("failed to export {count} spans to {}: {error}", self.url);
        }
        self.is_failing = result.is_err();
        !self.is_failing
    }
}
