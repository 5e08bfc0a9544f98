// SPDX-License-Identifier: Apache-2.0
use tritongw_protocol::pb;

use super::{configuration_not_provided, guess_backend};
use crate::text;

/// Returns platform, backend and file name after the guess.
fn guess(text: &str, files: &[&str]) -> [String; 3] {
    let mut config = text::parse("config.pbtxt", text).expect("valid text");
    guess_backend(&mut config, "m", files).expect("the backend can be told");
    assert_eq!(config.name, "m");
    [
        config.platform,
        config.backend,
        config.default_model_filename,
    ]
}

#[test]
fn the_backend_is_told_by_the_files() {
    let table: [(&[&str], [&str; 3]); 12] = [
        (
            &["model.graphdef"],
            ["tensorflow_graphdef", "tensorflow", "model.graphdef"],
        ),
        (
            &["model.savedmodel/"],
            ["tensorflow_savedmodel", "tensorflow", "model.savedmodel"],
        ),
        (&["model.plan"], ["tensorrt_plan", "tensorrt", "model.plan"]),
        (
            &["model.onnx"],
            ["onnxruntime_onnx", "onnxruntime", "model.onnx"],
        ),
        (
            &["model.onnx/"],
            ["onnxruntime_onnx", "onnxruntime", "model.onnx"],
        ),
        (&["model.xml", "model.bin"], ["", "openvino", "model.xml"]),
        (&["model.pt"], ["pytorch_libtorch", "pytorch", "model.pt"]),
        (&["model.pt2"], ["torch_aoti", "pytorch", "model.pt2"]),
        (
            &["model.pt", "model.pt2"],
            ["pytorch_libtorch", "pytorch", "model.pt"],
        ),
        (&["model.py", "weights.bin"], ["", "python", "model.py"]),
        (
            &["model.py", "model.onnx"],
            ["onnxruntime_onnx", "onnxruntime", "model.onnx"],
        ),
        (
            &["model.onnx", "model.plan"],
            ["tensorrt_plan", "tensorrt", "model.plan"],
        ),
    ];
    for (files, expected) in table {
        assert_eq!(guess("", files), expected, "{files:?}");
    }
}

#[test]
fn platform_backend_and_file_name_tell_each_other() {
    let table = [
        (
            "platform: 'tensorrt_plan'",
            ["tensorrt_plan", "tensorrt", "model.plan"],
        ),
        (
            "platform: 'onnxruntime_onnx'",
            ["onnxruntime_onnx", "onnxruntime", "model.onnx"],
        ),
        (
            "platform: 'pytorch_libtorch'",
            ["pytorch_libtorch", "pytorch", "model.pt"],
        ),
        (
            "platform: 'torch_aoti'",
            ["torch_aoti", "pytorch", "model.pt2"],
        ),
        (
            "platform: 'tensorflow_savedmodel'",
            ["tensorflow_savedmodel", "tensorflow", "model.savedmodel"],
        ),
        (
            "backend: 'onnxruntime'",
            ["onnxruntime_onnx", "onnxruntime", "model.onnx"],
        ),
        (
            "backend: 'tensorrt'",
            ["tensorrt_plan", "tensorrt", "model.plan"],
        ),
        ("backend: 'openvino'", ["", "openvino", "model.xml"]),
        ("backend: 'python'", ["", "python", "model.py"]),
        (
            "backend: 'pytorch'",
            ["pytorch_libtorch", "pytorch", "model.pt"],
        ),
        (
            "backend: 'tensorflow' default_model_filename: 'model.graphdef'",
            ["tensorflow_graphdef", "tensorflow", "model.graphdef"],
        ),
        (
            "default_model_filename: 'model.py'",
            ["", "python", "model.py"],
        ),
        (
            "default_model_filename: 'model.pt2'",
            ["torch_aoti", "pytorch", "model.pt2"],
        ),
    ];
    for (text, expected) in table {
        assert_eq!(guess(text, &[]), expected, "{text}");
    }
}

#[test]
fn what_is_given_stays() {
    let table = [
        (
            "backend: 'onnxruntime' default_model_filename: 'net.onnx'",
            ["onnxruntime_onnx", "onnxruntime", "net.onnx"],
        ),
        ("backend: 'mine'", ["", "mine", ""]),
        ("backend: 'mine' platform: 'p'", ["p", "mine", ""]),
        ("platform: 'ensemble'", ["ensemble", "", ""]),
        ("platform: 'custom'", ["custom", "", ""]),
        ("default_model_filename: 'net.bin'", ["", "", "net.bin"]),
    ];
    for (text, expected) in table {
        assert_eq!(guess(text, &["model.py", "model.onnx"]), expected, "{text}");
    }
}

#[test]
fn files_and_directories_are_told_apart() {
    for files in [
        &["model.plan/"],
        &["model.graphdef/"],
        &["model.pt/"],
        &["model.savedmodel"],
    ] {
        let mut config = pb::ModelConfig::default();
        assert!(guess_backend(&mut config, "m", files).is_err(), "{files:?}");
    }
}

#[test]
fn a_model_may_carry_its_backend_in_its_name() {
    let mut config = pb::ModelConfig::default();
    guess_backend(&mut config, "echo.identity", &[]).expect("the name tells it");
    assert_eq!(config.name, "echo.identity");
    assert_eq!(config.backend, "identity");
    assert_eq!(config.default_model_filename, "model.identity");
    assert_eq!(config.platform, "");
}

#[test]
fn nothing_to_go_by_is_an_error() {
    let error = guess_backend(&mut pb::ModelConfig::default(), "m", &["weights.bin"]);
    assert_eq!(
        error.expect_err("nothing tells the backend").to_string(),
        "Invalid argument: Invalid model name: Could not determine backend for model 'm' with no \
         backend in model configuration. Expected model name of the form 'model.<backend_name>'."
    );
    assert_eq!(
        configuration_not_provided("m").to_string(),
        "Not found: model configuration is not provided for model 'm'"
    );
}
