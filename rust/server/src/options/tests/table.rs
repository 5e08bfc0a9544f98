// SPDX-License-Identifier: Apache-2.0
//! The options as a whole: defaults, names, descriptions, those that are going or not there yet.

use std::sync::Arc;
use std::time::Duration;

use tritongw_engine::ModelControlMode;

use super::{serve, usage_reason};
use crate::options::trace::TraceOptions;
use crate::options::{reference, usage};

#[test]
fn defaults_are_tritons() {
    let args = serve(&[]);
    let options = args.server_options(Arc::default()).expect("valid");
    assert_eq!(options.id, "triton");
    assert!(options.is_auto_complete && options.is_strict_readiness);
    assert_eq!(
        (options.load_thread_count, options.load_retry_count),
        (4, 0)
    );
    assert!(args.repository.exit_on_error);
    assert_eq!(args.server.exit_timeout(), Duration::from_secs(30));
    let http = args.http_options().expect("on");
    assert_eq!(
        (http.port, http.max_input_size, http.thread_count),
        (8000, 64 << 20, 8)
    );
    let grpc = args.grpc_options().expect("on");
    assert_eq!((grpc.port, grpc.thread_count), (8001, 2));
    assert_eq!(args.metrics_address(), Some(("127.0.0.1", 8002)));
    assert_eq!(args.metrics.interval(), Duration::from_secs(2));
    assert!(args.metrics.allows_gpu_metrics() && args.metrics.allows_cpu_metrics());
    assert_eq!(args.repository.control_mode(), ModelControlMode::None);
    assert!(!args.repository.model_namespacing && args.repository.enable_peer_access);
    assert!(!args.device.allow_client_shm && !args.allows_vertex_ai());
    assert_eq!(args.device.pinned_memory_pool_byte_size(), 256 << 20);
    assert_eq!(args.trace_options(), Ok(TraceOptions::default()));
    assert!(args.warnings.is_empty() && args.notices.is_empty());
}

/// Every option of Triton's table (section 1.1), `--help` aside.
#[test]
fn every_option_is_there() {
    let expected = "id exit-timeout-secs log-verbose log-info log-warning log-error log-format \
        log-file model-repository model-store exit-on-error disable-auto-complete-config \
        strict-readiness model-control-mode repository-poll-secs load-model model-config-name \
        model-load-thread-count model-load-retry-count model-namespacing enable-peer-access \
        allow-http http-address http-port reuse-http-port http-header-forward-pattern \
        http-thread-count http-max-input-size http-restricted-api allow-grpc grpc-address \
        grpc-port reuse-grpc-port grpc-header-forward-pattern grpc-infer-thread-count \
        grpc-infer-allocation-pool-size grpc-max-response-pool-size grpc-use-ssl \
        grpc-use-ssl-mutual grpc-server-cert grpc-server-key grpc-root-cert \
        grpc-infer-response-compression-level grpc-keepalive-time grpc-keepalive-timeout \
        grpc-keepalive-permit-without-calls grpc-http2-max-pings-without-data \
        grpc-http2-min-recv-ping-interval-without-data grpc-http2-max-ping-strikes \
        grpc-max-connection-age grpc-max-connection-age-grace grpc-restricted-protocol \
        allow-sagemaker sagemaker-port sagemaker-safe-port-range sagemaker-thread-count \
        allow-vertex-ai vertex-ai-port vertex-ai-thread-count vertex-ai-default-model \
        allow-metrics allow-gpu-metrics allow-cpu-metrics metrics-address metrics-port \
        metrics-interval-ms metrics-config trace-config backend-directory backend-config \
        repoagent-directory cache-config cache-directory rate-limit rate-limit-resource \
        pinned-memory-pool-byte-size cuda-memory-pool-byte-size cuda-virtual-address-size \
        min-supported-compute-capability buffer-manager-thread-count host-policy \
        model-load-gpu-limit allow-client-shm strict-model-config response-cache-byte-size \
        trace-file trace-level trace-rate trace-count trace-log-frequency";
    let names: Vec<_> = usage::option_names()
        .into_iter()
        .map(|option| option.name)
        .collect();
    for option in expected.split_whitespace() {
        assert!(names.iter().any(|name| name == option), "--{option}");
    }
    assert_eq!(expected.split_whitespace().count() + 1, 91, "with --help");
}

#[test]
fn descriptions_are_in_table_and_reference() {
    let (table, reference) = (usage::table(), reference());
    for name in usage::option_names() {
        let name = name.name;
        assert!(table.contains(&format!("  --{name}")), "{name}");
        assert!(
            name == "help" || reference.contains(&format!("| `--{name}` |")),
            "{name}"
        );
    }
    let line =
        "\nServer:\n  --id <string>\n\tName of the server in its metadata. Default is triton.\n";
    assert!(table.contains(line), "{table}");
    assert!(table.lines().all(|line| line.len() <= 100));
}

#[test]
fn deprecated_options_are_translated_and_told() {
    let args = serve(&[
        "--strict-model-config=true",
        "--response-cache-byte-size=7",
        "--trace-rate=5",
        "--trace-config=rate=6",
    ]);
    assert!(args.is_strict_model_config());
    assert_eq!(
        args.cache_config()["local"],
        [("size".to_owned(), "7".to_owned())]
    );
    let starts = [
        "'--strict-model-config' has been deprecated!",
        "'--response-cache-byte-size' has been deprecated!",
        "'--trace-rate' has been deprecated",
        "Overriding deprecated '--trace-rate'",
    ];
    assert_eq!(args.notices.len(), starts.len());
    for (notice, start) in args.notices.iter().zip(starts) {
        assert!(notice.starts_with(start), "{notice}");
    }
    let overridden = serve(&[
        "--strict-model-config=false",
        "--disable-auto-complete-config",
    ]);
    assert!(overridden.is_strict_model_config());
    assert_eq!(overridden.notices.len(), 2);
    assert_eq!(
        usage_reason(&[
            "--response-cache-byte-size=1",
            "--cache-config=local,size=1"
        ]),
        "Error: Incompatible flags --response-cache-byte-size and --cache-config both provided. \
         Please provide one or the other."
    );
}

#[test]
fn an_option_without_its_feature_is_no_secret() {
    let args = serve(&["--repoagent-directory=/agents", "--trace-config=foo=1"]);
    assert_eq!(
        args.warnings,
        [
            "'--repoagent-directory' has no effect: this version of tritongw does not have the feature yet",
            "'--trace-config' knows no setting 'foo'",
        ]
    );
}
