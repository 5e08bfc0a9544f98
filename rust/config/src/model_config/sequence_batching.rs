// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use tritongw_protocol::pb;
use tritongw_protocol::pb::model_sequence_batching::{
    StrategyChoice, StrategyDirect, StrategyOldest, initial_state::StateData,
};
use tritongw_types::{CName, DataType, Error, Result, Shape};

use super::dynamic_batching::preferred_sizes;
use super::sequence_control::SequenceControls;
use super::tensor::data_type;

/// How the requests of several sequences become batches.
#[derive(Clone, Debug, PartialEq)]
pub enum SequenceStrategy {
    /// Each sequence has its own place in the batch.
    Direct {
        /// Longest wait for more slots to be ready.
        max_queue_delay: Duration,
        /// Part of the slots, 0 to 1, that ends the wait.
        minimum_slot_utilization: f32,
    },
    /// The oldest requests of several sequences form the batch.
    Oldest {
        /// Sequences under way at once, per instance.
        max_candidate_sequences: u32,
        /// Ascending, without repeats; each from 1 to the largest batch.
        preferred_batch_sizes: Vec<u32>,
        /// Longest wait for a preferred size.
        max_queue_delay: Duration,
        /// Whether responses leave in the order in which requests came.
        preserve_ordering: bool,
    },
}

/// What a state holds when a sequence starts.
#[derive(Clone, Debug, PartialEq)]
pub enum InitialStateData {
    /// Whatever the memory holds.
    Unset,
    /// Zeros.
    Zero,
    /// The content of a file in the directory `initial_state` of the model.
    File(String),
}

/// First value of a state.
#[derive(Clone, Debug, PartialEq)]
pub struct InitialState {
    /// Name for messages.
    pub name: String,
    /// Element type.
    pub data_type: DataType,
    /// Dimensions, none variable.
    pub dims: Shape,
    /// Content.
    pub data: InitialStateData,
}

/// Tensor that the server keeps between the requests of a sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceState {
    /// Input of the model that takes the state.
    pub input_name: CName,
    /// Output of the model that gives the next state.
    pub output_name: CName,
    /// Element type.
    pub data_type: DataType,
    /// Dimensions without the batch dimension, -1 where variable.
    pub dims: Shape,
    /// First values.
    pub initial_states: Vec<InitialState>,
    /// Whether input and output share a buffer.
    pub use_same_buffer_for_input_output: bool,
    /// Whether the buffer grows in place.
    pub use_growable_memory: bool,
}

/// Requests of a sequence go to one instance, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceBatching {
    /// How batches are formed.
    pub strategy: SequenceStrategy,
    /// A sequence without a request for so long ends.
    pub max_sequence_idle: Duration,
    /// Control tensors.
    pub controls: SequenceControls,
    /// States.
    pub states: Vec<SequenceState>,
    /// Whether the backend may send a request back to be executed once more.
    pub is_iterative: bool,
}

impl SequenceBatching {
    pub(super) fn from_message(
        batching: &pb::ModelSequenceBatching,
        config: &pb::ModelConfig,
    ) -> Result<Self> {
        let model = &config.name;
        if config.response_cache.is_some_and(|cache| cache.enable) {
            return Err(Error::invalid_arg(format!(
                "Response Cache does not currently support model {model} with sequence batching \
                 scheduler. Please disable the response cache."
            )));
        }
        let controls = SequenceControls::from_message(batching, model)?;
        let strategy = match &batching.strategy_choice {
            Some(StrategyChoice::Oldest(strategy)) => oldest(strategy, config)?,
            Some(StrategyChoice::Direct(strategy)) => direct(strategy, model)?,
            None => direct(&StrategyDirect::default(), model)?,
        };
        let states = batching
            .state
            .iter()
            .map(|state| sequence_state(state, model));
        Ok(Self {
            strategy,
            max_sequence_idle: Duration::from_micros(batching.max_sequence_idle_microseconds),
            controls,
            states: states.collect::<Result<_>>()?,
            is_iterative: batching.iterative_sequence,
        })
    }
}

fn oldest(strategy: &StrategyOldest, config: &pb::ModelConfig) -> Result<SequenceStrategy> {
    let candidates = strategy.max_candidate_sequences;
    Ok(SequenceStrategy::Oldest {
        max_candidate_sequences: u32::try_from(candidates).map_err(|_| {
            Error::invalid_arg(format!(
                "sequence batching max candidate sequences must be non-negative for {}",
                config.name
            ))
        })?,
        preferred_batch_sizes: preferred_sizes(
            &strategy.preferred_batch_size,
            config,
            "sequence batching preferred batch size",
        )?,
        max_queue_delay: Duration::from_micros(strategy.max_queue_delay_microseconds),
        preserve_ordering: strategy.preserve_ordering,
    })
}

fn direct(strategy: &StrategyDirect, model: &str) -> Result<SequenceStrategy> {
    if !(0.0..=1.0).contains(&strategy.minimum_slot_utilization) {
        return Err(Error::invalid_arg(format!(
            "sequence batching minimum slot utilization must be in range (0.0, 1.0] for {model}"
        )));
    }
    Ok(SequenceStrategy::Direct {
        max_queue_delay: Duration::from_micros(strategy.max_queue_delay_microseconds),
        minimum_slot_utilization: strategy.minimum_slot_utilization,
    })
}

fn sequence_state(
    state: &pb::model_sequence_batching::State,
    model: &str,
) -> Result<SequenceState> {
    let subject = format!("sequence batching state '{}' of {model} ", state.input_name);
    let initial_states = state
        .initial_state
        .iter()
        .map(|initial| initial_state(initial, model));
    Ok(SequenceState {
        input_name: CName::new(&state.input_name),
        output_name: CName::new(&state.output_name),
        data_type: data_type(state.data_type, &subject)?,
        dims: Shape::from_slice(&state.dims),
        initial_states: initial_states.collect::<Result<_>>()?,
        use_same_buffer_for_input_output: state.use_same_buffer_for_input_output,
        use_growable_memory: state.use_growable_memory,
    })
}

fn initial_state(
    state: &pb::model_sequence_batching::InitialState,
    model: &str,
) -> Result<InitialState> {
    let subject = format!(
        "sequence batching initial state '{}' of {model} ",
        state.name
    );
    if state.dims.iter().any(|dim| *dim < 0) {
        return Err(Error::invalid_arg(format!(
            "{subject}must not have variable dimensions"
        )));
    }
    Ok(InitialState {
        name: state.name.clone(),
        data_type: data_type(state.data_type, &subject)?,
        dims: Shape::from_slice(&state.dims),
        data: match &state.state_data {
            Some(StateData::ZeroData(true)) => InitialStateData::Zero,
            Some(StateData::DataFile(file)) => InitialStateData::File(file.clone()),
            Some(StateData::ZeroData(false)) | None => InitialStateData::Unset,
        },
    })
}
