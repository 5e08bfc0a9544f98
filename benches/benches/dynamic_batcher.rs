// SPDX-License-Identifier: Apache-2.0
//! What a request costs in the scheduler: the time under the model's lock.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tritongw_scheduler::{
    Arrival, DynamicBatcher, DynamicBatcherConfig, Effects, InstanceIndex, QueuePolicy,
    ResponseOrder, Timestamp,
};

/// Queue lengths with the names they have in ids.
const QUEUES: [(&str, u64); 3] = [("0", 0), ("1k", 1_000), ("100k", 100_000)];

const PREFERRED: u32 = 8;

fn config() -> DynamicBatcherConfig {
    DynamicBatcherConfig {
        max_batch_size: PREFERRED,
        is_batching: true,
        preferred_batch_sizes: vec![PREFERRED],
        ..DynamicBatcherConfig::default()
    }
}

fn with_timeouts() -> DynamicBatcherConfig {
    let default_queue_policy = QueuePolicy {
        default_timeout: Some(Duration::from_secs(60)),
        ..QueuePolicy::default()
    };
    DynamicBatcherConfig {
        default_queue_policy,
        ..config()
    }
}

fn arrival(request: u64) -> Arrival<u64> {
    Arrival {
        request,
        batch_size: 1,
        priority: 0,
        timeout: None,
        compatibility: None,
    }
}

/// A driver of one thread whose clock ticks once for each event.
struct Driver {
    batcher: DynamicBatcher<u64>,
    effects: Effects<u64>,
    now: Timestamp,
}

impl Driver {
    fn new(config: DynamicBatcherConfig) -> Self {
        let batcher = DynamicBatcher::new(config);
        Self {
            batcher,
            effects: Effects::default(),
            now: Timestamp::default(),
        }
    }

    /// Makes a driver whose queue holds `queued` requests and whose instance is free.
    fn queued(config: DynamicBatcherConfig, queued: u64) -> Self {
        let mut driver = Self::new(config);
        for _ in 0..queued {
            driver.push();
        }
        driver
    }

    fn push(&mut self) {
        self.now = self.now + Duration::from_nanos(1);
        let arrival = arrival(self.now.as_nanos());
        black_box(self.batcher.push(self.now, arrival)).expect("the queue has no limit");
    }

    fn poll(&mut self) {
        self.batcher.poll(self.now, &mut self.effects);
    }

    /// Does what instances do: takes each batch, finishes it, and so gets the next, `batches` times.
    fn execute(&mut self, batches: usize) {
        for _ in 0..batches {
            let payload = self.effects.dispatch.pop().expect("a batch was dispatched");
            drop(black_box(payload));
            self.batcher
                .complete(self.now, InstanceIndex(0), &mut self.effects);
        }
    }
}

/// 1,000 arrivals behind those that wait, nothing dispatched.
fn push(c: &mut Criterion) {
    let mut group = c.benchmark_group("batcher");
    group.throughput(Throughput::Elements(1000));
    for (name, queued) in QUEUES {
        group.bench_function(format!("push/preferred={PREFERRED}/queue={name}"), |b| {
            b.iter_batched_ref(
                || Driver::queued(config(), queued),
                |driver| (0..1000).for_each(|_| driver.push()),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// A full batch arrives and a full batch is served, at a steady queue length.
fn serve(c: &mut Criterion) {
    let mut group = c.benchmark_group("batcher");
    group.throughput(Throughput::Elements(PREFERRED.into()));
    for (policy, config) in [("none", config()), ("60s", with_timeouts())] {
        for (name, queued) in QUEUES {
            // One batch executes while the next one arrives.
            let mut driver = Driver::queued(config.clone(), queued + u64::from(PREFERRED));
            driver.poll();
            group.bench_function(format!("serve/timeout={policy}/queue={name}"), |b| {
                b.iter(|| {
                    (0..PREFERRED).for_each(|_| driver.push());
                    driver.execute(1);
                });
            });
        }
    }
    group.finish();
}

/// One request at a time, as a quiet server sees them: push, poll, complete.
fn single(c: &mut Criterion) {
    let unbatched = DynamicBatcherConfig::default();
    let mut group = c.benchmark_group("batcher");
    for (name, config) in [("on", config()), ("off", unbatched)] {
        let mut driver = Driver::new(config);
        group.bench_function(format!("single/batching={name}"), |b| {
            b.iter(|| {
                driver.push();
                driver.poll();
                driver.execute(1);
            });
        });
    }
    group.finish();
}

/// A batch grows one poll at a time while its delay runs; the cost per request must not grow with
/// the batch.
fn wait(c: &mut Criterion) {
    let mut group = c.benchmark_group("batcher");
    for preferred in [8_u32, 64, 512] {
        let config = DynamicBatcherConfig {
            max_batch_size: preferred,
            preferred_batch_sizes: vec![preferred],
            max_queue_delay: Duration::from_secs(1),
            ..config()
        };
        let mut driver = Driver::new(config);
        group.throughput(Throughput::Elements(preferred.into()));
        group.bench_function(format!("wait/preferred={preferred}"), |b| {
            b.iter(|| {
                for _ in 0..preferred {
                    driver.push();
                    driver.poll();
                }
                driver.execute(1);
            });
        });
    }
    group.finish();
}

/// A request is taken back from the middle of the queue, another takes its place.
fn cancel(c: &mut Criterion) {
    let mut group = c.benchmark_group("batcher");
    for (name, queued) in [("1k", 1_000), ("100k", 100_000)] {
        let mut driver = Driver::queued(config(), queued / 2);
        driver
            .batcher
            .set_instance_available(InstanceIndex(0), false);
        let now = driver.now;
        let mut tickets: VecDeque<_> = (0..queued / 2)
            .map(|id| {
                driver
                    .batcher
                    .push(now, arrival(id))
                    .expect("the queue has no limit")
            })
            .collect();
        group.bench_function(format!("cancel/queue={name}"), |b| {
            b.iter(|| {
                let ticket = tickets.pop_front().expect("as many as before");
                assert!(driver.batcher.cancel(now, ticket, &mut driver.effects));
                driver.effects.reject.clear();
                let next = driver
                    .batcher
                    .push(now, arrival(0))
                    .expect("the queue has no limit");
                tickets.push_back(next);
            });
        });
    }
    group.finish();
}

/// Responses of eight requests, in order and the other way round.
fn response_order(c: &mut Criterion) {
    let mut group = c.benchmark_group("response_order");
    group.throughput(Throughput::Elements(8));
    for (name, is_reversed) in [("arrival", false), ("reversed", true)] {
        let mut order = ResponseOrder::new();
        let mut released = Vec::new();
        group.bench_function(format!("respond/answers={name}"), |b| {
            b.iter(|| {
                let mut keys: [_; 8] = std::array::from_fn(|_| order.expect());
                if is_reversed {
                    keys.reverse();
                }
                for key in keys {
                    order
                        .respond(key, 0_u64, true, &mut released)
                        .expect("answered once");
                }
                black_box(&mut released).clear();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, push, serve, single, wait, cancel, response_order);
criterion_main!(benches);
