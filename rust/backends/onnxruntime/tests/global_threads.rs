// SPDX-License-Identifier: Apache-2.0
//! Threads shared by all sessions (B010). ORT keeps one environment per process, and its threads
//! with it, so this test has a process of its own.

mod support;

use support::{ADD_SUB, Repository, as_ints, backend, call, ints, settings};

#[test]
fn models_share_the_threads_of_the_backend() {
    let options = settings(&[
        ("enable-global-threadpool", "1"),
        ("intra_op_thread_count", "2"),
        ("inter_op_thread_count", "1"),
    ]);
    let repository = Repository::new()
        .config("m", ADD_SUB)
        .file("m", "add_sub.onnx");
    let fixture = repository.config("n", ADD_SUB).file("n", "add_sub.onnx");
    let fixture = fixture.serve_with(options, backend());
    assert!(fixture.server.is_ready());
    let inputs = vec![
        ints("INPUT0", &[1, 16], &[2; 16]),
        ints("INPUT1", &[1, 16], &[3; 16]),
    ];
    let outputs = fixture.infer(&call(inputs)).expect("valid");
    assert_eq!(as_ints(&outputs[0]), [5; 16]);
}
