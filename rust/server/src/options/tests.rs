// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tritongw_engine::ModelControlMode;
use tritongw_grpc::{CompressionLevel, TlsOptions};
use tritongw_http::{SageMakerInference, SageMakerPing};
use tritongw_types::ApiGroup;

use super::rate_limiter::{RateLimitMode, RateLimiterResource};
use super::trace::{TraceLevels, TraceMode};
use super::*;

/// Parses options as clap does, without what `complete` checks.
fn args(options: &[&str]) -> ServeArgs {
    let head = ["tritongw", "serve"].iter();
    let Command::Serve(args) = CommandLine::try_parse_from(head.chain(options))
        .unwrap_or_else(|error| panic!("{options:?}: {error}"))
        .command;
    *args
}

fn parse_in(
    environment: &[(&str, &str)],
    options: &[&str],
) -> std::result::Result<Box<ServeArgs>, Refusal> {
    let environment: BTreeMap<_, _> = environment.iter().copied().collect();
    let head = ["tritongw", "serve", "--model-repository=models"];
    let args = head.iter().chain(options).map(OsString::from).collect();
    parse(args, &environment)
}

fn serve(options: &[&str]) -> Box<ServeArgs> {
    parse_in(&[], options).unwrap_or_else(|refusal| panic!("{options:?}: {refusal:?}"))
}

/// Returns the reason that comes after the table of options.
fn usage_reason(options: &[&str]) -> String {
    match parse_in(&[], options) {
        Err(Refusal::Usage(reason)) => reason,
        other => panic!("{options:?}: {other:?}"),
    }
}

fn options_reason(options: &[&str]) -> String {
    match parse_in(&[], options) {
        Err(Refusal::Options(reason)) => reason,
        other => panic!("{options:?}: {other:?}"),
    }
}

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
fn booleans_take_every_spelling_of_triton() {
    for (text, expected) in [
        ("true", true),
        ("On", true),
        ("1", true),
        ("FALSE", false),
        ("off", false),
        ("0", false),
    ] {
        let args = serve(&["--exit-on-error", text]);
        assert_eq!(args.repository.exit_on_error, expected, "{text}");
    }
    assert_eq!(
        usage_reason(&["--exit-on-error=maybe"]),
        "Bad option: \"--exit-on-error\".\ninvalid value for bool option: maybe\n"
    );
    assert_eq!(
        serve(&["--log-verbose=true"])
            .logging
            .settings()
            .verbose_level,
        1
    );
}

#[test]
fn the_last_of_an_option_counts_unless_it_repeats() {
    let args = serve(&[
        "--http-port=1",
        "--http-port",
        "2",
        "--model-store=b",
        "--model-store=a",
        "--model-store=b",
    ]);
    assert_eq!(args.http_options().expect("on").port, 2);
    let repositories = args
        .server_options(Arc::default())
        .expect("valid")
        .model_repositories;
    assert_eq!(repositories, ["a", "b", "models"].map(PathBuf::from));
}

#[test]
fn unambiguous_prefixes_and_aliases_are_accepted() {
    let aliased = serve(&["--model-sto=other"])
        .server_options(Arc::default())
        .expect("valid");
    assert_eq!(
        aliased.model_repositories,
        ["models", "other"].map(PathBuf::from)
    );
    assert_eq!(
        serve(&["--http-po", "1"]).http_options().expect("on").port,
        1
    );
    assert_eq!(
        usage_reason(&["--http-t=1", "--vertex-ai-=1"]),
        "option '--vertex-ai-=1' is ambiguous; possibilities: '--vertex-ai-port' \
         '--vertex-ai-thread-count' '--vertex-ai-default-model'"
    );
}

#[test]
fn values_out_of_range_are_refused_in_tritons_words() {
    for (option, reason) in [
        ("http-port=abc", "Invalid option value. Got abc"),
        (
            "http-port=99999999999",
            "Provided option value is out of bound. Got 99999999999",
        ),
        ("log-format=x", "invalid argument for --log-format"),
        (
            "model-control-mode=x",
            "invalid argument for --model-control-mode",
        ),
        (
            "model-config-name=",
            "Error: empty argument for --model-config-name",
        ),
        ("rate-limit=x", "invalid argument for --rate-limit"),
        ("rate-limit-resource=R1:a", "Invalid option value. Got a"),
        (
            "rate-limit-resource=R1:1:2:3",
            "--rate-limit-resource option format is '<resource_name>:<count>:<device>' or \
             '<resource_name>:<count>'. Got R1:1:2:3",
        ),
        (
            "min-supported-compute-capability=a",
            "Invalid option value. Got a",
        ),
        (
            "grpc-infer-thread-count=129",
            "invalid argument for --grpc_infer_thread_count. Must be in the range 2 to 128.",
        ),
        (
            "http-max-input-size=0",
            "Error: --http-max-input-size must be greater than 0.",
        ),
        (
            "grpc-max-response-pool-size=0",
            "Error: --grpc-max-response-pool-size must be greater than 0.",
        ),
        (
            "grpc-infer-response-compression-level=x",
            "invalid argument for --grpc_infer_response_compression_level",
        ),
        (
            "sagemaker-safe-port-range=1",
            "Cannot parse pair option due to incorrect number of inputs.--<pair option> argument \
             requires format <first>-<second>. Found: 1",
        ),
        ("trace-level=x", "invalid value for trace level option: x"),
        (
            "trace-config=foo,a=b",
            "invalid value for trace mode option: foo. Available options are \"triton\" and \
             \"opentelemetry\"",
        ),
    ] {
        let name = option.split('=').next().expect("a name");
        let expected = format!("Bad option: \"--{name}\".\n{reason}\n");
        assert_eq!(usage_reason(&[&format!("--{option}")]), expected);
    }
}

#[test]
fn malformed_settings_are_refused_in_tritons_words() {
    for (option, value, format) in [
        (
            "backend-config",
            "foo",
            "--backend-config option format is '<backend name>,<setting>=<value>'. Got foo",
        ),
        (
            "backend-config",
            "a,=b",
            "--backend-config option format is '<backend name>,<setting>=<value>'. Got a,=b",
        ),
        (
            "backend-config",
            ",a=b",
            "No backend specified. --backend-config option format is <backend name>,<setting>=<value> or <setting>=<value>. Got ,a=b",
        ),
        (
            "metrics-config",
            "a,b=c",
            "--metrics-config option format is <setting>=<value>. Got a,b=c",
        ),
        (
            "host-policy",
            "x,y",
            "--host-policy option format is '<policy name>,<setting>=<value>'. Got x,y",
        ),
        (
            "cache-config",
            "x=y",
            "No cache specified. --cache-config option format is <cache name>,<setting>=<value>. Got x=y",
        ),
        (
            "cache-config",
            "local,size",
            "--cache-config option format is '<cache name>,<setting>=<value>'. Got local,size",
        ),
        (
            "trace-config",
            "x",
            "--trace-config option format is '<trace mode>,<setting>=<value>'. Got x",
        ),
        (
            "http-restricted-api",
            "foo:a=b",
            "unknown restricted api 'foo'",
        ),
        (
            "grpc-restricted-protocol",
            "health",
            "--grpc-restricted-protocol option format is '<config name>:<setting>=<value>'. Got health",
        ),
    ] {
        let expected = format!("Bad option: \"--{option}\".\n{format}\n\n");
        assert_eq!(usage_reason(&[&format!("--{option}={value}")]), expected);
    }
}

#[test]
fn what_is_no_option_is_refused() {
    assert_eq!(
        usage_reason(&["left-over"]),
        "Unexpected argument: left-over"
    );
    assert_eq!(
        usage_reason(&["--nonsense"]),
        "unrecognized option '--nonsense'"
    );
    assert_eq!(usage_reason(&["--help"]), "");
}

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
fn start_up_models_need_explicit_mode() {
    let needs_explicit =
        "Error: Use of '--load-model' requires setting '--model-control-mode=explicit' as well.";
    assert_eq!(usage_reason(&["--load-model=a"]), needs_explicit);
    let given = args(&[
        "--model-control-mode=Explicit",
        "--load-model=b",
        "--load-model=a",
    ]);
    assert_eq!(given.repository.control_mode(), ModelControlMode::Explicit);
    assert_eq!(
        given.repository.startup_models(),
        ["a", "b"].map(str::to_owned).into()
    );
    given.repository.check_startup_models().expect("two names");
    let error = args(&["--load-model=*", "--load-model=a"])
        .repository
        .check_startup_models()
        .expect_err("a wildcard with a name");
    assert_eq!(
        error.message(),
        "Wildcard model name '*' must be the ONLY startup model if specified at all."
    );
}

#[test]
fn the_interval_of_polling_counts_in_poll_mode_only() {
    assert_eq!(
        args(&["--repository-poll-secs=3"])
            .repository
            .poll_interval(),
        None
    );
    let polling = args(&["--repository-poll-secs=3", "--model-control-mode=poll"]);
    assert_eq!(
        polling.repository.poll_interval(),
        Some(Duration::from_secs(3))
    );
}

#[test]
fn a_repository_must_be_given() {
    let line = ["tritongw", "serve"].map(OsString::from).to_vec();
    let args = parse(line, &BTreeMap::new()).expect("valid options");
    let error = args
        .server_options(Arc::default())
        .expect_err("no repository");
    assert_eq!(error.message(), "--model-repository must be specified");
}

#[test]
fn the_environment_of_vertex_ai_is_read() {
    let environment: BTreeMap<_, _> = [
        ("AIP_MODE", "PREDICTION"),
        ("AIP_HTTP_PORT", "9000"),
        ("AIP_STORAGE_URI", "stored"),
        ("AIP_PREDICT_ROUTE", "/predict"),
        ("AIP_HEALTH_ROUTE", "/health"),
    ]
    .into();
    let mut given = args(&[]);
    given.environment = EnvironmentInputs::read(&environment).expect("a port");
    assert!(given.allows_vertex_ai() && !given.allows_http() && !given.allows_grpc());
    assert_eq!(given.vertex_ai_port(), 9000);
    let options = given.server_options(Arc::default()).expect("a repository");
    assert_eq!(options.model_repositories, [PathBuf::from("stored")]);
    assert_eq!(
        given.environment.vertex_ai_predict_route.as_deref(),
        Some("/predict")
    );
    let mut given = args(&[
        "--allow-http=true",
        "--vertex-ai-port=9001",
        "--vertex-ai-default-model=m",
    ]);
    given.environment = EnvironmentInputs::read(&environment).expect("a port");
    assert!(given.allows_http());
    assert_eq!(given.vertex_ai_port(), 9001);
    assert_eq!(
        given.vertex_ai.default_model().map(String::as_str),
        Some("m")
    );
    let vertex_ai = given.vertex_ai_options().expect("it is allowed");
    assert_eq!(
        (
            &*vertex_ai.predict_route,
            &*vertex_ai.health_route,
            vertex_ai.http.port
        ),
        ("/predict", "/health", 9001)
    );
    assert_eq!(vertex_ai.default_model.as_deref(), Some("m"));
    match parse_in(&[("AIP_HTTP_PORT", "x")], &[]) {
        Err(Refusal::Usage(reason)) => assert_eq!(reason, "Invalid option value. Got x"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn log_messages_stay_as_they_are_when_the_environment_says_so() {
    let is_escaping = |value| {
        let args = parse_in(&[("TRITON_SERVER_ESCAPE_LOG_MESSAGES", value)], &[]);
        args.expect("valid").environment.is_log_escaped()
    };
    assert!(!is_escaping("0"));
    assert!(is_escaping("1"));
}

#[test]
fn a_negative_exit_timeout_counts_as_zero() {
    assert_eq!(
        serve(&["--exit-timeout-secs", "-5"]).server.exit_timeout(),
        Duration::ZERO
    );
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
fn backend_settings_are_global_or_of_one_backend() {
    let args = serve(&["--backend-config=python,a=b=c", "--backend-config", "x=y"]);
    let settings = args
        .server_options(Arc::default())
        .expect("valid")
        .backend_settings;
    assert_eq!(settings["python"]["a"], "b=c");
    assert_eq!(settings[""]["x"], "y");
}

#[test]
fn grpc_options_are_typed() {
    let given = args(&[
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
fn trace_settings_come_together() {
    let trace = args(&[
        "--trace-config=rate=7",
        "--trace-config=level=TIMESTAMPS",
        "--trace-config=level=tensors",
        "--trace-config=triton,file=a,b",
        "--trace-config=OpenTelemetry,resource=k=v",
        "--trace-rate=5",
        "--trace-count=9",
        "--trace-file=old",
    ])
    .trace_options()
    .expect("valid");
    assert_eq!(
        (trace.rate, trace.count, trace.mode),
        (7, 9, TraceMode::Triton)
    );
    assert_eq!(trace.file, "a,b");
    assert_eq!(
        trace.levels,
        TraceLevels {
            timestamps: true,
            tensors: true
        }
    );
    assert_eq!(
        trace.opentelemetry,
        [("resource".to_owned(), "k=v".to_owned())]
    );
    let off = args(&["--trace-level=OFF", "--trace-config=level=TIMESTAMPS"]);
    assert_eq!(
        off.trace_options().expect("valid").levels,
        TraceLevels::default()
    );
    assert_eq!(
        usage_reason(&["--trace-config=rate=a"]),
        "Bad option: \"--trace-config rate\".\nInvalid option value. Got a\n"
    );
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
fn rate_limiter_and_devices_are_typed() {
    let given = args(&[
        "--rate-limit=Execution_Count",
        "--rate-limit-resource=R1:4:-1",
        "--rate-limit-resource=R2:5:0",
        "--cuda-memory-pool-byte-size=0:1",
        "--cuda-memory-pool-byte-size=0:2",
        "--cuda-virtual-address-size=1:3",
        "--host-policy=a,cpu-cores=0-1",
        "--host-policy=a,numa-node=0",
        "--model-load-gpu-limit=0:0.5",
        "--pinned-memory-pool-byte-size=-1",
    ]);
    assert_eq!(given.rate_limiter.rate_limit, RateLimitMode::ExecutionCount);
    let resource = |name: &str, count, device| RateLimiterResource {
        name: name.to_owned(),
        count,
        device,
    };
    let expected = [resource("R1", 4, None), resource("R2", 5, Some(0))];
    assert_eq!(given.rate_limiter.rate_limit_resource, expected);
    assert_eq!(given.device.cuda_memory_pools(), [(0, 2)].into());
    assert_eq!(given.device.cuda_virtual_address_sizes(), [(1, 3)].into());
    assert_eq!(given.device.host_policies()["a"]["cpu-cores"], "0-1");
    assert_eq!(given.device.model_load_gpu_limits(), [(0, 0.5)].into());
    assert_eq!(given.device.pinned_memory_pool_byte_size(), 0);
}

#[test]
fn options_that_do_not_build_a_server_are_refused() {
    assert_eq!(
        options_reason(&["--host-policy=x,y=z"]),
        "setting host policy: Unsupported - Unsupported host policy setting 'y' is specified, \
         supported settings are 'numa-node', 'cpu-cores'"
    );
    assert_eq!(
        options_reason(&["--model-load-gpu-limit=1:2"]),
        "setting model load GPU limit: Invalid argument - expects limit fraction to be in range \
         [0.0, 1.0], got 2.000000"
    );
}

#[test]
fn sagemaker_is_set_up_by_options_and_environment() {
    assert!(args(&[]).sagemaker_options().is_none());
    let line = [
        "--allow-sagemaker=true",
        "--sagemaker-port=9000",
        "--sagemaker-thread-count=3",
        "--http-address=::1",
        "--http-max-input-size=5",
        "--http-restricted-api=inference:key=value",
    ];
    let mut given = serve(&line);
    let options = given.sagemaker_options().expect("it is allowed");
    assert_eq!((&*options.http.address, options.http.port), ("::1", 9000));
    assert_eq!(
        (options.http.thread_count, options.http.max_input_size),
        (3, 5)
    );
    assert!(
        options
            .http
            .restricted_apis
            .key(ApiGroup::Inference)
            .is_some()
    );
    assert_eq!(
        options.default_model,
        "unspecified_SAGEMAKER_TRITON_DEFAULT_MODEL_NAME"
    );
    let environment: BTreeMap<_, _> = [
        ("SAGEMAKER_TRITON_PING_MODE", "live"),
        ("SAGEMAKER_TRITON_DEFAULT_MODEL_NAME", "m"),
        ("SAGEMAKER_TRITON_INFERENCE_TYPE", "generate_stream"),
    ]
    .into();
    given.environment = EnvironmentInputs::read(&environment).expect("modes there are");
    let options = given.sagemaker_options().expect("it is allowed");
    assert_eq!(options.ping, SageMakerPing::Live);
    assert_eq!(options.default_model, "m");
    assert_eq!(options.inference, SageMakerInference::GenerateStream);
    for name in [
        "SAGEMAKER_TRITON_PING_MODE",
        "SAGEMAKER_TRITON_INFERENCE_TYPE",
    ] {
        let reason = EnvironmentInputs::read(&BTreeMap::from([(name, "x")])).expect_err("no mode");
        assert!(
            reason.starts_with(&format!("invalid {name} 'x'")),
            "{reason}"
        );
    }
}

#[test]
fn an_option_without_its_feature_is_no_secret() {
    let args = serve(&["--rate-limit=execution_count", "--trace-config=foo=1"]);
    assert_eq!(
        args.warnings,
        [
            "'--rate-limit' has no effect: this version of tritongw does not have the feature yet",
            "'--trace-config' knows no setting 'foo'",
        ]
    );
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
