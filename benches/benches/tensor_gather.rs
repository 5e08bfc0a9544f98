// SPDX-License-Identifier: Apache-2.0
//! What it costs to put the inputs of a batch behind one another.

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tritongw_engine::InputTensor;
use tritongw_types::{DataType, Shape};

/// Sizes of one request's input in bytes, with the names they have in ids.
const SIZES: [(&str, usize); 3] = [("64", 64), ("3Ki", 3 << 10), ("600Ki", 600 << 10)];

/// Makes the inputs of requests that came one by one, each with memory of its own.
fn inputs(request_count: usize, size: usize) -> Vec<InputTensor> {
    let shape = Shape::from_slice(&[1, size as i64]);
    let input = |request: usize| {
        let data = Bytes::from(vec![request as u8; size]);
        InputTensor::new("INPUT0", DataType::Uint8, shape.clone(), data)
    };
    (0..request_count).map(input).collect()
}

fn gather(inputs: &[InputTensor], target: &mut Vec<u8>) {
    target.clear();
    for input in inputs {
        input
            .append_to(target)
            .expect("the input lies in host memory");
    }
}

/// The buffer is an instance's: it is as large as its batches after the first one.
fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("tensor_gather");
    for (name, size) in SIZES {
        for request_count in [1, 8, 64] {
            let inputs = inputs(request_count, size);
            let mut target = Vec::new();
            group.throughput(Throughput::Bytes((request_count * size) as u64));
            group.bench_function(
                format!("append/requests={request_count}/bytes={name}"),
                |b| {
                    b.iter(|| gather(&inputs, &mut target));
                },
            );
            assert_eq!(target.len(), request_count * size);
        }
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
