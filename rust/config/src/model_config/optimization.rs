// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use tritongw_protocol::pb;
use tritongw_protocol::pb::model_optimization_policy as policy;
use tritongw_types::Shape;

/// Priority of the model's streams and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModelPriority {
    /// The framework's usual one.
    #[default]
    Default,
    /// The highest.
    Max,
    /// The lowest.
    Min,
}

/// Batch size and input shapes of a CUDA graph.
#[derive(Clone, Debug, PartialEq)]
pub struct CudaGraphShapes {
    /// Batch size.
    pub batch_size: i32,
    /// Shapes by the name of the input.
    pub inputs: BTreeMap<String, Shape>,
}

/// A CUDA graph to capture.
#[derive(Clone, Debug, PartialEq)]
pub struct CudaGraphSpec {
    /// What it is captured for.
    pub shapes: CudaGraphShapes,
    /// The smallest it may serve.
    pub lower_bound: Option<CudaGraphShapes>,
}

/// CUDA execution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cuda {
    /// Whether CUDA graphs are captured.
    pub graphs: bool,
    /// Whether to spin while waiting for an event.
    pub busy_wait_events: bool,
    /// Graphs to capture; empty for the usual ones.
    pub graph_specs: Vec<CudaGraphSpec>,
    /// Whether outputs are copied on a stream of their own.
    pub output_copy_stream: bool,
}

/// A library that executes parts of the model below the framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionAccelerator {
    /// Name.
    pub name: String,
    /// Options.
    pub parameters: BTreeMap<String, String>,
}

/// Hints for the framework and for the movement of tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Optimization {
    /// Level of graph optimisation, meaning is the framework's.
    pub graph_level: i32,
    /// Priority of streams and threads.
    pub priority: ModelPriority,
    /// CUDA execution.
    pub cuda: Cuda,
    /// Accelerators on a GPU, the first tried first.
    pub gpu_execution_accelerators: Vec<ExecutionAccelerator>,
    /// Accelerators on the processor, the first tried first.
    pub cpu_execution_accelerators: Vec<ExecutionAccelerator>,
    /// Whether inputs are staged in pinned memory.
    pub input_pinned_memory: bool,
    /// Whether outputs are staged in pinned memory.
    pub output_pinned_memory: bool,
    /// Number of buffers from which a kernel gathers them; 0 is never.
    pub gather_kernel_buffer_threshold: u32,
    /// Whether the next batch is prepared while the instance is busy.
    pub eager_batching: bool,
}

impl Optimization {
    pub(super) fn from_message(message: &pb::ModelConfig) -> Self {
        let Some(message) = &message.optimization else {
            return Self::default();
        };
        let accelerators = message.execution_accelerators.as_ref();
        let is_enabled =
            |buffer: Option<policy::PinnedMemoryBuffer>| buffer.is_none_or(|buffer| buffer.enable);
        Self {
            graph_level: message.graph.map(|graph| graph.level).unwrap_or_default(),
            priority: match message.priority() {
                policy::ModelPriority::PriorityDefault => ModelPriority::Default,
                policy::ModelPriority::PriorityMax => ModelPriority::Max,
                policy::ModelPriority::PriorityMin => ModelPriority::Min,
            },
            cuda: message.cuda.as_ref().map(cuda).unwrap_or_default(),
            gpu_execution_accelerators: accelerators
                .map(|all| {
                    all.gpu_execution_accelerator
                        .iter()
                        .map(accelerator)
                        .collect()
                })
                .unwrap_or_default(),
            cpu_execution_accelerators: accelerators
                .map(|all| {
                    all.cpu_execution_accelerator
                        .iter()
                        .map(accelerator)
                        .collect()
                })
                .unwrap_or_default(),
            input_pinned_memory: is_enabled(message.input_pinned_memory),
            output_pinned_memory: is_enabled(message.output_pinned_memory),
            gather_kernel_buffer_threshold: message.gather_kernel_buffer_threshold,
            eager_batching: message.eager_batching,
        }
    }
}

fn cuda(cuda: &policy::Cuda) -> Cuda {
    Cuda {
        graphs: cuda.graphs,
        busy_wait_events: cuda.busy_wait_events,
        graph_specs: cuda.graph_spec.iter().map(graph_spec).collect(),
        output_copy_stream: cuda.output_copy_stream,
    }
}

fn graph_spec(spec: &policy::cuda::GraphSpec) -> CudaGraphSpec {
    let shapes = |inputs: &BTreeMap<String, policy::cuda::graph_spec::Shape>| {
        let inputs = inputs.iter();
        inputs
            .map(|(name, shape)| (name.clone(), Shape::from_slice(&shape.dim)))
            .collect()
    };
    CudaGraphSpec {
        shapes: CudaGraphShapes {
            batch_size: spec.batch_size,
            inputs: shapes(&spec.input),
        },
        lower_bound: spec
            .graph_lower_bound
            .as_ref()
            .map(|bound| CudaGraphShapes {
                batch_size: bound.batch_size,
                inputs: shapes(&bound.input),
            }),
    }
}

fn accelerator(message: &policy::execution_accelerators::Accelerator) -> ExecutionAccelerator {
    ExecutionAccelerator {
        name: message.name.clone(),
        parameters: message.parameters.clone(),
    }
}
