// SPDX-License-Identifier: Apache-2.0
//! A trace as it stands in a trace file (T025).

use std::fmt::Write;

use serde_json::Value;

use super::record::{TensorEvent, TraceEvent, TraceRecord};

/// Appends the entries of a trace, separated by commas.
pub(super) fn render(record: &TraceRecord, text: &mut String) {
    let id = record.id;
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        r#"{{"id":{id},"model_name":{},"model_version":{}"#,
        quoted(&record.model_name),
        record.model_version
    );
    if !record.request_id.is_empty() {
        let _ = write!(text, r#","request_id":{}"#, quoted(&record.request_id));
    }
    if record.parent_id != 0 {
        let _ = write!(text, r#","parent_id":{}"#, record.parent_id);
    }
    text.push('}');
    for event in &record.events {
        let _ = write!(text, r#",{{"id":{id},"#);
        match event {
            TraceEvent::Timestamp { activity, ns } => {
                timestamp(text, &Value::from(activity.name()), *ns);
            }
            TraceEvent::Custom { name, ns } => timestamp(text, &Value::from(name.as_str()), *ns),
            TraceEvent::Tensor(tensor) => render_tensor(text, tensor),
        }
        text.push('}');
    }
}

fn timestamp(text: &mut String, name: &Value, ns: u64) {
    let _ = write!(text, r#""timestamps":[{{"name":{name},"ns":{ns}}}]"#);
}

fn render_tensor(text: &mut String, tensor: &TensorEvent) {
    let dims: Vec<String> = tensor.shape.iter().map(i64::to_string).collect();
    let _ = write!(
        text,
        r#""activity":"{}","tensor":{{"name":{},"data":{},"shape":"{}","dtype":"{}"}}"#,
        tensor.activity.name(),
        quoted(&tensor.name),
        quoted(&tensor.data),
        dims.join(","),
        tensor.data_type
    );
}

fn quoted(text: &str) -> Value {
    Value::from(text)
}
