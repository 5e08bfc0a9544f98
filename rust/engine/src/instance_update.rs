// SPDX-License-Identifier: Apache-2.0
//! Which instances a model has, and how it comes to have others while it serves (R060, R061).

use std::sync::{Arc, Weak};

use tritongw_config::{
    InstanceGroup, InstanceGroupKind, ModelConfig, RateLimiter, SecondaryDevice,
};
use tritongw_scheduler::InstanceIndex;
use tritongw_types::{Error, Result};

use crate::backend::{Availability, BackendModel, InstanceContext, InstanceControl, ModelContext};
use crate::instance::{InstanceRules, ModelInstance};
use crate::loaded_model::LoadedModel;
use crate::model_scheduler::ModelScheduler;
use crate::retirement::Retirements;
use crate::warmup::Warmup;

/// What makes two instances of one model the same: everything of their group but its name and
/// count (R061).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InstanceSignature {
    kind: InstanceGroupKind,
    device_id: i32,
    host_policy: String,
    profiles: Vec<String>,
    secondary_devices: Vec<SecondaryDevice>,
    rate_limiter: Option<RateLimiter>,
    pub(crate) is_passive: bool,
}

/// One instance that the configuration asks for.
struct InstancePlan {
    name: String,
    signature: InstanceSignature,
}

/// A change of instances, made but not yet in force; dropped, it leaves everything as it was.
pub(crate) struct InstanceUpdate {
    scheduler: Arc<ModelScheduler>,
    created: Vec<(InstanceIndex, Arc<ModelInstance>)>,
    removed: Vec<(InstanceIndex, Arc<ModelInstance>)>,
}

impl InstanceUpdate {
    /// Makes the instances that `context`'s configuration asks for and `loaded` has not, warmed
    /// up; blocks for as long as the backend takes.
    pub(crate) fn prepare(
        context: &Arc<ModelContext>,
        loaded: &LoadedModel,
        warmup: &Warmup,
    ) -> Result<Self> {
        let scheduler = loaded.scheduler();
        let (missing, removed) =
            match_instances(plan_instances(&context.config), scheduler.open_instances());
        let maker = InstanceMaker {
            context,
            backend_model: &**loaded.backend_model(),
            scheduler,
            warmup,
        };
        let created = maker.create_all(missing)?;
        Ok(Self {
            scheduler: Arc::clone(scheduler),
            created,
            removed,
        })
    }

    /// Lets the new instances take requests, and ends the surplus ones once they have answered
    /// theirs.
    pub(crate) fn commit(mut self, retirements: &Retirements) {
        self.scheduler.open(&std::mem::take(&mut self.created));
        for (index, instance) in std::mem::take(&mut self.removed) {
            let scheduler = Arc::clone(&self.scheduler);
            scheduler.close(index);
            retirements.begin(move || {
                scheduler.wait_until_idle_on(index);
                instance.stop();
                scheduler.free(index);
            });
        }
    }
}

impl Drop for InstanceUpdate {
    fn drop(&mut self) {
        for (index, instance) in self.created.drain(..) {
            instance.stop();
            self.scheduler.free(index);
        }
    }
}

/// Finds for each plan an instance that fits, first by name and then any; returns the plans left
/// without one and the instances that none asks for.
fn match_instances(
    mut plans: Vec<InstancePlan>,
    mut instances: Vec<(InstanceIndex, Arc<ModelInstance>)>,
) -> (Vec<InstancePlan>, Vec<(InstanceIndex, Arc<ModelInstance>)>) {
    for needs_name in [true, false] {
        plans.retain(|plan| {
            let fits = |instance: &ModelInstance| {
                *instance.signature() == plan.signature
                    && (!needs_name || instance.name() == plan.name)
            };
            match instances.iter().position(|(_, instance)| fits(instance)) {
                Some(index) => {
                    instances.swap_remove(index);
                    false
                }
                None => true,
            }
        });
    }
    (plans, instances)
}

/// Lists the instances of all groups; passive ones are made as well, and get no request (S090).
fn plan_instances(config: &ModelConfig) -> Vec<InstancePlan> {
    config.instance_groups.iter().flat_map(plan_group).collect()
}

fn plan_group(group: &InstanceGroup) -> Vec<InstancePlan> {
    let devices = if group.gpus.is_empty() {
        &[0][..]
    } else {
        &group.gpus
    };
    let mut plans = Vec::new();
    for _ in 0..group.count {
        for &device_id in devices {
            plans.push(InstancePlan {
                name: format!("{}_{}", group.name, plans.len()),
                signature: InstanceSignature {
                    kind: group.kind,
                    device_id,
                    host_policy: host_policy(group, device_id),
                    profiles: group.profiles.clone(),
                    secondary_devices: group.secondary_devices.clone(),
                    rate_limiter: group.rate_limiter.clone(),
                    is_passive: group.is_passive,
                },
            });
        }
    }
    plans
}

/// Returns the group's host policy, by default the one named after its kind (M056).
fn host_policy(group: &InstanceGroup, device_id: i32) -> String {
    if !group.host_policy.is_empty() {
        return group.host_policy.clone();
    }
    match group.kind {
        InstanceGroupKind::Gpu => format!("gpu_{device_id}"),
        InstanceGroupKind::Model => "model".to_owned(),
        InstanceGroupKind::Cpu | InstanceGroupKind::Auto => "cpu".to_owned(),
    }
}

/// What it takes to make instances.
struct InstanceMaker<'a> {
    context: &'a Arc<ModelContext>,
    backend_model: &'a dyn BackendModel,
    scheduler: &'a Arc<ModelScheduler>,
    warmup: &'a Warmup,
}

impl InstanceMaker<'_> {
    /// Makes all instances at once, each on its own load thread.
    fn create_all(
        &self,
        plans: Vec<InstancePlan>,
    ) -> Result<Vec<(InstanceIndex, Arc<ModelInstance>)>> {
        let reserved: Vec<_> = plans
            .into_iter()
            .map(|plan| (self.scheduler.reserve(), plan))
            .collect();
        let results: Vec<Result<_>> = std::thread::scope(|scope| {
            let threads: Vec<_> = reserved
                .iter()
                .map(|(index, plan)| scope.spawn(move || self.create(*index, plan)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(panicked())))
                .collect()
        });
        let mut created = Vec::with_capacity(results.len());
        let mut failure = None;
        for ((index, _), result) in reserved.into_iter().zip(results) {
            match result {
                Ok(instance) => created.push((index, instance)),
                Err(error) => {
                    self.scheduler.free(index);
                    failure = failure.or(Some(error));
                }
            }
        }
        let Some(error) = failure else {
            return Ok(created);
        };
        for (index, instance) in created {
            instance.stop();
            self.scheduler.free(index);
        }
        Err(error)
    }

    /// Makes one instance and, unless it is never to run, warms it up.
    fn create(&self, index: InstanceIndex, plan: &InstancePlan) -> Result<Arc<ModelInstance>> {
        let signature = &plan.signature;
        let services = self.scheduler.services();
        // What the backend and the engine start from here on inherits it.
        let policies = &services.host_policies;
        let is_bound = policies.bind_this_thread(&signature.host_policy)?;
        let limiter = services.rate_limiter.as_ref();
        let admission = limiter
            .filter(|_| !signature.is_passive)
            .map(|limiter| limiter.admit(signature.rate_limiter.as_ref(), signature.device_id))
            .transpose()?;
        let rules = InstanceRules {
            admission,
            is_bound,
        };
        let instance = Arc::new(InstanceContext {
            model: Arc::clone(self.context),
            name: plan.name.clone(),
            kind: signature.kind,
            device_id: signature.device_id,
            host_policy: signature.host_policy.clone(),
            control: Arc::new(Control {
                scheduler: Arc::downgrade(self.scheduler),
                index,
            }),
        });
        if signature.kind == InstanceGroupKind::Gpu
            && let Some(server) = self.context.server.upgrade()
        {
            let limits = server.gpu_load_limits();
            limits.check(&plan.name, signature.device_id)?;
        }
        let backend = self.backend_model.create_instance(&instance)?;
        let instance = ModelInstance::start(plan.name.clone(), signature.clone(), backend, rules)?;
        if !signature.is_passive {
            self.warmup
                .run(&instance, self.scheduler, index)
                .inspect_err(|_| instance.stop())?;
        }
        Ok(instance)
    }
}

fn panicked() -> Error {
    Error::internal("the backend panicked while it made an instance")
}

/// Reports one instance's availability to its scheduler.
struct Control {
    scheduler: Weak<ModelScheduler>,
    index: InstanceIndex,
}

impl InstanceControl for Control {
    fn set_availability(&self, availability: Availability) {
        if let Some(scheduler) = self.scheduler.upgrade() {
            scheduler.set_availability(self.index, availability);
        }
    }
}
