// SPDX-License-Identifier: Apache-2.0
//! Runs a model's warm-up samples on an instance before it takes requests (M097-M102, S096).
//!
//! A sample goes straight to its instance, past the scheduler; it counts in the statistics as what
//! clients send does.

mod sample;
mod sink;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use tritongw_scheduler::InstanceIndex;
use tritongw_types::{Error, Result};

use crate::batch::{Batch, ExecutionPermit, Requests};
use crate::buffer::HeapAllocator;
use crate::clock::monotonic_ns;
use crate::instance::ModelInstance;
use crate::model::Model;
use crate::model_scheduler::ModelScheduler;
use sample::Sample;
use sink::{Event, EventSink};

/// The samples of a model, ready to be run on any of its instances.
pub(crate) struct Warmup {
    model: Arc<Model>,
    samples: Vec<Sample>,
}

impl Warmup {
    /// Makes the data of all samples; `model` keeps no order of responses.
    ///
    /// # Errors
    /// If a file cannot be used, or a sample is no request to the model.
    pub(crate) fn prepare(model: Arc<Model>) -> Result<Self> {
        let context = model.context();
        let samples = context.config.warmup.iter();
        let samples = samples.map(|sample| {
            let sample = Sample::read(sample, context)?;
            sample.request(&model)?; // Checks it.
            Ok(sample)
        });
        let samples = samples.collect::<Result<_>>()?;
        Ok(Self { model, samples })
    }

    /// Runs all samples on an instance that takes no requests yet; blocks until it is done.
    ///
    /// # Errors
    /// What the first sample that failed was answered with.
    pub(crate) fn run(
        &self,
        instance: &ModelInstance,
        scheduler: &Arc<ModelScheduler>,
        index: InstanceIndex,
    ) -> Result<()> {
        let model = self.model.name();
        for sample in &self.samples {
            for iteration in 1..=sample.count {
                log::debug!(
                    "model '{model}' instance {} is running warmup sample '{}' for iteration \
                     {iteration}",
                    instance.name(),
                    sample.name
                );
                self.execute(sample, instance, scheduler, index)
                    .map_err(|errors| {
                        Error::invalid_arg(format!(
                            "failed to run warmup sample '{}': {errors}",
                            sample.name
                        ))
                    })?;
            }
        }
        Ok(())
    }

    /// Executes a sample once.
    ///
    /// # Errors
    /// The texts of all errors, as Triton strings them together.
    fn execute(
        &self,
        sample: &Sample,
        instance: &ModelInstance,
        scheduler: &Arc<ModelScheduler>,
        index: InstanceIndex,
    ) -> Result<(), String> {
        let max_batch_size = self.model.config().max_batch_size;
        if sample.batch_size > max_batch_size.max(1) {
            return Err(format!(
                "batch size {} for '{}', max allowed is {max_batch_size}; ",
                sample.batch_size,
                instance.name()
            ));
        }
        let (sender, events) = channel();
        let mut requests = Requests::new();
        for _ in 0..sample.batch_size {
            let mut request = sample
                .request(&self.model)
                .map_err(|error| listed(&error))?;
            request.timestamps.request_start_ns = monotonic_ns();
            request.timestamps.queue_start_ns = request.timestamps.request_start_ns;
            let sink = Arc::new(EventSink(sender.clone()));
            request.set_response_handler(Arc::new(HeapAllocator), sink);
            requests.push(request);
        }
        // Nobody listens any more once the load has failed.
        let freed = Box::new(move || drop(sender.send(Event::Freed)));
        let permit = ExecutionPermit::outside_of_schedule(Arc::clone(scheduler), index, freed);
        instance.submit(Batch::new(requests, sample.batch_size, permit));
        let errors = wait(&events, sample.batch_size);
        if errors.is_empty() {
            return Ok(());
        }
        Err(errors.iter().map(listed).collect())
    }
}

fn listed(error: &Error) -> String {
    format!("{}; ", error.message())
}

/// Waits until so many requests are answered and the instance is free again; returns the errors
/// among the answers.
fn wait(events: &Receiver<Event>, request_count: u32) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut open = u64::from(request_count) + 1;
    while open > 0 {
        match events.recv() {
            Ok(Event::Failed(error)) => errors.push(error),
            Ok(Event::Answered | Event::Freed) => open -= 1,
            // INVARIANT: a responder that goes answers, a permit that goes frees.
            Err(_) => break,
        }
    }
    errors
}
