# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's perf_analyzer 2.48 runs against the server without an error."""

from __future__ import annotations

import csv
import subprocess
from typing import TYPE_CHECKING

import pytest
import tools

if TYPE_CHECKING:
    from pathlib import Path

    from support.servers import Server

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
    report = tmp_path / "report.csv"
    address = server.http.address if protocol == "http" else server.grpc_address
    command = [
        *(str(perf_analyzer.binary), "-m", model, "-i", protocol, "-u", address),
        *("--concurrency-range", str(concurrency), "-f", str(report)),
        *("--measurement-interval", "500", "--stability-percentage", "999", "--max-trials", "3"),
    ]
    failed_before = failures(server, model)
    result = subprocess.run(
        command, env=perf_analyzer.environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "rror" not in result.stderr, result.stderr
    with report.open() as text:
        row = next(csv.DictReader(text))
    assert float(row["Inferences/Second"]) > 0
    assert failures(server, model) == failed_before


def failures(server: Server, model: str) -> int:
    """Return how many requests failed, by the server's statistics."""
    stats = server.http.get(f"/v2/models/{model}/stats").json["model_stats"][0]
    return int(stats["inference_stats"]["fail"]["count"])
