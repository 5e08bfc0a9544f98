// SPDX-License-Identifier: Apache-2.0
//! W3C trace context: what arrives in `traceparent` and `tracestate`, and what travels on (T035,
//! T036).

use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Longest `tracestate` that is kept; the specification asks for at least 512 characters.
const MAX_STATE_LENGTH: usize = 4096;

/// The place in a distributed trace that a client's headers name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    parent_span: u64,
    state: Arc<str>,
}

impl TraceContext {
    /// Reads the context that a request brings; `header` returns the value of a header by its
    /// name. A value that is not ASCII counts as none.
    pub fn from_headers<'a>(header: impl Fn(&str) -> Option<&'a [u8]>) -> Option<Self> {
        let text = |name| {
            let value = header(name).filter(|value| value.is_ascii())?;
            std::str::from_utf8(value).ok()
        };
        Self::parse(text("traceparent")?, text("tracestate"))
    }

    /// Reads `traceparent` and `tracestate`; `None` if the first is not well-formed, which counts
    /// as no context.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let mut fields = traceparent.trim().split('-');
        let version = hex_field(fields.next()?, 2)?;
        let trace_id = hex_field(fields.next()?, 32)?;
        let parent_span = hex_field(fields.next()?, 16)?;
        hex_field(fields.next()?, 2)?;
        // Later versions may add fields; this one has none.
        let is_known_shape = version != 0 || fields.next().is_none();
        if version == 0xff || trace_id == 0 || parent_span == 0 || !is_known_shape {
            return None;
        }
        let state = tracestate.filter(|state| state.len() <= MAX_STATE_LENGTH);
        Some(Self {
            trace_id,
            parent_span: u64::try_from(parent_span).ok()?,
            state: state.unwrap_or_default().trim().into(),
        })
    }
}

/// Reads a field of exactly `length` lower-case hexadecimal digits.
fn hex_field(text: &str, length: usize) -> Option<u128> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != length || !text.bytes().all(is_digit) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

/// Identity of a trace's three spans (T031), fixed when it begins so that it can travel on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanIds {
    /// The distributed trace.
    pub trace_id: u128,
    /// Span that caused this one; 0 if none did.
    pub parent: u64,
    /// Span of the door. A request inside the server has none of its own, and this is 0.
    pub door: u64,
    /// Span of the model.
    pub model: u64,
    /// Span of the execution.
    pub compute: u64,
    /// `tracestate`, handed on as it came.
    pub state: Arc<str>,
}

impl SpanIds {
    /// Makes the spans of a client's request, in its distributed trace if it named one.
    pub(super) fn root(context: Option<&TraceContext>) -> Self {
        let trace_id = match context {
            Some(context) => context.trace_id,
            None => u128::from(random_id()) << 64 | u128::from(random_id()),
        };
        Self {
            trace_id,
            parent: context.map_or(0, |context| context.parent_span),
            door: random_id(),
            model: random_id(),
            compute: random_id(),
            state: context.map_or_else(Arc::default, |context| Arc::clone(&context.state)),
        }
    }

    /// Makes the spans of a request that the execution of this one sends.
    pub(super) fn child(&self) -> Self {
        Self {
            trace_id: self.trace_id,
            parent: self.model,
            door: 0,
            model: random_id(),
            compute: random_id(),
            state: Arc::clone(&self.state),
        }
    }

    /// Returns the context as JSON, with the model's span as the parent of what follows (T036).
    pub fn to_json(&self) -> String {
        let mut json = format!(
            r#"{{"traceparent":"00-{:032x}-{:016x}-01""#,
            self.trace_id, self.model
        );
        if !self.state.is_empty() {
            let state = serde_json::Value::from(&*self.state);
            // Writing to a String cannot fail.
            let _ = write!(json, r#","tracestate":{state}"#);
        }
        json.push('}');
        json
    }
}

/// Returns a random number that is not zero. Each `RandomState` is keyed from the system's random
/// numbers, which is as much as an id of a span asks for.
fn random_id() -> u64 {
    loop {
        let id = RandomState::new().hash_one(0);
        if id != 0 {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_travels_on_with_the_models_span() {
        let context = TraceContext::parse(PARENT, Some(r#"k=v,x="y""#)).expect("well-formed");
        let spans = SpanIds::root(Some(&context));
        assert_eq!(spans.parent, 0xb7ad_6b71_6920_3331);
        let expected = format!(
            r#"{{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-{:016x}-01","tracestate":"k=v,x=\"y\""}}"#,
            spans.model
        );
        assert_eq!(spans.to_json(), expected);
        let child = spans.child();
        assert_eq!(
            (child.trace_id, child.parent),
            (spans.trace_id, spans.model)
        );
    }

    #[test]
    fn what_is_not_well_formed_counts_as_no_context() {
        let digits = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        let zero_trace = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        let zero_span = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", "0".repeat(16));
        for text in [
            "",
            "garbage",
            &format!("ff-{digits}-01"),
            &format!("00-{digits}-01-more"),
            &format!("00-{digits}"),
            &format!("00-{digits}-1"),
            &format!("00-{}-01", digits.to_uppercase()),
            &zero_trace,
            &zero_span,
        ] {
            assert_eq!(TraceContext::parse(text, None), None, "{text}");
        }
        assert!(TraceContext::parse(&format!("01-{digits}-01-more"), None).is_some());
    }

    #[test]
    fn ids_differ() {
        let (one, other) = (SpanIds::root(None), SpanIds::root(None));
        assert_ne!(one.trace_id, other.trace_id);
        assert_ne!(one.model, one.compute);
        assert_eq!(one.parent, 0);
    }
}
