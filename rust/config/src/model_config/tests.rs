// SPDX-License-Identifier: Apache-2.0
use std::num::NonZeroU32;
use std::time::Duration;

use tritongw_types::{DataType, Error, ErrorCode, Shape};

use super::*;
use crate::{NormalizeOptions, normalize, text};

const GPUS: NormalizeOptions<'_> = NormalizeOptions {
    gpus: &[0, 1],
    has_gpu_support: true,
    backend_uses_gpus: true,
    min_compute_capability: 6.0,
    preferred_groups: &[],
};

/// Reads, normalises and checks a configuration of the model `m`, by default of the backend `b`.
fn load(text: &str) -> Result<ModelConfig> {
    let mut message = text::parse("config.pbtxt", text).expect("valid text");
    if message.name.is_empty() {
        message.name = "m".to_owned();
    }
    if message.backend.is_empty() && message.platform.is_empty() {
        message.backend = "b".to_owned();
    }
    normalize(&mut message, &GPUS)?;
    ModelConfig::from_message(message)
}

fn refusal(text: &str) -> Error {
    load(text).expect_err(text)
}

fn check_refusals(table: &[(&str, &str)]) {
    for (text, expected) in table {
        let error = refusal(text);
        assert_eq!(error.code(), ErrorCode::InvalidArg, "{text}");
        assert_eq!(error.message(), *expected, "{text}");
    }
}

#[test]
fn a_plain_model_has_tritons_defaults() {
    let config = load("backend: 'b'").expect("valid");
    assert_eq!(config.name, "m");
    assert_eq!(
        config.version_policy,
        VersionPolicy::Latest(NonZeroU32::MIN)
    );
    assert_eq!(config.max_batch_size, 0);
    assert_eq!(config.scheduling, Scheduling::Default);
    assert!(config.optimization.input_pinned_memory && config.optimization.output_pinned_memory);
    assert!(!config.is_decoupled && !config.response_cache_enabled);
    assert_eq!(config.instance_groups.len(), 1);
    assert_eq!(config.to_json(), crate::json::print(config.message()));
}

#[test]
fn a_full_model_is_read_field_by_field() {
    let config = load(
        "platform: 'p' backend: 'b' runtime: 'r' max_batch_size: 8 default_model_filename: 'f'
         version_policy { specific { versions: [3, 1] } }
         input { name: 'I' data_type: TYPE_STRING dims: [-1, 2] reshape { shape: [-1, 1, 2] }
                 allow_ragged_batch: true optional: true }
         input { name: 'P' data_type: TYPE_UINT8 dims: [3, 4, 4] format: FORMAT_NCHW }
         output { name: 'O' data_type: TYPE_BF16 dims: [1] reshape { } label_filename: 'a/l.txt' }
         instance_group { name: 'g' kind: KIND_GPU count: 2 gpus: 1 passive: true
                          host_policy: 'h' secondary_devices { device_id: 4 }
                          rate_limiter { resources { name: 'R' global: true count: 5 } } }
         optimization { graph { level: -1 } priority: PRIORITY_MIN eager_batching: true
                        gather_kernel_buffer_threshold: 9 input_pinned_memory { enable: false }
                        cuda { graphs: true graph_spec { batch_size: 2
                               input { key: 'I' value { dim: 7 } } } }
                        execution_accelerators { cpu_execution_accelerator { name: 'openvino'
                               parameters { key: 'a' value: 'b' } } } }
         parameters { key: 'k' value { string_value: 'v' } }
         cc_model_filenames { key: '8.0' value: 'g' } metric_tags { key: 't' value: 'u' }
         model_warmup { name: 'w' batch_size: 1 inputs { key: 'I' value {
                        data_type: TYPE_STRING dims: [1, 2] input_data_file: 'x' } } }
         model_operations { op_library_filename: ['l.so'] }
         model_transaction_policy { decoupled: true }
         model_repository_agents { agents { name: 'checksum' parameters { key: 'c' value: 'd' } } }
         model_metrics { metric_control { metric_identifier { family: 'x' }
                         histogram_options { buckets: [1, 2.5] } } }",
    )
    .expect("valid");
    let texts = [
        &config.platform,
        &config.backend,
        &config.runtime,
        &config.default_model_filename,
    ];
    assert_eq!(texts, ["p", "b", "r", "f"]);
    assert_eq!(config.version_policy, VersionPolicy::Specific(vec![3, 1]));
    let input = config.input("I").expect("there is one");
    assert_eq!(
        (input.data_type, &input.dims),
        (DataType::Bytes, &Shape::from([-1, 2]))
    );
    assert_eq!(input.reshape, Some(Shape::from([-1, 1, 2])));
    assert!(input.allow_ragged_batch && input.is_optional && !input.is_shape_tensor);
    assert_eq!(
        config.input("P").map(|input| input.format),
        Some(TensorFormat::Nchw)
    );
    let output = config.output("O").expect("there is one");
    assert_eq!(
        (output.data_type, output.reshape.clone()),
        (DataType::Bf16, Some(Shape::from([])))
    );
    assert_eq!(output.label_filename.as_deref(), Some("a/l.txt"));
    let resource = RateLimiterResource {
        name: "R".to_owned(),
        is_global: true,
        count: 5,
    };
    let group = InstanceGroup {
        name: "g".to_owned(),
        kind: InstanceGroupKind::Gpu,
        count: 2,
        gpus: vec![1],
        secondary_devices: vec![SecondaryDevice { device_id: 4 }],
        profiles: Vec::new(),
        is_passive: true,
        host_policy: "h".to_owned(),
        rate_limiter: Some(RateLimiter {
            resources: vec![resource],
            priority: 1,
        }),
    };
    assert_eq!(config.instance_groups, [group]);
    let optimization = &config.optimization;
    assert_eq!(
        (optimization.graph_level, optimization.priority),
        (-1, ModelPriority::Min)
    );
    assert!(!optimization.input_pinned_memory && optimization.output_pinned_memory);
    assert!(optimization.eager_batching && optimization.cuda.graphs);
    assert_eq!(
        optimization.cuda.graph_specs[0].shapes.inputs["I"],
        Shape::from([7])
    );
    assert_eq!(
        optimization.cpu_execution_accelerators[0].parameters["a"],
        "b"
    );
    assert_eq!(config.parameters["k"], "v");
    assert_eq!(
        (
            config.cc_model_filenames["8.0"].as_str(),
            config.metric_tags["t"].as_str()
        ),
        ("g", "u")
    );
    assert_eq!(config.warmup[0].count, 1);
    assert_eq!(
        config.warmup[0].inputs[0].data,
        WarmupData::File("x".to_owned())
    );
    assert_eq!(config.op_library_filenames, ["l.so"]);
    assert!(config.is_decoupled);
    assert_eq!(config.repository_agents[0].parameters["c"], "d");
    assert_eq!(config.metrics[0].buckets, [1.0, 2.5]);
}

#[test]
fn shapes_on_the_wire_begin_with_the_batch() {
    let tensors =
        "input { name: 'I' data_type: TYPE_FP32 dims: [3, -1] reshape { shape: [1, 3, -1] } }
                   output { name: 'O' data_type: TYPE_FP32 dims: 2 }";
    let shapes = |max_batch_size: u32| {
        let config = load(&format!("max_batch_size: {max_batch_size} {tensors}")).expect("valid");
        let input = config.full_input_shape(&config.inputs[0]);
        (input, config.full_output_shape(&config.outputs[0]))
    };
    assert_eq!(shapes(0), (Shape::from([3, -1]), Shape::from([2])));
    assert_eq!(shapes(1), (Shape::from([-1, 3, -1]), Shape::from([-1, 2])));
    assert_eq!(shapes(8), shapes(1));
}

#[test]
fn a_model_is_called_by_its_platform_or_else_its_backend() {
    assert_eq!(
        load("backend: 'b'").expect("valid").platform_or_backend(),
        "b"
    );
    assert_eq!(
        load("backend: 'b' platform: 'p'")
            .expect("valid")
            .platform_or_backend(),
        "p"
    );
}

#[test]
fn a_version_must_be_left_to_load() {
    let config = load("version_policy { specific { versions: [7, 2] } }").expect("valid");
    assert_eq!(config.versions_to_load(&[1, 2, 3]).expect("2 exists"), [2]);
    let error = config.versions_to_load(&[1]).expect_err("none is left");
    assert_eq!(
        error.to_string(),
        "Invalid argument: at least one version must be available under the version policy of \
         model 'm'"
    );
    let policy = |text| load(text).expect("valid").version_policy;
    assert_eq!(policy("version_policy { all { } }"), VersionPolicy::All);
    assert_eq!(
        policy("version_policy { latest { } }"),
        VersionPolicy::Latest(NonZeroU32::MIN)
    );
    assert_eq!(policy("version_policy { }"), VersionPolicy::All);
}

#[test]
fn platform_and_backend_must_go_together() {
    check_refusals(&[
        (
            "platform: 'custom'",
            "unexpected platform type 'custom' for m",
        ),
        (
            "platform: 'onnxruntime_onnx' backend: 'tensorrt'",
            "unexpected 'platform' and 'backend' pair, got:onnxruntime_onnx, tensorrt",
        ),
        (
            "backend: 'pytorch'",
            "unexpected 'platform' and 'backend' pair, got:, pytorch",
        ),
        (
            "platform: 'ensemble' backend: 'b'",
            "Ensemble model 'm' must have platform type 'ensemble' and empty backend type",
        ),
        (
            "platform: 'ensemble'",
            "ensemble scheduling must be set for ensemble m whose platform is ensemble",
        ),
    ]);
    for text in [
        "platform: 'anything' backend: 'mine'",
        "platform: 'torch_aoti' backend: 'pytorch'",
        "platform: 'tensorflow_graphdef' backend: 'tensorflow'",
    ] {
        load(text).expect(text);
    }
    let unnamed = ModelConfig::from_message(pb::ModelConfig::default()).expect_err("no name");
    assert_eq!(unnamed.message(), "model configuration must specify 'name'");
    let message = pb::ModelConfig {
        name: "m".into(),
        backend: "b".into(),
        ..Default::default()
    };
    let not_normalised = ModelConfig::from_message(message).expect_err("no version policy");
    assert_eq!(
        not_normalised.message(),
        "must specify 'version policy' for m"
    );
}

#[test]
fn tensors_must_be_well_formed() {
    check_refusals(&[
        (
            "max_batch_size: -1",
            "'max_batch_size' must be non-negative value for m",
        ),
        ("input { }", "model input must specify 'name' for m"),
        ("output { }", "model output must specify 'name' for m"),
        (
            "input { name: 'I' }",
            "model input 'I' must specify 'data_type' for m",
        ),
        (
            "input { name: 'I' data_type: 99 }",
            "model input 'I' must specify 'data_type' for m",
        ),
        (
            "output { name: 'O' data_type: TYPE_FP32 }",
            "model output 'O' must specify 'dims' for m",
        ),
        (
            "input { name: 'I' data_type: TYPE_FP32 dims: 0 }",
            "model input 'I' dimension must be integer >= 1, or -1 to indicate a variable-size \
             dimension for m",
        ),
        (
            "output { name: 'O' data_type: TYPE_FP32 dims: -2 }",
            "model output 'O' dimension must be integer >= 1, or -1 to indicate a variable-size \
             dimension for m",
        ),
        (
            "input { name: 'I' data_type: TYPE_FP32 dims: 4 format: FORMAT_NHWC }",
            "model input NHWC/NCHW require 3 dims for m",
        ),
        (
            "input { name: 'I' data_type: TYPE_FP32 dims: 1 } \
             input { name: 'I' data_type: TYPE_FP32 dims: 1 }",
            "model input 'I' is specified more than once for m",
        ),
        (
            "input { name: 'I' data_type: TYPE_INT32 dims: 1 is_shape_tensor: true }",
            "shape tensors are only supported for TensorRT platform for m",
        ),
        (
            "output { name: 'O' data_type: TYPE_INT32 dims: 1 is_shape_tensor: true }",
            "shape tensors are only supported for TensorRT platform for m",
        ),
        (
            "input { name: 'I' data_type: TYPE_FP32 dims: 1 is_non_linear_format_io: true }",
            "Non-linear IO format is only supported for the TensorRT platform for m",
        ),
        (
            "platform: 'tensorrt_plan' backend: 'tensorrt' \
             output { name: 'O' data_type: TYPE_FP32 dims: 1 is_non_linear_format_io: true }",
            "Non-linear IO format output requires 3 dims for m",
        ),
    ]);
}

#[test]
fn a_reshape_must_keep_the_elements() {
    let different = "model input 'I' has different size for dims and reshape for m";
    let table = [
        (0, "dims: 4 reshape { shape: [2, 2] }", None),
        (
            0,
            "dims: [2, 4, -1, 6] reshape { shape: [8, -1, 1, 6] }",
            None,
        ),
        (8, "dims: 1 reshape { }", None),
        (8, "dims: [1, 1] reshape { shape: [] }", None),
        (8, "dims: 2 reshape { }", Some(different)),
        (0, "dims: 4 reshape { shape: [3] }", Some(different)),
        (0, "dims: -1 reshape { shape: [3] }", Some(different)),
        (
            0,
            "dims: [2, -1] reshape { shape: [-1, 2] }",
            Some(different),
        ),
        (
            0,
            "dims: [-1, -1] reshape { shape: [-1] }",
            Some(
                "model input 'I' has different number of variable-size dimensions for dims and \
                 reshape for m",
            ),
        ),
        (
            0,
            "dims: 4 reshape { shape: [0] }",
            Some(
                "model input 'I' reshape dimensions must be integer >= 1, or -1 to indicate a \
                 variable-size dimension for m",
            ),
        ),
        (
            0,
            "dims: 1 reshape { }",
            Some(
                "model input 'I' cannot have empty reshape for non-batching model as scalar \
                 tensors are not supported for m",
            ),
        ),
        (
            0,
            "dims: [4294967296, 4294967296] reshape { shape: [1] }",
            Some("unexpected integer overflow while calculating element count of I dims for m"),
        ),
    ];
    for (max_batch_size, shape, expected) in table {
        let text = format!(
            "max_batch_size: {max_batch_size} input {{ name: 'I' data_type: TYPE_FP32 {shape} }}"
        );
        let outcome = load(&text);
        assert_eq!(
            outcome.as_ref().err().map(Error::message),
            expected,
            "{text}"
        );
    }
}

#[test]
fn labels_lie_inside_the_model() {
    for file in ["../l.txt", "a/../../l.txt", "/etc/passwd"] {
        let error = refusal(&format!(
            "output {{ name: 'O' data_type: TYPE_FP32 dims: 1 label_filename: '{file}' }}"
        ));
        assert_eq!(error.code(), ErrorCode::Unsupported);
        assert_eq!(
            error.message(),
            format!(
                "label file path '{file}' for output 'O' in model 'm' is outside model directory"
            )
        );
    }
    load("output { name: 'O' data_type: TYPE_FP32 dims: 1 label_filename: 'a/../l.txt' }")
        .expect("stays inside");
}

#[test]
fn dynamic_batching_is_read() {
    let config = load(
        "max_batch_size: 8 dynamic_batching { preferred_batch_size: [8, 2, 8]
         max_queue_delay_microseconds: 100 priority_levels: 3 default_priority_level: 2
         default_queue_policy { default_timeout_microseconds: 7 max_queue_size: 4
                                allow_timeout_override: true timeout_action: DELAY }
         priority_queue_policy { key: 1 value { } } }",
    );
    let default_queue_policy = QueuePolicy {
        timeout_action: TimeoutAction::Delay,
        default_timeout: Some(Duration::from_micros(7)),
        allow_timeout_override: true,
        max_queue_size: NonZeroU32::new(4),
    };
    let expected = DynamicBatching {
        preferred_batch_sizes: vec![2, 8],
        max_queue_delay: Duration::from_micros(100),
        preserve_ordering: false,
        priority_levels: 3,
        default_priority_level: 2,
        default_queue_policy,
        priority_queue_policies: BTreeMap::from([(1, QueuePolicy::default())]),
    };
    assert_eq!(
        config.expect("valid").scheduling,
        Scheduling::DynamicBatching(expected)
    );
}

#[test]
fn dynamic_batching_must_be_consistent() {
    check_refusals(&[
        (
            "max_batch_size: 4 dynamic_batching { preferred_batch_size: 0 }",
            "dynamic batching preferred size must be positive for m",
        ),
        (
            "max_batch_size: 4 dynamic_batching { preferred_batch_size: 5 }",
            "dynamic batching preferred size must be <= max batch size for m",
        ),
        (
            "dynamic_batching { priority_levels: 2 }",
            "default priority level must be in range [1, 2] for m",
        ),
        (
            "dynamic_batching { priority_levels: 2 default_priority_level: 3 }",
            "default priority level must be in range [1, 2] for m",
        ),
        (
            "dynamic_batching { priority_levels: 2 default_priority_level: 1 \
             priority_queue_policy { key: 3 value { } } }",
            "priority queue policy must have priority level in range [1, 2] for m",
        ),
        (
            "dynamic_batching { preserve_ordering: true priority_levels: 2 \
             default_priority_level: 1 }",
            "Only one priority level is allowed when 'preserve_ordering' is true for m",
        ),
        (
            "dynamic_batching { preserve_ordering: true default_queue_policy { \
             timeout_action: DELAY default_timeout_microseconds: 1 } }",
            "Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true \
             for m",
        ),
        (
            "dynamic_batching { preserve_ordering: true priority_levels: 1 \
             default_priority_level: 1 priority_queue_policy { key: 1 value { \
             timeout_action: DELAY default_timeout_microseconds: 1 } } }",
            "Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true \
             for m",
        ),
        (
            "dynamic_batching { priority_levels: 4294967296 default_priority_level: 1 }",
            "priority level must be <= 4294967295 for m",
        ),
    ]);
    load("dynamic_batching { preserve_ordering: true default_queue_policy { timeout_action: DELAY } }")
        .expect("without a timeout nothing is delayed");
}

#[test]
fn the_response_cache_goes_with_plain_models_only() {
    assert!(
        load("response_cache { enable: true }")
            .expect("valid")
            .response_cache_enabled
    );
    check_refusals(&[
        (
            "response_cache { enable: true } model_transaction_policy { decoupled: true }",
            "Response Cache does not currently support model m with 'decoupled' transaction \
             policy. Please disable the response cache.",
        ),
        (
            "response_cache { enable: true } sequence_batching { }",
            "Response Cache does not currently support model m with sequence batching scheduler. \
             Please disable the response cache.",
        ),
    ]);
}

#[test]
fn metrics_must_be_complete() {
    check_refusals(&[
        (
            "model_metrics { metric_control { } }",
            "metric control must specify 'metric_identifier'",
        ),
        (
            "model_metrics { metric_control { metric_identifier { } } }",
            "metric identifier must specify non-empty 'family'",
        ),
        (
            "model_metrics { metric_control { metric_identifier { family: 'f' } } }",
            "metric control must specify 'histogram_options'",
        ),
        (
            "model_metrics { metric_control { metric_identifier { family: 'f' } \
             histogram_options { } } }",
            "histogram options must specify non-empty 'buckets'",
        ),
    ]);
}

#[test]
fn warmup_samples_must_be_complete() {
    let sample = |batch_size: u32, input: &str| {
        load(&format!(
            "model_warmup {{ batch_size: {batch_size} inputs {{ key: 'I' value {{ {input} }} }} }}"
        ))
        .map(|config| config.warmup)
    };
    let refusal = |input: &str| sample(1, input).expect_err(input).message().to_owned();
    assert_eq!(
        refusal("data_type: TYPE_FP32 dims: [2, -1] zero_data: true"),
        "warmup setting expects all variable-size dimensions are specified for input 'I'"
    );
    assert_eq!(
        refusal("data_type: TYPE_FP32 dims: 2"),
        "warmup setting expects input 'I' to have input_data_type set"
    );
    assert_eq!(
        refusal("dims: 2 zero_data: true"),
        "warmup setting input 'I' must specify 'data_type'"
    );
    assert_eq!(sample(0, "").expect("batch size 0 is skipped"), []);
    let random = sample(1, "data_type: TYPE_FP32 dims: 2 random_data: true").expect("valid");
    assert_eq!(random[0].inputs[0].data, WarmupData::Random);
    let zero = sample(1, "data_type: TYPE_FP32 dims: 2 zero_data: true").expect("valid");
    assert_eq!(zero[0].inputs[0].data, WarmupData::Zero);
}

#[test]
fn instance_groups_must_be_consistent() {
    check_refusals(&[
        (
            "instance_group { kind: KIND_MODEL gpus: 0 }",
            "instance group m_0 of model m has kind KIND_MODEL but specifies one or more GPUs",
        ),
        (
            "instance_group { name: 'g' kind: KIND_CPU gpus: 0 }",
            "instance group g of model m has kind KIND_CPU but specifies one or more GPUs",
        ),
        (
            "instance_group { kind: KIND_CPU profile: '1' }",
            "instance group m_0 of model m and platform specifies profile field which is only \
             supported for TensorRT models",
        ),
        (
            "platform: 'tensorrt_plan' backend: 'tensorrt' instance_group { profile: '-1' }",
            "instance group m_0 of model m and platform tensorrt_plan specifies invalid profile \
             -1. The field should contain the string representation of a non-negative integer.",
        ),
        (
            "platform: 'tensorrt_plan' backend: 'tensorrt' instance_group { profile: 'x' }",
            "unable to parse 'x': stoi",
        ),
        (
            "platform: 'tensorrt_plan' backend: 'tensorrt' instance_group { profile: '' }",
            "profile name must not be empty",
        ),
        (
            "instance_group { kind: 9 }",
            "instance group m_0 of model m has unknown kind 9",
        ),
    ]);
    let mut message = load("backend: 'b'").expect("valid").message().clone();
    message.instance_group[0].set_kind(pb::model_instance_group::Kind::Auto);
    let error = ModelConfig::from_message(message.clone()).expect_err("not normalised");
    assert_eq!(
        error.to_string(),
        "Internal: instance group m of model m has unexpected kind KIND_AUTO"
    );
    message.instance_group.clear();
    let error = ModelConfig::from_message(message).expect_err("not normalised");
    assert_eq!(
        error.message(),
        "must specify one or more 'instance group's for m"
    );
}

#[test]
fn batch_tensors_must_be_known() {
    let tensors = "input { name: 'I' data_type: TYPE_FP32 dims: 1 } \
                   output { name: 'O' data_type: TYPE_FP32 dims: 1 }";
    let table = [
        (
            "batch_input { kind: BATCH_ITEM_SHAPE data_type: TYPE_INT32 target_name: 'S' }",
            "batch input kind 'BATCH_ITEM_SHAPE' expects 1 source input, got 0 for m",
        ),
        (
            "batch_input { kind: 17 }",
            "unknown batch input kind '17' for m",
        ),
        (
            "batch_input { source_input: 'I' data_type: TYPE_INT64 target_name: 'S' }",
            "batch input data type must be TYPE_INT32 or TYPE_FP32 for m",
        ),
        (
            "batch_input { source_input: 'X' data_type: TYPE_INT32 target_name: 'S' }",
            "unknown source input name 'X' for m",
        ),
        (
            "batch_input { source_input: 'I' data_type: TYPE_INT32 }",
            "batch input expects at least 1 target name, got 0 for m",
        ),
        (
            "batch_output { source_input: ['I', 'I'] }",
            "batch output kind 'BATCH_SCATTER_WITH_INPUT_SHAPE' expects 1 source input, got 2 for m",
        ),
        (
            "batch_output { kind: 17 }",
            "unknown batch output kind '17' for m",
        ),
        (
            "batch_output { source_input: 'X' }",
            "unknown source input name 'X' for m",
        ),
        (
            "batch_output { source_input: 'I' target_name: 'X' }",
            "unknown target output name 'X' for m",
        ),
        (
            "batch_output { source_input: 'I' target_name: ['O', 'O'] }",
            "target output name 'O' can only be specified once for m",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(
            refusal(&format!("{tensors} {text}")).message(),
            expected,
            "{text}"
        );
    }
    let config = load(&format!(
        "{tensors} batch_input {{ kind: BATCH_ITEM_SHAPE_FLATTEN source_input: 'I'
         data_type: TYPE_FP32 target_name: ['S'] }} batch_output {{ source_input: 'I' target_name: 'O' }}"
    ))
    .expect("valid");
    assert_eq!(
        config.batch_inputs[0].kind,
        BatchInputKind::ItemShapeFlatten
    );
    assert_eq!(config.batch_outputs[0].target_names, ["O"]);
}

mod ensembles;
mod sequences;
