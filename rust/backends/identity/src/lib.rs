// SPDX-License-Identifier: Apache-2.0
//! The `identity` backend: `OUTPUT<i>` is `INPUT<i>` (B080).
//!
//! Owns nothing but a delay for tests. The least a request can cost, so it shows what everything
//! around a model costs. **Invariant:** an input that is one piece of host memory becomes the
//! output as it is, without a copy, wherever the door adopts memory. Start with
//! [`IdentityBackend`].
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod instance;
mod parameters;
mod signature;

use std::sync::Arc;

use tritongw_config::InstanceGroupKind;
use tritongw_engine::backend::{
    Backend, BackendInstance, BackendModel, InstanceContext, ModelContext,
};
use tritongw_types::{Error, Result};

use crate::instance::IdentityInstance;
use crate::parameters::Delays;

/// The backend `identity`.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdentityBackend;

impl Backend for IdentityBackend {
    fn name(&self) -> &str {
        "identity"
    }

    fn load_model(&self, model: &Arc<ModelContext>) -> Result<Arc<dyn BackendModel>> {
        let pairs = signature::pairs(&model.config)?;
        let delays = Delays::read(&model.config.parameters)?;
        if !delays.creation.is_zero() {
            log::info!("Creation delay is set to : {}", delays.creation.as_secs());
            std::thread::sleep(delays.creation);
        }
        Ok(Arc::new(IdentityModel {
            pairs: pairs.into(),
            delays,
        }))
    }
}

struct IdentityModel {
    pairs: Arc<[signature::Pair]>,
    delays: Delays,
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
        Ok(Box::new(IdentityInstance {
            pairs: Arc::clone(&self.pairs),
            delay: self.delays.of_instance(instance.device_id),
        }))
    }
}
