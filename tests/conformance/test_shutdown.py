# SPDX-License-Identifier: Apache-2.0
"""Graceful exit on SIGTERM and SIGINT (triton.md C012, C013)."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from process_tree import descendants, is_running
from support.gate import Asker, Gate
from support.repository import MODELS, write_models
from support.servers import Server, ServerStarter
from waiting import http_status, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


@pytest.fixture
def own_server(
    starter: ServerStarter, gate: Gate, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Server]:
    models = {"gate": gate.model, "echo_fp32": MODELS["echo_fp32"]}
    directory = write_models(tmp_path / "models", models)
    process = starter.prepare(request.node.name, directory, ["--exit-timeout-secs=20"])
    process.start()
    yield Server(process, starter.is_oracle)
    process.kill()


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_idle_server_exits_cleanly(own_server: Server, number: signal.Signals) -> None:
    family = descendants(own_server.process.pid)
    assert len(family) > 1, "the Python models run in workers"
    assert own_server.process.stop(number) == 0
    assert f"Signal ({number.value}) received." in own_server.process.log()
    wait_until(lambda: not any(is_running(each) for each in family), 5, "end of the workers")


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_request_in_flight_is_answered(
    own_server: Server, gate: Gate, number: signal.Signals
) -> None:
    process = own_server.process
    asked = Asker(own_server)
    gate.wait_for_execution()
    process.signal(number)
    wait_until(lambda: "received." in process.log(), 5, "the log of the signal")
    assert process.is_running()
    assert not asked.has_answer()
    gate.open()
    answer = asked.answer(10)
    assert answer.status == 200
    assert answer.json["outputs"][0]["data"] == [1.0]
    assert process.wait(20) == 0


def test_no_new_connections_while_draining(own_server: Server, gate: Gate) -> None:
    process = own_server.process
    asked = Asker(own_server)
    gate.wait_for_execution()
    process.signal(signal.SIGTERM)
    address = process.endpoints.http
    wait_until(lambda: http_status(address, "/v2/health/ready") != 200, 5, "end of new requests")
    gate.open()
    assert asked.answer(10).status == 200
    assert process.wait(20) == 0


@pytest.mark.ours("2.51 waits for the execution even longer than its own limit")
def test_exit_timeout_ends_a_request_that_does_not_end(
    starter: ServerStarter, gate: Gate, tmp_path: Path
) -> None:
    directory = write_models(tmp_path / "models", {"gate": gate.model})
    process = starter.prepare("exit_timeout", directory, ["--exit-timeout-secs=1"])
    process.start()
    try:
        Asker(Server(process, starter.is_oracle))
        gate.wait_for_execution()
        process.signal(signal.SIGTERM)
        process.wait(15)
    finally:
        process.kill()
