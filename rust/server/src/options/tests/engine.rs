// SPDX-License-Identifier: Apache-2.0
//! What the engine is built from, and what is logged and traced.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use tritongw_engine::ModelControlMode;

use super::{args, options_reason, parse_in, serve, usage_reason};
use crate::options::parse;
use crate::options::rate_limiter::{RateLimitMode, RateLimiterResource};
use crate::options::trace::{TraceLevels, TraceMode};

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
fn a_negative_exit_timeout_counts_as_zero() {
    assert_eq!(
        serve(&["--exit-timeout-secs", "-5"]).server.exit_timeout(),
        Duration::ZERO
    );
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
