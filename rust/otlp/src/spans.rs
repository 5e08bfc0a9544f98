// SPDX-License-Identifier: Apache-2.0
//! A finished trace as spans (T031-T034): the door's `InferRequest`, in it the model's, in that
//! `compute`, each with the moments that belong to it as events.

use tritongw_engine::trace::{Activity, SpanIds, TraceEvent, TraceRecord};

use crate::messages::{Event, KeyValue, SPAN_KIND_SERVER, Span};

/// Spans that one request has at most.
pub(crate) const SPANS_PER_RECORD: usize = 3;

/// The span a moment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Door,
    Model,
    Compute,
}

fn place(activity: Activity) -> Place {
    match activity {
        Activity::RequestStart | Activity::QueueStart | Activity::RequestEnd => Place::Model,
        Activity::ComputeStart
        | Activity::ComputeInputEnd
        | Activity::ComputeOutputStart
        | Activity::ComputeEnd => Place::Compute,
        Activity::HttpRecvStart
        | Activity::HttpRecvEnd
        | Activity::HttpSendStart
        | Activity::HttpSendEnd
        | Activity::GrpcWaitreadStart
        | Activity::GrpcWaitreadEnd
        | Activity::GrpcSendStart
        | Activity::GrpcSendEnd
        | Activity::InferResponseComplete => Place::Door,
    }
}

/// Adds the spans of a trace to `spans`, innermost first. Tensors have no place in them.
pub(crate) fn add_spans(record: &TraceRecord, spans: &mut Vec<Span>) {
    let Some(ids) = &record.spans else {
        return;
    };
    let events = |place| events_of(record, place, ids.door != 0);
    let model_parent = if ids.door == 0 { ids.parent } else { ids.door };
    spans.extend(span(
        ids,
        ids.compute,
        ids.model,
        "compute",
        events(Place::Compute),
    ));
    let model = span(
        ids,
        ids.model,
        model_parent,
        &record.model_name,
        events(Place::Model),
    );
    spans.extend(model.map(|model| Span {
        attributes: attributes(record),
        ..model
    }));
    if ids.door != 0 {
        spans.extend(span(
            ids,
            ids.door,
            ids.parent,
            "InferRequest",
            events(Place::Door),
        ));
    }
}

/// Returns the events of a span. Without a door, its events are the model's.
fn events_of(record: &TraceRecord, place: Place, has_door: bool) -> Vec<Event> {
    let of_place = |activity| match self::place(activity) {
        Place::Door if !has_door => Place::Model,
        place => place,
    };
    let mut events: Vec<Event> = record
        .events
        .iter()
        .filter_map(|event| match event {
            TraceEvent::Timestamp { activity, ns } if of_place(*activity) == place => {
                Some((activity.name(), *ns))
            }
            TraceEvent::Custom { name, ns } if place == Place::Compute => Some((name, *ns)),
            _ => None,
        })
        .map(|(name, ns)| Event {
            time_unix_nano: ns.saturating_add(record.unix_offset_ns),
            name: name.to_owned(),
        })
        .collect();
    events.sort_by_key(|event| event.time_unix_nano);
    events
}

/// Makes a span that lasts from its first event to its last; `None` if it has none.
fn span(ids: &SpanIds, id: u64, parent: u64, name: &str, events: Vec<Event>) -> Option<Span> {
    let (first, last) = (events.first()?, events.last()?);
    let parent_span_id = match parent {
        0 => Vec::new(),
        parent => parent.to_be_bytes().to_vec(),
    };
    Some(Span {
        trace_id: ids.trace_id.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        trace_state: ids.state.as_ref().to_owned(),
        parent_span_id,
        name: name.to_owned(),
        kind: SPAN_KIND_SERVER,
        start_time_unix_nano: first.time_unix_nano,
        end_time_unix_nano: last.time_unix_nano,
        attributes: Vec::new(),
        events,
    })
}

fn attributes(record: &TraceRecord) -> Vec<KeyValue> {
    // INVARIANT: traces are numbered from 1 on and never reach i64::MAX.
    let number = |id: u64| i64::try_from(id).unwrap_or(i64::MAX);
    let mut attributes = vec![
        KeyValue::string("triton.model_name", &record.model_name),
        KeyValue::int("triton.model_version", record.model_version),
        KeyValue::int("triton.trace_id", number(record.id)),
        KeyValue::int("triton.trace_parent_id", number(record.parent_id)),
    ];
    if !record.request_id.is_empty() {
        attributes.push(KeyValue::string("triton.request_id", &record.request_id));
    }
    attributes
}

#[cfg(test)]
mod tests {
    use tritongw_types::CName;

    use super::*;

    const EVENTS: [(Activity, u64); 7] = [
        (Activity::HttpRecvStart, 1),
        (Activity::RequestStart, 2),
        (Activity::InferResponseComplete, 6),
        (Activity::ComputeStart, 4),
        (Activity::ComputeEnd, 5),
        (Activity::RequestEnd, 7),
        (Activity::HttpSendEnd, 8),
    ];

    fn record(door: u64) -> TraceRecord {
        let event = |&(activity, ns): &_| TraceEvent::Timestamp { activity, ns };
        let mut events: Vec<_> = EVENTS.iter().map(event).collect();
        events.push(TraceEvent::Custom {
            name: "LOOKED_UP".to_owned(),
            ns: 4,
        });
        TraceRecord {
            id: 9,
            parent_id: 0,
            model_name: CName::new("m"),
            model_version: 3,
            request_id: CName::new("id"),
            events,
            spans: Some(SpanIds {
                trace_id: 0xabc,
                parent: 5,
                door,
                model: 20,
                compute: 30,
                state: "k=v".into(),
            }),
            unix_offset_ns: 1000,
        }
    }

    fn spans(record: &TraceRecord) -> Vec<Span> {
        let mut spans = Vec::new();
        add_spans(record, &mut spans);
        spans
    }

    fn names(span: &Span) -> Vec<&str> {
        span.events
            .iter()
            .map(|event| event.name.as_str())
            .collect()
    }

    #[test]
    fn three_spans_lie_inside_one_another() {
        let spans = spans(&record(10));
        let shape: Vec<_> = spans
            .iter()
            .map(|span| (span.name.as_str(), span.span_id[7], span.parent_span_id[7]))
            .collect();
        assert_eq!(
            shape,
            [("compute", 30, 20), ("m", 20, 10), ("InferRequest", 10, 5)]
        );
        let times: Vec<_> = spans
            .iter()
            .map(|span| (span.start_time_unix_nano, span.end_time_unix_nano))
            .collect();
        assert_eq!(times, [(1004, 1005), (1002, 1007), (1001, 1008)]);
        assert_eq!(
            names(&spans[0]),
            ["COMPUTE_START", "LOOKED_UP", "COMPUTE_END"]
        );
        assert!(spans.iter().all(|span| span.trace_state == "k=v"));
        assert!(spans.iter().all(|span| span.kind == SPAN_KIND_SERVER));
        assert_eq!(
            spans[1].attributes,
            [
                KeyValue::string("triton.model_name", "m"),
                KeyValue::int("triton.model_version", 3),
                KeyValue::int("triton.trace_id", 9),
                KeyValue::int("triton.trace_parent_id", 0),
                KeyValue::string("triton.request_id", "id"),
            ]
        );
    }

    #[test]
    fn a_request_from_inside_has_no_span_of_a_door() {
        let spans = spans(&record(0));
        assert_eq!(spans.len(), 2);
        assert_eq!(spans[1].parent_span_id[7], 5);
        assert!(names(&spans[1]).contains(&"INFER_RESPONSE_COMPLETE"));
    }

    #[test]
    fn what_was_not_reached_has_no_span() {
        let mut record = record(10);
        record.events.truncate(1);
        let spans = spans(&record);
        assert_eq!(spans.len(), 1);
        assert_eq!(names(&spans[0]), ["HTTP_RECV_START"]);
    }
}
