# SPDX-License-Identifier: Apache-2.0
"""Load clients: each sends one request over and over and says how fast the answers came.

wrk and h2load cost a few microseconds of CPU a request and show the server; perf_analyzer costs
about 45 and is what Triton's users run.
"""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import payloads
import tools

if TYPE_CHECKING:
    from pathlib import Path

    from payloads import Tensor
    from server_process import Endpoints

_WRK_SCRIPT = """
wrk.method = "POST"
wrk.body = io.open("{body}", "rb"):read("*a")
{headers}
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('{{"requests":%d,"us":%d,"p50":%d,"p99":%d,"errors":%d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What a client sends, and how much of it."""

    model: str
    tensors: list[Tensor]
    concurrency: int
    duration_s: int
    is_decoupled: bool = False


@dataclass(frozen=True)
class Rate:
    """What a client saw; how many requests it sent only where it tells."""

    requests_per_s: float
    p50_us: float
    p99_us: float
    requests: int | None = None


class ClientError(RuntimeError):
    """A load client failed or saw failed requests."""


class Client(Protocol):
    """A load client."""

    def run(self, endpoints: Endpoints, load: Load, directory: Path) -> Rate:
        """Drive the server; `directory` takes files that the client needs."""


@dataclass(frozen=True)
class Wrk:
    """wrk: HTTP with binary tensors, or `generate_stream` for a model that answers many times."""

    is_stream: bool = False

    def run(self, endpoints: Endpoints, load: Load, directory: Path) -> Rate:
        """Drive the server."""
        body, script = directory / "body.bin", directory / "wrk.lua"
        if self.is_stream:
            verb, headers = "generate_stream", ""
            body.write_bytes(payloads.generate_body(load.tensors))
        else:
            verb, head_length = "infer", len(payloads.http_head(load.tensors))
            headers = f'wrk.headers["Inference-Header-Content-Length"] = "{head_length}"'
            body.write_bytes(payloads.http_body(load.tensors))
        script.write_text(_WRK_SCRIPT.format(body=body, headers=headers))
        url = f"http://{endpoints.http}/v2/models/{load.model}/{verb}"
        threads, connections = f"-t{min(2, load.concurrency)}", f"-c{load.concurrency}"
        command = ["wrk", threads, connections, f"-d{load.duration_s}s", "-s", str(script), url]
        seen = json.loads(_output(command).splitlines()[-1])
        if seen["errors"]:
            message = f"wrk saw {seen['errors']} errors on {load.model}"
            raise ClientError(message)
        requests = seen["requests"]
        return Rate(requests / seen["us"] * 1e6, seen["p50"], seen["p99"], requests)


@dataclass(frozen=True)
class H2load:
    """h2load: gRPC as a ready frame, one stream on each of as many connections."""

    method: str = "ModelInfer"

    def run(self, endpoints: Endpoints, load: Load, directory: Path) -> Rate:
        """Drive the server."""
        frame, log = directory / "frame.bin", directory / "h2load.log"
        frame.write_bytes(payloads.grpc_frame(load.model, load.tensors))
        log.unlink(missing_ok=True)
        url = f"http://{endpoints.grpc}/inference.GRPCInferenceService/{self.method}"
        command = [
            *("h2load", f"-t{min(2, load.concurrency)}", f"-c{load.concurrency}", "-m1"),
            f"-D{load.duration_s}",
            *("-H", "content-type: application/grpc", "-H", "te: trailers"),
            *("-d", str(frame), f"--log-file={log}", url),
        ]
        _output(command)
        # Each line: begin in microseconds since the epoch, status, duration in microseconds.
        rows = [line.split("\t") for line in log.read_text().splitlines()]
        if not rows or any(status != "200" for _, status, _ in rows):
            message = f"h2load saw failed requests on {load.model}"
            raise ClientError(message)
        durations = sorted(int(duration) for _, _, duration in rows)
        percentiles = statistics.quantiles(durations, n=100)
        rate = len(rows) / load.duration_s
        return Rate(rate, percentiles[49], percentiles[98], len(rows))


@dataclass(frozen=True)
class PerfAnalyzer:
    """NVIDIA's perf_analyzer over one of the two protocols."""

    protocol: str

    def run(self, endpoints: Endpoints, load: Load, directory: Path) -> Rate:
        """Drive the server."""
        tool, report = tools.perf_analyzer(), directory / "perf_analyzer.csv"
        address = endpoints.http if self.protocol == "http" else endpoints.grpc
        # Three windows of the given length at most, accepted however much they differ.
        command = [
            *(str(tool.binary), "-m", load.model, "-i", self.protocol, "-u", address),
            *("--concurrency-range", str(load.concurrency), "-f", str(report)),
            *("--measurement-interval", str(load.duration_s * 1000 // 3)),
            *("--stability-percentage", "999", "--max-trials", "3"),
        ]
        _output(command, tool.environment)
        with report.open() as text:
            row = next(csv.DictReader(text))
        return Rate(
            float(row["Inferences/Second"]), float(row["p50 latency"]), float(row["p99 latency"])
        )


CLIENTS: dict[str, Client] = {
    "wrk": Wrk(),
    "wrk-stream": Wrk(is_stream=True),
    "h2load": H2load(),
    "h2load-stream": H2load("ModelStreamInfer"),
    "perf_analyzer-http": PerfAnalyzer("http"),
    "perf_analyzer-grpc": PerfAnalyzer("grpc"),
}


def _output(command: list[str], environment: dict[str, str] | None = None) -> str:
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        message = f"{' '.join(command)}: exit status {result.returncode}\n{result.stdout[-2000:]}"
        raise ClientError(message + result.stderr[-2000:])
    return result.stdout
