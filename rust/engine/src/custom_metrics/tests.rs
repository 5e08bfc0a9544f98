// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::sync::Arc;

use tritongw_types::ErrorCode;

use super::MetricKind::{Counter, Gauge, Histogram};
use super::MetricUpdate::{Increment, Observe, Set};
use super::{MAX_SERIES, MetricRegistry};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn text(registry: &MetricRegistry) -> String {
    let mut text = String::new();
    registry.render(&mut text);
    text
}

#[test]
fn series_of_the_same_labels_are_one_until_the_last_holder_lets_go() {
    let registry = MetricRegistry::default();
    let first = registry.family("hits", "Hits.", Counter).expect("a family");
    let again = registry
        .family("hits", "Other.", Counter)
        .expect("the same");
    assert!(Arc::ptr_eq(&first, &again));
    let one = first
        .metric(&labels(&[("b", "2"), ("a", "1")]), None)
        .expect("a metric");
    let two = again
        .metric(&labels(&[("a", "1"), ("b", "2")]), None)
        .expect("the same");
    one.update(Increment(1.5)).expect("a counter");
    two.update(Increment(2.0)).expect("a counter");
    assert_eq!(one.value().expect("a number"), 3.5);
    let head = "# HELP hits Hits.\n# TYPE hits counter\n";
    assert_eq!(
        text(&registry),
        format!("{head}hits{{a=\"1\",b=\"2\"}} 3.5\n")
    );
    drop(one);
    assert_eq!(two.value().expect("a number"), 3.5);
    drop(two);
    assert_eq!(text(&registry), head);
}

#[test]
fn a_histogram_counts_below_each_bound() {
    let registry = MetricRegistry::default();
    let family = registry.family("t", "T.", Histogram).expect("a family");
    let metric = family.metric(&labels(&[("x", "a\"\n")]), Some(&[0.1, 1.0, 2.5]));
    let metric = metric.expect("a metric");
    for value in [0.05, 1.0, 6.0] {
        metric.update(Observe(value)).expect("a histogram");
    }
    let expected = "# HELP t T.\n# TYPE t histogram\n\
        t_count{x=\"a\\\"\\n\"} 3\nt_sum{x=\"a\\\"\\n\"} 7.05\n\
        t_bucket{x=\"a\\\"\\n\",le=\"0.1\"} 1\nt_bucket{x=\"a\\\"\\n\",le=\"1\"} 2\n\
        t_bucket{x=\"a\\\"\\n\",le=\"2.5\"} 2\nt_bucket{x=\"a\\\"\\n\",le=\"+Inf\"} 3\n";
    assert_eq!(text(&registry), expected);
}

#[test]
fn what_a_kind_does_not_take_is_refused_in_tritons_words() {
    let kind = |kind: super::MetricKind| kind.constant();
    for (metric, update, code, what) in [
        (
            Counter,
            Set(1.0),
            ErrorCode::Unsupported,
            " does not support Set",
        ),
        (
            Counter,
            Observe(1.0),
            ErrorCode::Unsupported,
            " does not support Observe",
        ),
        (
            Gauge,
            Observe(1.0),
            ErrorCode::Unsupported,
            " does not support Observe",
        ),
        (
            Histogram,
            Increment(1.0),
            ErrorCode::Unsupported,
            " does not support Increment",
        ),
        (
            Histogram,
            Set(1.0),
            ErrorCode::Unsupported,
            " does not support Set",
        ),
        (
            Counter,
            Increment(-1.0),
            ErrorCode::InvalidArg,
            " can only be incremented monotonically by non-negative values.",
        ),
    ] {
        let error = metric.check(update).expect_err(what);
        let expected = format!("{}{what}", kind(metric));
        assert_eq!((error.code(), error.message()), (code, expected.as_str()));
    }
    assert!(Counter.check(Increment(f64::NAN)).is_err());
    assert!(Gauge.check(Increment(-1.0)).is_ok());
}

#[test]
fn names_that_would_break_the_text_are_refused() {
    let registry = MetricRegistry::default();
    for name in [
        "",
        "1a",
        "a b",
        "a\n",
        "ä",
        "nv_inference_count",
        "nv_cpu_utilization",
    ] {
        assert!(registry.family(name, "", Gauge).is_err(), "'{name}'");
    }
    let family = registry
        .family("vllm:x_total", "", Histogram)
        .expect("a name");
    for name in ["", "1a", "a:b", "__a", "le", "a\"", "a b"] {
        let refused = family.metric(&labels(&[(name, "x")]), Some(&[1.0]));
        assert!(refused.is_err(), "'{name}'");
    }
    for buckets in [
        None,
        Some([2.0, 1.0]),
        Some([1.0, 1.0]),
        Some([1.0, f64::NAN]),
    ] {
        let refused = family.metric(&labels(&[]), buckets.as_ref().map(<[f64; 2]>::as_slice));
        assert!(refused.is_err(), "{buckets:?}");
    }
    assert!(family.metric(&labels(&[]), Some(&[])).is_ok());
    let error = registry
        .family("vllm:x_total", "", Gauge)
        .expect_err("another kind");
    assert_eq!(
        error.message(),
        "Family name already exists with different type"
    );
}

#[test]
fn series_are_bounded() {
    let registry = MetricRegistry::default();
    let family = registry.family("many", "", Gauge).expect("a family");
    let make = |i: usize| family.metric(&labels(&[("i", &i.to_string())]), None);
    let held: Vec<_> = (0..MAX_SERIES).map(|i| make(i).expect("room")).collect();
    let error = make(MAX_SERIES).expect_err("no room");
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert!(make(0).is_ok(), "one that is there");
    drop(held);
    assert!(make(MAX_SERIES).is_ok());
}
