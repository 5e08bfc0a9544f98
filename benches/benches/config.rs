// SPDX-License-Identifier: Apache-2.0
//! What a model configuration costs when its model is loaded and when it is asked for.

use std::fmt::Write;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tritongw_config::{ModelConfig, NormalizeOptions, guess_backend, json, normalize, text};
use tritongw_protocol::pb;

/// Tensors on each side of the large configuration.
const LARGE_TENSOR_COUNT: usize = 500;

/// Configurations by model name: two small tensors a side, one use of each feature, very many
/// tensors.
fn texts() -> [(&'static str, String); 3] {
    let simple = include_str!("../../model_repository/simple/config.pbtxt");
    let golden = include_str!("../../rust/config/testdata/golden_model_config.pbtxt");
    [
        ("simple", simple.to_owned()),
        ("golden", golden.to_owned()),
        ("large", large()),
    ]
}

fn large() -> String {
    let mut text = "backend: \"python\"\nmax_batch_size: 64\ndynamic_batching { }\n".to_owned();
    for side in ["input", "output"] {
        for index in 0..LARGE_TENSOR_COUNT {
            let tensor =
                format!("name: \"{side}_{index}\" data_type: TYPE_FP32 dims: [ 3, -1, 224 ]");
            writeln!(text, "{side} {{ {tensor} }}").expect("a String takes all");
        }
    }
    text
}

fn parse(text: &str) -> pb::ModelConfig {
    text::parse("config.pbtxt", text).expect("the text is well formed")
}

/// All that is done with `config.pbtxt` when its model is loaded.
fn load(name: &str, text: &str) -> ModelConfig {
    let mut config = parse(text);
    let files = ["model.onnx", "model.py"];
    guess_backend(&mut config, name, &files).expect("the files tell the backend");
    normalize(&mut config, &NormalizeOptions::default()).expect("no GPU is asked for");
    ModelConfig::from_message(config).expect("the configuration is valid")
}

fn config(c: &mut Criterion) {
    let mut group = c.benchmark_group("config");
    for (name, text) in texts() {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(format!("parse/text={name}"), |b| b.iter(|| parse(&text)));
        group.bench_function(format!("load/text={name}"), |b| {
            b.iter(|| load(name, &text))
        });

        let config = parse(&text);
        group.throughput(Throughput::Bytes(json::print(&config).len() as u64));
        group.bench_function(format!("print/text={name}"), |b| {
            b.iter(|| json::print(&config))
        });
    }
    group.finish();
}

criterion_group!(benches, config);
criterion_main!(benches);
