// SPDX-License-Identifier: Apache-2.0
//! HTTP, gRPC and metrics.

use std::sync::Arc;
use std::time::Duration;

use tritongw_grpc::{CompressionLevel, TlsOptions};
use tritongw_types::ApiGroup;

use super::{args, options_reason, serve, usage_reason};

#[test]
fn a_restricted_group_may_be_named_once() {
    let repeated = usage_reason(&[
        "--http-restricted-api=health:a=b",
        "--http-restricted-api=health:c=d",
    ]);
    assert_eq!(
        repeated,
        "Bad option: \"--http-restricted-api\".\nrestricted api 'health' can not be specified in \
         multiple config groups\n\n"
    );
    let args = serve(&[
        "--grpc-restricted-protocol=health,trace:key=secret",
        "--http-restricted-api=health:key=secret",
    ]);
    let apis = args.grpc_options().expect("on").restricted_protocols;
    let key = apis.key(ApiGroup::Trace).expect("restricted");
    assert_eq!(key.header(), "triton-grpc-protocol-key");
    assert!(key.opens_with(b"secret"));
    let apis = args.http_options().expect("on").restricted_apis;
    assert_eq!(
        apis.key(ApiGroup::Health).expect("restricted").header(),
        "key"
    );
    assert!(apis.key(ApiGroup::Trace).is_none());
}

#[test]
fn no_two_services_share_a_port() {
    let collision = |one: &str, other: &str, port: u16| {
        format!(
            "The server cannot listen to {one} requests and {other} requests at the same address and port 127.0.0.1:{port}\n"
        )
    };
    assert_eq!(
        usage_reason(&["--grpc-port=8000"]),
        collision("HTTP", "GRPC", 8000)
    );
    assert_eq!(
        usage_reason(&["--metrics-port=8000"]),
        collision("HTTP", "metrics", 8000)
    );
    assert_eq!(
        usage_reason(&["--allow-sagemaker=1", "--sagemaker-port=8001"]),
        collision("GRPC", "SageMaker", 8001)
    );
    assert_eq!(
        usage_reason(&["--allow-sagemaker=1", "--sagemaker-safe-port-range=1-2"]),
        "The server cannot listen to HTTP requests at port 8000, allowed port range is [1, 2]\n"
    );
    serve(&["--grpc-port=0", "--http-port=0", "--metrics-port=0"]);
    serve(&["--grpc-port=8000", "--grpc-address=127.0.0.2"]);
    serve(&["--grpc-port=8000", "--allow-http=false"]);
}

#[test]
fn models_from_strangers_are_warned_of() {
    let warned = |options: &[&str]| {
        let explicit = ["--model-control-mode=explicit"];
        let options: Vec<_> = explicit.iter().chain(options).copied().collect();
        let warnings = serve(&options).warnings.clone();
        warnings
            .iter()
            .filter(|text| text.contains("may load models"))
            .count()
    };
    let open = ["--http-address=0.0.0.0", "--grpc-address=::"];
    assert_eq!(warned(&[]), 0, "loopback");
    assert_eq!(warned(&["--http-address=localhost"]), 0);
    assert_eq!(warned(&open), 2);
    assert_eq!(warned(&[open[0], "--allow-http=false"]), 0);
    assert_eq!(warned(&[open[0], open[1], "--allow-model-upload=false"]), 0);
    let restricted = "--http-restricted-api=model-repository:key=secret";
    assert_eq!(warned(&[open[0], restricted]), 0);
    let none = serve(&[open[0], "--model-control-mode=none"]);
    assert!(none.warnings.is_empty());
}

#[test]
fn grpc_options_are_typed() {
    let given = args(&[
        "--grpc-infer-thread-count=7",
        "--reuse-grpc-port=1",
        "--grpc-use-ssl-mutual=1",
        "--grpc-server-cert=cert",
        "--grpc-root-cert=root",
        "--grpc-infer-response-compression-level=High",
        "--grpc-keepalive-time=5",
        "--grpc-max-connection-age=7",
    ]);
    let tls = TlsOptions {
        server_cert: Some("cert".into()),
        server_key: None,
        root_cert: Some("root".into()),
        is_mutual: true,
    };
    let options = given.grpc_options().expect("on");
    assert_eq!((options.thread_count, options.reuse_port), (7, true));
    assert_eq!(given.grpc.tls(), Some(tls));
    assert_eq!(args(&["--grpc-server-cert=cert"]).grpc.tls(), None);
    assert_eq!(
        given.grpc.grpc_infer_response_compression_level,
        CompressionLevel::High
    );
    let keepalive = given.grpc.keepalive();
    assert_eq!(keepalive.time, Some(Duration::from_millis(5)));
    assert_eq!(keepalive.timeout, Duration::from_secs(20));
    assert_eq!(keepalive.max_connection_age, Some(Duration::from_millis(7)));
    assert_eq!(keepalive.max_connection_age_grace, None);
}

#[test]
fn metrics_follow_the_http_address() {
    let args = serve(&["--http-address=0.0.0.0", "--metrics-port=9"]);
    assert_eq!(args.metrics_address(), Some(("0.0.0.0", 9)));
    let args = serve(&["--allow-metrics=0"]);
    assert_eq!(args.metrics_address(), None);
    assert!(!args.metrics.allows_cpu_metrics() && !args.metrics.allows_gpu_metrics());
}

#[test]
fn metrics_settings_are_typed() {
    let args = serve(&[
        "--metrics-config=summary_latencies=true",
        "--metrics-config=summary_quantiles=0.5:0.05,0.9:0.01",
        "--metrics-config=no_such_setting=1",
        "--metrics-interval-ms=500.5",
        "--allow-cpu-metrics=false",
        "--pinned-memory-pool-byte-size=7",
    ]);
    assert_eq!(
        args.warnings,
        ["'--metrics-config' knows no setting 'no_such_setting'"]
    );
    let options = args.server_options(Arc::default()).expect("valid").metrics;
    assert!(options.summary_latencies && !options.histogram_latencies && !options.reports_cpu);
    assert_eq!(options.summary_quantiles.len(), 2);
    assert_eq!(options.interval, Duration::from_millis(500));
    assert_eq!(options.pinned_memory_pool_byte_size, 7);
    assert_eq!(
        options_reason(&["--metrics-config=summary_latencies=maybe"]),
        "setting metrics configuration: Invalid argument - metrics setting 'summary_latencies' \
         must be true or false, got 'maybe'"
    );
}
