// SPDX-License-Identifier: Apache-2.0
//! The requests of a warm-up sample, and the data in them.

use std::fs::{self, File};
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use tritongw_config::{WarmupData, WarmupInput, WarmupSample};
use tritongw_types::{CName, DataType, Error, Result, Shape, byte_size};

use crate::backend::ModelContext;
use crate::model::Model;
use crate::repository::beneath;
use crate::request::{InferenceRequest, InputTensor, log_prefix};
use crate::validation;

/// Largest tensor of a sample, in bytes: what the largest gRPC message holds.
const MAX_BYTE_SIZE: usize = i32::MAX as usize;

/// A sample whose tensors are in memory.
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) batch_size: u32,
    pub(super) count: u32,
    // Those that clients could send.
    inputs: Vec<InputTensor>,
    // Those that a scheduler adds: controls and states.
    override_inputs: Vec<InputTensor>,
}

impl Sample {
    /// Makes the sample's tensors.
    ///
    /// # Errors
    /// If a tensor is too large, or a file cannot be used.
    pub(super) fn read(sample: &WarmupSample, context: &ModelContext) -> Result<Self> {
        let mut read = Self {
            name: sample.name.clone(),
            batch_size: sample.batch_size,
            count: sample.count,
            inputs: Vec::new(),
            override_inputs: Vec::new(),
        };
        for input in &sample.inputs {
            let batch = (context.config.max_batch_size > 0).then_some(1).into_iter();
            let dims: Vec<_> = batch.chain(input.dims.iter().copied()).collect();
            let tensor = tensor(input, Shape::from_slice(&dims), context)?;
            match context.config.input(&input.name) {
                Some(_) => read.inputs.push(tensor),
                None => read.override_inputs.push(tensor),
            }
        }
        Ok(read)
    }

    /// Makes one request of the sample.
    ///
    /// # Errors
    /// What keeps it from being a request to `model`.
    pub(super) fn request(&self, model: &Arc<Model>) -> Result<Box<InferenceRequest>> {
        let mut request = InferenceRequest::new(Arc::clone(model));
        for input in &self.inputs {
            request.add_input(input.clone())?;
        }
        for input in &self.override_inputs {
            request.add_override_input(input.clone());
        }
        validation::prepare(&mut request, model.config())?;
        Ok(request)
    }
}

fn tensor(input: &WarmupInput, shape: Shape, context: &ModelContext) -> Result<InputTensor> {
    let refuse = |problem: String| {
        Error::invalid_arg(format!(
            "warmup setting input '{}' of model '{}': {problem}",
            input.name, context.name
        ))
    };
    let size = byte_size(input.data_type, &shape).and_then(|size| match size {
        Some(size) => Ok(size),
        // Elements of no length, each its length alone.
        None => Ok(shape.element_count()?.saturating_mul(size_of::<u32>())),
    });
    let size = size.map_err(|error| refuse(format!("shape {shape}: {error}")))?;
    if size > MAX_BYTE_SIZE {
        return Err(refuse(format!("{size} bytes are too many")));
    }
    let data = match &input.data {
        WarmupData::Zero => vec![0; size],
        // Random bytes are no strings.
        WarmupData::Random if input.data_type == DataType::Bytes => vec![0; size],
        WarmupData::Random => random(input.data_type, size),
        WarmupData::File(file) => read_file(file, input.data_type, size, context)?,
    };
    let data = Bytes::from(data);
    Ok(InputTensor::new(&input.name, input.data_type, shape, data))
}

fn random(data_type: DataType, size: usize) -> Vec<u8> {
    let mut data = vec![0; size];
    fastrand::fill(&mut data);
    if data_type == DataType::Bool {
        data.iter_mut().for_each(|value| *value &= 1);
    }
    data
}

/// Reads the tensor's bytes from a file in the directory `warmup` of the model (R006). What is
/// beyond them is left; strings tell themselves how long they are.
fn read_file(
    file: &str,
    data_type: DataType,
    size: usize,
    context: &ModelContext,
) -> Result<Vec<u8>> {
    let path = context.directory.join("warmup").join(file);
    let failed = |source: std::io::Error| {
        let message = format!(
            "failed to open text file for read {}: {source}",
            path.display()
        );
        Error::internal(message).with_source(source)
    };
    let path = beneath(&context.directory, &path)
        .map_err(failed)?
        .ok_or_else(|| {
            Error::invalid_arg(format!(
                "warmup data file '{file}' of model '{}' is outside model directory",
                context.name
            ))
        })?;
    let there = fs::metadata(&path).map_err(failed)?.len();
    let there = usize::try_from(there).unwrap_or(usize::MAX);
    let size = if data_type == DataType::Bytes {
        there
    } else {
        size
    };
    if there < size {
        return Err(Error::invalid_arg(format!(
            "{}warmup setting expects {size} bytes, but the data provided from {file}only has \
             {there} bytes",
            log_prefix(&CName::default())
        )));
    }
    if size > MAX_BYTE_SIZE {
        return Err(Error::invalid_arg(format!(
            "warmup data file '{file}' of model '{}' has {size} bytes, which are too many",
            context.name
        )));
    }
    let mut data = Vec::with_capacity(size);
    let opened = File::open(&path).map_err(failed)?;
    opened
        .take(size as u64)
        .read_to_end(&mut data)
        .map_err(failed)?;
    Ok(data)
}
