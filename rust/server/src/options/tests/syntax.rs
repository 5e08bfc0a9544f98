// SPDX-License-Identifier: Apache-2.0
//! How a line is read: spellings, types, refusals.

use std::path::PathBuf;
use std::sync::Arc;

use super::{serve, usage_reason};

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
