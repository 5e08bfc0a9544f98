// SPDX-License-Identifier: Apache-2.0
//! Libraries of custom operators and execution accelerators (B002-B005, B007, B009).

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::{ADD_SUB, as_floats, as_ints, call, floats, ints, serve, testdata};
use tempfile::TempDir;

const TWICE: &str = r#"
input [ { name: "X" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ 4 ] } ]
"#;

/// Compiles the library of custom operators into `directory`.
fn custom_op_library(directory: &Path) -> PathBuf {
    let library = directory.join("libcustom_op.so");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o"])
        .args([&library, &testdata("custom_op.c")])
        .status();
    assert!(status.expect("a C compiler").success());
    library
}

fn with_library(config: &str, library: &Path) -> String {
    let library = library.display();
    format!("{config}\nmodel_operations {{ op_library_filename: [ \"{library}\" ] }}")
}

#[test]
fn operators_of_a_library_are_the_models() {
    let directory = TempDir::new().expect("a temporary directory");
    let library = custom_op_library(directory.path());
    // With the tensors in the configuration, and with those that the graph tells.
    for config in [TWICE, ""] {
        let config = with_library(config, &library);
        let fixture = serve("custom_op.onnx", &config);
        let outputs = fixture
            .infer(&call(vec![floats("X", &[4], &[1.0, -2.0, 3.5, 0.0])]))
            .expect("valid");
        assert_eq!(as_floats(&outputs[0]), [2.0, -4.0, 7.0, 0.0]);
    }
}

#[test]
fn several_instances_have_the_library_each() {
    let directory = TempDir::new().expect("a temporary directory");
    let library = custom_op_library(directory.path());
    let instances = format!("{TWICE} instance_group [ {{ kind: KIND_CPU count: 3 }} ]");
    let fixture = serve("custom_op.onnx", &with_library(&instances, &library));
    for _ in 0..6 {
        let outputs = fixture
            .infer(&call(vec![floats("X", &[4], &[1.0; 4])]))
            .expect("valid");
        assert_eq!(as_floats(&outputs[0]), [2.0; 4]);
    }
}

#[test]
fn a_library_that_is_missing_or_none_keeps_the_model_from_loading() {
    let reason = serve("custom_op.onnx", TWICE).reason();
    assert!(
        reason.starts_with("Internal: onnx runtime error "),
        "{reason}"
    );
    assert!(reason.contains("tritongw.test:Twice"), "{reason}");
    for library in [Path::new("/nowhere/libops.so"), &testdata("custom_op.onnx")] {
        let reason = serve("custom_op.onnx", &with_library(TWICE, library)).reason();
        assert!(
            reason.starts_with("Internal: onnx runtime error "),
            "{reason}"
        );
        assert!(reason.contains(&library.display().to_string()), "{reason}");
    }
}

fn with_accelerator(place: &str, name: &str) -> String {
    format!(
        "{ADD_SUB}optimization {{ execution_accelerators {{ {place}_execution_accelerator [ {{ \
         name: \"{name}\" }} ] }} }}"
    )
}

fn adds(config: &str) {
    let fixture = serve("add_sub.onnx", config);
    let inputs = vec![
        ints("INPUT0", &[1, 16], &[2; 16]),
        ints("INPUT1", &[1, 16], &[3; 16]),
    ];
    let outputs = fixture.infer(&call(inputs)).expect(config);
    assert_eq!(as_ints(&outputs[0]), [5; 16]);
}

/// The usual ONNX Runtime has no OpenVINO in it, another build has.
#[test]
fn openvino_executes_or_is_a_clear_error() {
    let config = with_accelerator("cpu", "openvino");
    let fixture = serve("add_sub.onnx", &config);
    if fixture.server.is_ready() {
        return adds(&config);
    }
    let reason = fixture.reason();
    assert!(
        reason.starts_with("Internal: onnx runtime error "),
        "{reason}"
    );
    assert!(reason.contains("OpenVINO"), "{reason}");
}

#[test]
fn accelerators_of_the_processor_must_be_known() {
    assert_eq!(
        serve("add_sub.onnx", &with_accelerator("cpu", "OpenVINO")).reason(),
        "Invalid argument: unknown Execution Accelerator 'OpenVINO' is requested"
    );
}

#[test]
fn what_is_said_of_gpus_matters_not_to_the_processor() {
    for accelerator in ["tensorrt", "cuda", "warp"] {
        adds(&with_accelerator("gpu", accelerator));
    }
    let parameters = [
        ("cudnn_conv_algo_search", "7"),
        ("gpu_mem_limit", "1"),
        ("arena_extend_strategy", "most"),
        ("do_copy_in_default_stream", "perhaps"),
    ];
    let parameters = parameters.map(|(key, value)| {
        format!("parameters {{ key: \"{key}\" value {{ string_value: \"{value}\" }} }}\n")
    });
    adds(&format!("{ADD_SUB}{}", parameters.concat()));
}
