# SPDX-License-Identifier: Apache-2.0
"""The command line as scripts see it: streams, statuses, start-up log (triton.md section 1)."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import oracle
import pytest
from server_process import ServerFailedError
from support.repository import echo, write_models

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from server_process import ServerProcess
    from support.servers import ServerStarter


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write_models(tmp_path / "models", {"echo": echo("TYPE_FP32 [ -1 ]")})


def run(
    starter: ServerStarter, *options: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command line that does not serve."""
    command = [sys.executable, "-m", "tritongw", "serve"]
    inherited: dict[str, str] = dict(os.environ)
    if starter.is_oracle:
        installation = oracle.install()
        command = [str(installation.root / "bin" / "tritonserver")]
        inherited = installation.environment()
    return subprocess.run(
        [*command, *options],
        capture_output=True,
        text=True,
        timeout=60,
        env={**inherited, **(environment or {})},
        check=False,
    )


def test_help_lists_every_option_and_exits_with_1(starter: ServerStarter) -> None:
    answer = run(starter, "--help")
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert answer.stderr.startswith("Usage: trit")
    for line in ("\nServer:\n  --id <string>\n", "\nHTTP:\n  --allow-http <boolean>\n"):
        assert line in answer.stderr
    assert "--grpc-restricted-protocol <<string>:<string>=<string>>" in answer.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--http-port=abc"], 'Bad option: "--http-port".\nInvalid option value. Got abc\n'),
        (
            ["--allow-http=maybe"],
            'Bad option: "--allow-http".\ninvalid value for bool option: maybe',
        ),
        (["--log-format", "x"], 'Bad option: "--log-format".\ninvalid argument for --log-format\n'),
        (["left-over"], "Unexpected argument: left-over\n"),
        (
            ["--load-model=a"],
            "Error: Use of '--load-model' requires setting '--model-control-mode=explicit'",
        ),
        (
            ["--http-restricted-api=health:a=b", "--http-restricted-api=health:c=d"],
            'Bad option: "--http-restricted-api".\n'
            "restricted api 'health' can not be specified in multiple config groups\n",
        ),
        (
            ["--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--grpc-port=8000"],
            "The server cannot listen to HTTP requests and GRPC requests at the same address and "
            "port 127.0.0.1:8000\n",
        ),
        (
            ["--response-cache-byte-size=1", "--cache-config=local,size=1"],
            "Error: Incompatible flags --response-cache-byte-size and --cache-config both",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_refusal_follows_the_table(starter: ServerStarter, options: list[str], reason: str) -> None:
    answer = run(starter, "--model-repository=.", *options)
    assert answer.returncode == 1
    assert "Usage: trit" in answer.stderr
    assert reason in answer.stderr[answer.stderr.index("DEPRECATED:") :]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--nonsense"], "unrecognized option '--nonsense'"),
        (["--http-port"], "option '--http-port' requires an argument"),
        (
            ["--disable-auto-complete-config=true"],
            "option '--disable-auto-complete-config' doesn't allow an argument",
        ),
        (["--vertex-ai-=1"], "option '--vertex-ai-=1' is ambiguous; possibilities: '--vertex-ai-"),
    ],
)
def test_what_is_no_option_is_named(
    starter: ServerStarter, options: list[str], reason: str
) -> None:
    answer = run(starter, *options)
    assert answer.returncode == 1
    assert reason in answer.stderr


def test_deprecated_options_are_told(starter: ServerStarter) -> None:
    answer = run(starter, "--strict-model-config=true", "--trace-rate=5")
    assert answer.returncode == 1, "there is no repository"
    for start in ("'--strict-model-config' has been deprecated!", "'--trace-rate' has been deprec"):
        assert f"Warning: {start}" in answer.stderr


def test_a_repository_must_be_given(starter: ServerStarter) -> None:
    answer = run(starter)
    assert answer.returncode == 1
    expected = "error: creating server: Invalid argument - --model-repository must be specified\n"
    assert answer.stderr.endswith(expected)


def test_a_wildcard_stands_alone(starter: ServerStarter, repository: Path) -> None:
    answer = run(
        starter,
        f"--model-repository={repository}",
        "--model-control-mode=explicit",
        "--load-model=*",
        "--load-model=echo",
    )
    assert answer.returncode == 1
    assert "Wildcard model name '*' must be the ONLY startup model" in answer.stderr


def test_options_are_read_in_the_environment_of_vertex_ai(starter: ServerStarter) -> None:
    answer = run(starter, "--model-repository=.", environment={"AIP_HTTP_PORT": "x"})
    assert answer.returncode == 1
    assert answer.stderr.rstrip("\n").endswith("Invalid option value. Got x")


def test_busy_socket_is_named(starter: ServerStarter, repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        process = starter.prepare("busy", repository, [f"--grpc-port={port}"])
        with pytest.raises(ServerFailedError) as failed:
            process.start()
    expected = (
        f"failed to start GRPC service: Unavailable - Socket '127.0.0.1:{port}' already in use"
    )
    assert expected in str(failed.value)
    assert "ended with 1" in str(failed.value)


@pytest.fixture(scope="module")
def started(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    directory = write_models(
        tmp_path_factory.mktemp("start_up"), {"echo": echo("TYPE_FP32 [ -1 ]")}
    )
    options = ["--id", "name", "--exit-timeout-secs=7", "--rate-limit-resource=R:3"]
    process = starter.prepare("start_up", directory, options)
    with process:
        yield process


def test_services_start_in_order(started: ServerProcess) -> None:
    names = ["GRPCInferenceService", "HTTPService", "Metrics Service"]
    found = re.findall(r"Started (.+?) at 127\.0\.0\.1:\d+", started.log())
    assert found == names


def test_tables_follow_the_load(started: ServerProcess) -> None:
    log = started.log()
    headers = [
        r"\| Repository Agent \| Path \|",
        r"\| Backend +\| Path +\| Config +\|",
        r"\| Model +\| Version \| Status +\|",
        r"\| Option +\| Value +\|",
        r"Started GRPCInferenceService",
    ]
    places = [re.search(header, log) for header in headers]
    assert all(places), log
    starts = [place.start() for place in places if place]
    assert starts == sorted(starts)
    assert re.search(
        r"\n\| python +\| .+ \| \{\"cmdline\":\{.*\"auto-complete-config\":\"true\"", log
    )
    assert re.search(r"\n\| echo +\| 1 +\| READY +\|\n", log)


def test_options_are_in_their_table(started: ServerProcess) -> None:
    rows = dict(re.findall(r"\n\| (\w[\w\[\]{}]*) +\| (.*?) *(?=\|\n)", started.log()))
    expected = {
        "server_id": "name",
        "model_control_mode": "MODE_NONE",
        "strict_model_config": "0",
        "rate_limit": "OFF",
        "rate_limit_resource[0]": '{"name":"R", "count":3 "device":-1}',
        "pinned_memory_pool_byte_size": "268435456",
        "strict_readiness": "1",
        "exit_timeout": "7",
        "cache_enabled": "0",
    }
    assert {name: rows.get(name) for name in expected} == expected
    assert rows["model_repository_path[0]"].startswith("/")
    assert rows["server_extensions"].startswith("classification sequence model_repository")
