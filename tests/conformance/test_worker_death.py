# SPDX-License-Identifier: Apache-2.0
"""Death of a Python model's worker process: noticed at once, told truly, repaired by itself."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest
from process_tree import is_running
from support.gate import Asker, Gate
from support.repository import COMMANDS, MODELS, write_models
from support.servers import Server, ServerStarter
from support.wire import Answer, tensor
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.ours("a dead stub of 2.51 stays dead, and its model stays ready")

AT_ONCE_S = 3.0
RESTART_S = 20.0


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="module")
def own_server(
    starter: ServerStarter, gate: Gate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server whose workers may die without harm to other tests."""
    models = {"commands": COMMANDS, "other": MODELS["echo_fp32"], "gate": gate.model}
    directory = write_models(tmp_path_factory.mktemp("models"), models)
    with starter.prepare("worker_death", directory) as process:
        yield Server(process, starter.is_oracle)


def command(server: Server, name: str) -> Answer:
    return server.http.infer("commands", [tensor("COMMAND", "BYTES", [1], [name])])


def worker_of(server: Server) -> int:
    answer = command(server, "process_id")
    return int(answer.json["outputs"][0]["data"][0])


def other_model_answers(server: Server) -> bool:
    answer = server.http.infer("other", [tensor("INPUT0", "FP32", [1], [1.0])])
    return answer.status == 200


def readiness(server: Server, model: str) -> int:
    return server.http.get(f"/v2/models/{model}/ready").status


def wait_until_repaired(server: Server) -> None:
    wait_until(lambda: readiness(server, "commands") == 200, RESTART_S, "restart of the worker")
    assert command(server, "ok").status == 200


@pytest.mark.parametrize("name", ["die", "exit"])
def test_request_that_kills_its_worker_gets_an_error_at_once(own_server: Server, name: str) -> None:
    wait_until_repaired(own_server)
    begin = time.monotonic()
    answer = command(own_server, name)
    assert time.monotonic() - begin < AT_ONCE_S
    assert answer.status == 500
    assert answer.error
    assert other_model_answers(own_server)
    wait_until_repaired(own_server)


def test_killed_from_outside_while_idle(own_server: Server) -> None:
    wait_until_repaired(own_server)
    before = worker_of(own_server)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: not is_running(before), AT_ONCE_S, "end of the worker")
    wait_until(
        lambda: command(own_server, "ok").status == 200, RESTART_S, "answer after the restart"
    )
    assert worker_of(own_server) != before


def test_ready_tells_the_truth_during_the_restart(own_server: Server) -> None:
    wait_until_repaired(own_server)
    seen: list[int] = []
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.is_set():
            seen.append(readiness(own_server, "commands"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        command(own_server, "die")
        wait_until(lambda: 400 in seen, AT_ONCE_S, "a report of not being ready")
        wait_until(lambda: seen[-1] == 200, RESTART_S, "a report of being ready again")
    finally:
        is_over.set()
        watcher.join()
    assert set(seen) == {200, 400}
    assert command(own_server, "ok").status == 200


def test_other_models_never_notice(own_server: Server) -> None:
    wait_until_repaired(own_server)
    failures: list[int] = []
    is_over = threading.Event()

    def use_other() -> None:
        while not is_over.is_set():
            answer = own_server.http.infer("other", [tensor("INPUT0", "FP32", [1], [1.0])])
            if answer.status != 200 or readiness(own_server, "other") != 200:
                failures.append(answer.status)

    user = threading.Thread(target=use_other)
    user.start()
    try:
        for _ in range(3):
            command(own_server, "die")
            wait_until_repaired(own_server)
    finally:
        is_over.set()
        user.join()
    assert failures == []


def test_request_in_flight_fails_when_its_worker_is_killed(own_server: Server, gate: Gate) -> None:
    """The model waits for a file that does not come; only the kill can end its execution."""
    asked = Asker(own_server)
    os.kill(gate.wait_for_execution(), signal.SIGKILL)
    answer = asked.answer(AT_ONCE_S)
    assert answer.status == 500
    assert answer.error
    gate.open()
    wait_until(lambda: readiness(own_server, "gate") == 200, RESTART_S, "restart of the worker")
    assert Asker(own_server).answer(RESTART_S).status == 200
