// SPDX-License-Identifier: Apache-2.0
//! What keeps a model from loading, and what does not.

mod support;

use std::sync::Arc;

use support::{
    ADD_SUB, Repository, as_floats, as_ints, call, floats, ints, library, serve, settings, testdata,
};
use tritongw_backend_onnxruntime::{LibraryLocation, OnnxRuntimeBackend, OnnxRuntimeConfig};
use tritongw_engine::ServerOptions;

fn reason(file: &str, config: &str) -> String {
    serve(file, config).reason()
}

#[test]
fn configurations_that_contradict_the_graph_have_tritons_texts() {
    let input1 = r#"{ name: "INPUT1" data_type: TYPE_INT32 dims: [ 16 ] }"#;
    let output1 = r#"{ name: "OUTPUT1" data_type: TYPE_INT32 dims: [ 16 ] }"#;
    let cases = [
        (
            ADD_SUB.replace(&format!(",\n  {input1}"), ""),
            "unable to load model 'm', configuration expects 1 inputs, model provides 2",
        ),
        (
            ADD_SUB.replace(input1, &input1.replace("INPUT1", "OTHER")),
            "unexpected inference input 'OTHER', allowed inputs are: INPUT0, INPUT1",
        ),
        (
            ADD_SUB.replace(output1, &output1.replace("OUTPUT1", "OTHER")),
            "unexpected inference output 'OTHER', allowed outputs are: OUTPUT0, OUTPUT1",
        ),
        (
            ADD_SUB.replace(input1, &input1.replace("INT32", "FP32")),
            "unable to load model 'm', configuration expects datatype TYPE_FP32 for input \
             'INPUT1', model provides TYPE_INT32",
        ),
        (
            ADD_SUB.replace(output1, &output1.replace("INT32", "STRING")),
            "unable to load model 'm', configuration expects datatype TYPE_STRING for output \
             'OUTPUT1', model provides TYPE_INT32",
        ),
        (
            ADD_SUB.replace(input1, &input1.replace("16", "8")),
            "model 'm', tensor 'INPUT1': the model expects 2 dimensions (shape [-1,16]) but the \
             model configuration specifies 2 dimensions (an initial batch dimension because \
             max_batch_size > 0 followed by the explicit tensor shape, making complete shape \
             [-1,8])",
        ),
        (
            ADD_SUB.replace(output1, &output1.replace("16", "-1")),
            "model 'm', tensor 'OUTPUT1': the model expects 2 dimensions (shape [-1,16]) but the \
             model configuration specifies 2 dimensions (an initial batch dimension because \
             max_batch_size > 0 followed by the explicit tensor shape, making complete shape \
             [-1,-1])",
        ),
        (
            ADD_SUB.replace("max_batch_size: 8", "max_batch_size: 0"),
            "model 'm', tensor 'INPUT0': the model expects 2 dimensions (shape [-1,16]) but the \
             model configuration specifies 1 dimensions (shape [16])",
        ),
        (
            ADD_SUB.replace(
                input1,
                r#"{ name: "INPUT1" data_type: TYPE_INT32 dims: [ 16 ] },
                   { name: "MORE" data_type: TYPE_INT32 dims: [ 1 ] optional: true }"#,
            ),
            "unable to load model 'm', optional input 'MORE' is not supported for models that \
             support batching",
        ),
        (
            ADD_SUB.replace(input1, &input1.replace("INT32", "BF16")),
            "unsupported datatype TYPE_BF16 for input 'INPUT1' for model 'm'",
        ),
    ];
    for (config, expected) in cases {
        let reason = reason("add_sub.onnx", &config);
        let (_, text) = reason.split_once(": ").expect("a code before the text");
        assert_eq!(text, expected);
    }
}

#[test]
fn graphs_that_cannot_batch_are_refused_with_tritons_text() {
    let config = |max_batch_size| {
        format!(
            r#"max_batch_size: {max_batch_size}
            input [ {{ name: "X" data_type: TYPE_FP32 dims: [ 4 ] }} ]
            output [ {{ name: "Y" data_type: TYPE_FP32 dims: [ 4 ] }} ]"#
        )
    };
    assert_eq!(
        reason("pass_through.onnx", &config(4)),
        "Invalid argument: model 'm', tensor 'X': for the model to support batching the shape \
         should have at least 1 dimension and the first dimension must be -1; but shape expected \
         by the model is [4]"
    );
    assert_eq!(
        reason("scalar.onnx", &config(0)),
        "Invalid argument: unable to load model 'm', scalar tensor 'X', should only provide 1 in \
         the model configuration when the model doesn't support batching. Model configuration \
         provided: [4]."
    );
    assert_eq!(
        reason("bfloat16.onnx", &config(0)),
        "Invalid argument: unable to load model 'm', configuration expects datatype TYPE_FP32 for \
         input 'X', model provides TYPE_<invalid>"
    );
    assert_eq!(
        reason("sequence.onnx", &config(0)),
        "Unsupported: Unsupported ONNX Type 'ONNX_TYPE_SEQUENCE' for I/O 'Y', expected \
         'ONNX_TYPE_TENSOR'."
    );
}

#[test]
fn files_that_are_missing_or_broken_are_clear_errors() {
    let fixture = Repository::new().config("m", ADD_SUB).serve();
    let reason = fixture.reason();
    assert!(
        reason.starts_with("Unavailable: unable to find '"),
        "{reason}"
    );
    assert!(
        reason.ends_with("/m/1/model.onnx' for model instance 'm'"),
        "{reason}"
    );
    let good = std::fs::read(testdata("add_sub.onnx")).expect("in the tree");
    for broken in [&b""[..], b"not a model", &good[..good.len() / 2]] {
        let repository = Repository::new().config("m", ADD_SUB);
        std::fs::write(repository.version("m").join("model.onnx"), broken).expect("writable");
        let reason = repository.serve().reason();
        assert!(
            reason.starts_with("Internal: onnx runtime error "),
            "{reason}"
        );
    }
}

#[test]
fn a_directory_holds_the_model_and_its_external_data() {
    let config = r#"
        input [ { name: "X" data_type: TYPE_FP32 dims: [ 4 ] } ]
        output [ { name: "Y" data_type: TYPE_FP32 dims: [ 4 ] } ]
    "#;
    let repository = Repository::new().config("m", config);
    let directory = repository.version("m").join("model.onnx");
    std::fs::create_dir(&directory).expect("writable");
    for (from, to) in [
        ("external.onnx", "model.onnx"),
        ("external.data", "external.data"),
    ] {
        std::fs::copy(testdata(from), directory.join(to)).expect("in the tree");
    }
    let fixture = repository.serve();
    let outputs = fixture
        .infer(&call(vec![floats("X", &[4], &[1.0; 4])]))
        .expect("valid");
    assert_eq!(as_floats(&outputs[0]), [11.0, 21.0, 31.0, 41.0]);
}

#[test]
fn a_model_file_may_have_another_name() {
    let config = format!("{ADD_SUB} default_model_filename: \"other.onnx\"");
    let repository = Repository::new().config("m", &config);
    let target = repository.version("m").join("other.onnx");
    std::fs::copy(testdata("add_sub.onnx"), target).expect("in the tree");
    assert!(repository.serve().server.is_ready());
}

#[test]
fn without_the_library_the_error_names_the_extra() {
    let library = LibraryLocation::Find(Box::new(|| None));
    let backend = OnnxRuntimeBackend::new(OnnxRuntimeConfig { library });
    let repository = Repository::new()
        .config("m", ADD_SUB)
        .file("m", "add_sub.onnx");
    let fixture = repository.serve_with(ServerOptions::default(), backend);
    assert_eq!(
        fixture.reason(),
        "Unavailable: ONNX Runtime is not installed: install it with `pip install 'tritongw[onnx]'`"
    );
    assert!(fixture.server.is_live());
}

#[test]
fn a_library_that_is_none_is_a_clear_error() {
    let library = LibraryLocation::Path(testdata("add_sub.onnx"));
    let backend = OnnxRuntimeBackend::new(OnnxRuntimeConfig { library });
    let repository = Repository::new()
        .config("m", ADD_SUB)
        .file("m", "add_sub.onnx");
    let reason = repository
        .serve_with(ServerOptions::default(), backend)
        .reason();
    assert!(
        reason.starts_with("Internal: failed to load ONNX Runtime from '"),
        "{reason}"
    );
}

#[test]
fn the_setting_library_path_comes_first() {
    let library = library().display().to_string();
    let nowhere = LibraryLocation::Find(Box::new(|| panic!("not asked")));
    let backend = OnnxRuntimeBackend::new(OnnxRuntimeConfig { library: nowhere });
    let repository = Repository::new()
        .config("m", ADD_SUB)
        .file("m", "add_sub.onnx");
    let fixture = repository.serve_with(settings(&[("library-path", &library)]), backend);
    assert!(fixture.server.is_ready());
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

#[test]
fn parameters_of_a_model_are_taken() {
    let parameters = [
        ("intra_op_thread_count", "2"),
        ("inter_op_thread_count", "1"),
        ("execution_mode", "1"),
        ("enable_mem_arena", "true"),
        ("enable_mem_pattern", "0"),
        ("memory.enable_memory_arena_shrinkage", "cpu:0"),
        ("session.use_device_allocator_for_initializers", "1"),
        ("session.intra_op.allow_spinning", "1"),
    ];
    let parameters = parameters.map(|(key, value)| {
        format!("parameters {{ key: \"{key}\" value {{ string_value: \"{value}\" }} }}\n")
    });
    adds(&format!("{ADD_SUB}{}", parameters.concat()));
    for level in [-1, 0, 1, 2] {
        let level = format!("{ADD_SUB} optimization {{ graph {{ level: {level} }} }}");
        adds(&level);
    }
}

#[test]
fn parameters_that_mean_nothing_are_refused() {
    let with = |key: &str, value: &str| {
        let parameter =
            format!("parameters {{ key: \"{key}\" value {{ string_value: \"{value}\" }} }}");
        reason("add_sub.onnx", &format!("{ADD_SUB}{parameter}"))
    };
    let cases = [
        (
            "execution_mode",
            "2",
            "Invalid argument: Invalid configuration value provided. Expected values for  \
             execution_mode are 0 or 1 but got 2 .",
        ),
        (
            "intra_op_thread_count",
            "many",
            "Invalid argument: failed to convert 'many' to integral number",
        ),
        (
            "enable_mem_arena",
            "perhaps",
            "Invalid argument: failed to convert 'perhaps' to boolean",
        ),
    ];
    for (key, value, expected) in cases {
        assert_eq!(with(key, value), expected);
    }
    let accelerator = "optimization { execution_accelerators { cpu_execution_accelerator [ { name: \
                       \"warp\" } ] } }";
    assert_eq!(
        reason("add_sub.onnx", &format!("{ADD_SUB}{accelerator}")),
        "Invalid argument: unknown Execution Accelerator 'warp' is requested"
    );
}

#[test]
fn several_instances_have_a_session_each() {
    let config = ADD_SUB.replace("count: 1", "count: 3");
    let fixture = serve("add_sub.onnx", &config);
    let fixture = Arc::new(fixture);
    std::thread::scope(|scope| {
        for value in 0..6 {
            let fixture = Arc::clone(&fixture);
            scope.spawn(move || {
                for _ in 0..20 {
                    let inputs = vec![
                        ints("INPUT0", &[1, 16], &[value; 16]),
                        ints("INPUT1", &[1, 16], &[1; 16]),
                    ];
                    let outputs = fixture.infer(&call(inputs)).expect("valid");
                    assert_eq!(as_ints(&outputs[0]), [value + 1; 16]);
                }
            });
        }
    });
    assert_eq!(fixture.statistics().success.count, 120);
}
