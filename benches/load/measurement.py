# SPDX-License-Identifier: Apache-2.0
"""One run of one client against one server, with what it cost the server."""

from __future__ import annotations

import http.client
import json
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import payloads
from clients import CLIENTS, ClientError, Load
from process_tree import PeakMemory, cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from floor import Floor
    from server_process import ServerProcess

FIGURES = ("requests_per_s", "p50_us", "p99_us", "cpu_us", "peak_mib")


@dataclass(frozen=True)
class Measurement:
    """What one run showed.

    Parameters
    ----------
    requests_per_s, p50_us, p99_us : float
        As the client saw them.
    cpu_us : float
        Microseconds of user and system time per request, over the server and its workers; the
        same number is the CPU seconds per million requests, a thousandth of it per thousand.
    peak_mib : float
        Largest resident memory of the server and its workers during the run.
    """

    requests_per_s: float
    p50_us: float
    p99_us: float
    cpu_us: float
    peak_mib: float


def measure(server: ServerProcess, client: str, load: Load, directory: Path) -> Measurement:
    """Drive `server` once and return what was seen.

    Raises
    ------
    ClientError
        If requests failed, as the client or, beyond those it left behind at the end, the server's
        own statistics tell.
    """
    done_before, failed_before = _counts(server, load.model)
    cpu_before = cpu_seconds(server.pid)
    with PeakMemory(server.pid) as memory:
        rate = CLIENTS[client].run(server.endpoints, load, directory)
    cpu = cpu_seconds(server.pid) - cpu_before
    done, failed = _counts(server, load.model)
    # When its time is over a client leaves what is under way, which the server then takes back.
    if failed > failed_before + load.concurrency or done == done_before:
        message = f"{client} on {load.model}: {failed - failed_before} requests failed"
        raise ClientError(message)
    # Where a request has many responses, each of them counts in the statistics.
    requests = (load.is_decoupled and rate.requests) or done - done_before
    cpu_us = cpu / requests * 1e6
    peak_mib = memory.bytes / 2**20
    return Measurement(rate.requests_per_s, rate.p50_us, rate.p99_us, cpu_us, peak_mib)


def measure_floor(floor: Floor, load: Load, directory: Path) -> Measurement:
    """Drive the echo server once; it keeps no statistics, so the client's word counts.

    Raises
    ------
    ClientError
        If requests failed.
    """
    cpu_before = cpu_seconds(floor.pid)
    with PeakMemory(floor.pid) as memory:
        rate = CLIENTS["wrk"].run(floor.endpoints, load, directory)
    cpu_us = (cpu_seconds(floor.pid) - cpu_before) / (rate.requests or 1) * 1e6
    peak_mib = memory.bytes / 2**20
    return Measurement(rate.requests_per_s, rate.p50_us, rate.p99_us, cpu_us, peak_mib)


def median(runs: Sequence[Measurement]) -> Measurement:
    """Return the median of each figure."""
    return Measurement(
        *(statistics.median(getattr(run, figure) for run in runs) for figure in FIGURES)
    )


def check_answers(server: ServerProcess, load: Load) -> None:
    """Send one request and make sure that real tensors come back.

    Raises
    ------
    ClientError
        If the answer is an error or carries no data: a stub with a numpy it cannot use does that.
    """
    if load.is_decoupled:
        _check_stream(server, load)
        return
    head = payloads.http_head(load.tensors)
    headers = {"Inference-Header-Content-Length": str(len(head))}
    response, body = _post(server, load, "infer", payloads.http_body(load.tensors), headers)
    length = response.getheader("Inference-Header-Content-Length")
    if response.status != http.client.OK or length is None or len(body) <= int(length):
        message = f"{load.model} answers {response.status} {body[:300]!r}"
        raise ClientError(message)


def _check_stream(server: ServerProcess, load: Load) -> None:
    """Make sure that a request brings as many responses as it asks for."""
    response, body = _post(
        server, load, "generate_stream", payloads.generate_body(load.tensors), {}
    )
    events = body.count(b"data:")
    if response.status != http.client.OK or events != load.tensors[0].fill:
        message = f"{load.model} answers {response.status} with {events} events, {body[:300]!r}"
        raise ClientError(message)


def _post(
    server: ServerProcess, load: Load, verb: str, body: bytes, headers: dict[str, str]
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(server.endpoints.http, timeout=30)
    connection.request("POST", f"/v2/models/{load.model}/{verb}", body, headers)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    return response, answer


def _counts(server: ServerProcess, model: str) -> tuple[int, int]:
    """Return how many requests succeeded and failed, by the server's own statistics."""
    connection = http.client.HTTPConnection(server.endpoints.http, timeout=30)
    connection.request("GET", f"/v2/models/{model}/stats")
    stats = json.loads(connection.getresponse().read())["model_stats"][0]["inference_stats"]
    connection.close()
    return stats["success"]["count"], stats["fail"]["count"]
