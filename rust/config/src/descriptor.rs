// SPDX-License-Identifier: Apache-2.0
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use tritongw_protocol::{FILE_DESCRIPTOR_SET, pb};

static MODEL_CONFIG: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET)
        .ok()
        .and_then(|pool| pool.get_message_by_name("inference.ModelConfig"))
        .expect("INVARIANT: the descriptor set is generated with the messages")
});

/// Returns the schema that the readers and the printer walk.
pub(crate) fn model_config() -> MessageDescriptor {
    MODEL_CONFIG.clone()
}

pub(crate) fn to_dynamic(config: &pb::ModelConfig) -> DynamicMessage {
    let mut message = DynamicMessage::new(model_config());
    message
        .transcode_from(config)
        .expect("INVARIANT: both sides are generated from one schema");
    message
}

pub(crate) fn from_dynamic(message: &DynamicMessage) -> pb::ModelConfig {
    message
        .transcode_to()
        .expect("INVARIANT: both sides are generated from one schema")
}
