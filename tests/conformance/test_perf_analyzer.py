# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's perf_analyzer 2.48 runs against the server without an error."""

from __future__ import annotations

import csv
import subprocess
from typing import TYPE_CHECKING

import pytest
import tools
from support import repository
from support.sequences import sequence_model
from support.servers import Server
from support.traces import WAIT_S, TracedServer
from waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.servers import ServerStarter

ONNX = pytest.mark.ours("the wheel of Triton 2.51 has no ONNX Runtime backend")
MODELS = ["add_sub", pytest.param("simple", marks=ONNX), pytest.param("mlp", marks=ONNX)]


@pytest.fixture(scope="module")
def perf_analyzer() -> tools.PerfAnalyzer:
    tool = tools.perf_analyzer()
    if not tool.is_installed:
        pytest.skip("perf_analyzer is not installed: run python benches/load/tools.py")
    return tool


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("concurrency", [1, 8, 64])
def test_perf_analyzer(
    server: Server,
    perf_analyzer: tools.PerfAnalyzer,
    tmp_path: Path,
    model: str,
    protocol: str,
    concurrency: int,
) -> None:
    analyze(
        server, perf_analyzer, tmp_path, model, protocol, ["--concurrency-range", str(concurrency)]
    )


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_perf_analyzer_with_shared_memory(
    starter: ServerStarter, perf_analyzer: tools.PerfAnalyzer, tmp_path: Path, protocol: str
) -> None:
    models = tmp_path / "models"
    repository.copy_examples(models, ["add_sub"])
    options = [] if starter.is_oracle else ["--allow-client-shm=true"]
    with starter.prepare(f"perf_shared_memory_{protocol}", models, options) as process:
        server = Server(process, starter.is_oracle)
        shared = ["--shared-memory", "system", "--output-shared-memory-size", "16"]
        concurrency = ["--concurrency-range", "4"]
        analyze(server, perf_analyzer, tmp_path, "add_sub", protocol, shared + concurrency)
        assert server.http.get("/v2/systemsharedmemory/status").json == [], "all given back"


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("distribution", ["constant", "poisson"])
def test_perf_analyzer_at_a_request_rate(
    server: Server,
    perf_analyzer: tools.PerfAnalyzer,
    tmp_path: Path,
    protocol: str,
    distribution: str,
) -> None:
    options = ["--request-rate-range", "50", "--request-distribution", distribution, "--async"]
    row = analyze(server, perf_analyzer, tmp_path, "add_sub", protocol, options)
    assert float(row["Request Rate"]) == 50


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "level"), [("http", "TIMESTAMPS"), ("grpc", "TENSORS")])
def test_perf_analyzer_traces(
    starter: ServerStarter,
    perf_analyzer: tools.PerfAnalyzer,
    tmp_path: Path,
    protocol: str,
    level: str,
) -> None:
    models = tmp_path / "models"
    repository.copy_examples(models, ["add_sub"])
    path = tmp_path / "trace.json"
    options = [f"--trace-config=triton,file={path}"]
    with starter.prepare(f"perf_trace_{protocol}", models, options) as process:
        traced = TracedServer(Server(process, starter.is_oracle), path)
        asked = ["--trace-level", level, "--trace-rate", "2", "--trace-count", "10"]
        asked += ["--log-frequency", "5"]
        asked += ["--concurrency-range", "2"]
        analyze(traced.server, perf_analyzer, tmp_path, "add_sub", protocol, asked)
        wait_until(lambda: traced.numbered() == [0, 1], WAIT_S, "two files of five traces")
        traces = [*traced.traces_in(0), *traced.traces_in(1)]
        assert len(traces) == 10
        for trace in traces:
            assert trace.head["model_name"] == "add_sub"
            if level == "TENSORS":
                assert len(trace.tensors) == 4
            else:
                assert {"REQUEST_START", "COMPUTE_START", "REQUEST_END"} <= trace.times.keys()


def analyze(
    server: Server,
    tool: tools.PerfAnalyzer,
    directory: Path,
    model: str,
    protocol: str,
    options: list[str],
) -> dict[str, str]:
    """Run perf_analyzer for a moment and return its report; no request may fail."""
    report = directory / "report.csv"
    address = server.http.address if protocol == "http" else server.grpc_address
    command = [
        *(str(tool.binary), "-m", model, "-i", protocol, "-u", address, "-f", str(report)),
        *("--measurement-interval", "500", "--stability-percentage", "999", "--max-trials", "3"),
        *options,
    ]
    failed_before = failures(server, model)
    result = subprocess.run(
        command, env=tool.environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "rror" not in result.stderr, result.stderr
    with report.open() as text:
        row = next(csv.DictReader(text))
    assert float(row["Inferences/Second"]) > 0
    assert failures(server, model) == failed_before
    return row


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [1, 8])
def test_perf_analyzer_on_a_stream(
    server: Server, perf_analyzer: tools.PerfAnalyzer, tmp_path: Path, concurrency: int
) -> None:
    report = tmp_path / "report.csv"
    data = tmp_path / "input.json"
    data.write_text('{"data": [{"IN": {"content": [1, 2, 3], "shape": [3]}}]}')
    command = [
        *(str(perf_analyzer.binary), "-m", "responder", "-i", "grpc", "-u", server.grpc_address),
        *("--streaming", "--async", "--input-data", str(data), "-f", str(report)),
        *("--concurrency-range", str(concurrency), "--measurement-interval", "500"),
        *("--stability-percentage", "999", "--max-trials", "3"),
    ]
    result = subprocess.run(
        command, env=perf_analyzer.environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "rror" not in result.stderr, result.stderr
    with report.open() as text:
        row = next(csv.DictReader(text))
    assert float(row["Inferences/Second"]) > 0
    assert failures(server, "responder") == 0


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["direct { }", "oldest { max_candidate_sequences: 8 }"])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_perf_analyzer_with_sequences(
    starter: ServerStarter,
    perf_analyzer: tools.PerfAnalyzer,
    tmp_path: Path,
    protocol: str,
    strategy: str,
) -> None:
    # More sequences at a time than slots.
    models = {"sequences": sequence_model(strategy, batch=4)}
    directory = repository.write_models(tmp_path / "models", models)
    with starter.prepare(f"perf_sequences_{protocol}", directory) as process:
        server = Server(process, starter.is_oracle)
        options = ["--sequence-length", "4", "--sequence-length-variation", "50"]
        options += ["--sequence-id-range", "100:200", "--concurrency-range", "8"]
        options += ["--measurement-interval", "1000"]
        if protocol == "http":
            options.append("--async")
        analyze(server, perf_analyzer, tmp_path, "sequences", protocol, options)


def failures(server: Server, model: str) -> int:
    """Return how many requests failed, by the server's statistics."""
    stats = server.http.get(f"/v2/models/{model}/stats").json["model_stats"][0]
    return int(stats["inference_stats"]["fail"]["count"])
