// SPDX-License-Identifier: Apache-2.0
//! The `identity` backend: `OUTPUT<i>` is `INPUT<i>` (B080).
//!
//! Owns a metric, and what tests ask for: delays, activities in traces. The least a request can cost, so it shows what everything
//! around a model costs. **Invariant:** an input that is one piece of host memory becomes the
//! output as it is, without a copy, wherever the door adopts memory. Start with
//! [`IdentityBackend`].
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod instance;
mod parameters;
mod signature;
mod tracing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tritongw_config::InstanceGroupKind;
use tritongw_engine::backend::{
    Backend, BackendInstance, BackendModel, InstanceContext, ModelContext,
};
use tritongw_engine::{Metric, MetricKind};
use tritongw_types::{Error, Result};

use crate::instance::IdentityInstance;
use crate::parameters::Parameters;

/// The backend `identity`.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdentityBackend;

impl Backend for IdentityBackend {
    fn name(&self) -> &str {
        "identity"
    }

    fn load_model(&self, model: &Arc<ModelContext>) -> Result<Arc<dyn BackendModel>> {
        let pairs = signature::pairs(&model.config)?;
        let parameters = Parameters::read(&model.config.parameters)?;
        let delays = parameters.delays;
        if !delays.creation.is_zero() {
            log::info!("Creation delay is set to : {}", delays.creation.as_secs());
            std::thread::sleep(delays.creation);
        }
        Ok(Arc::new(IdentityModel {
            pairs: pairs.into(),
            parameters,
            input_bytes: input_bytes(model)?.map(Arc::new),
            instance_count: AtomicU64::new(0),
        }))
    }
}

/// Returns the metric of the backend's own: bytes of all inputs that became outputs.
fn input_bytes(model: &ModelContext) -> Result<Option<Metric>> {
    let Some(server) = model.server.upgrade() else {
        return Ok(None);
    };
    let family = server.custom_metrics().family(
        "input_byte_size_counter",
        "Cumulative input byte size of all requests received by the model",
        MetricKind::Counter,
    )?;
    let labels = BTreeMap::from([
        ("model".to_owned(), model.name.to_string()),
        ("version".to_owned(), model.version.to_string()),
    ]);
    family.metric(&labels, None).map(Some)
}

struct IdentityModel {
    pairs: Arc<[signature::Pair]>,
    parameters: Parameters,
    input_bytes: Option<Arc<Metric>>,
    instance_count: AtomicU64,
}

impl BackendModel for IdentityModel {
    fn create_instance(&self, instance: &Arc<InstanceContext>) -> Result<Box<dyn BackendInstance>> {
        match instance.kind {
            InstanceGroupKind::Cpu | InstanceGroupKind::Auto => {}
            InstanceGroupKind::Gpu | InstanceGroupKind::Model => {
                return Err(Error::invalid_arg(
                    "'identity' backend only supports CPU instances",
                ));
            }
        }
        let number = self.instance_count.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(IdentityInstance {
            pairs: Arc::clone(&self.pairs),
            delay: self.parameters.delays.of_instance(number),
            tracing: self.parameters.tracing,
            input_bytes: self.input_bytes.clone(),
        }))
    }
}
