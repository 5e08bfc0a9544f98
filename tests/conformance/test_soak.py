# SPDX-License-Identifier: Apache-2.0
"""Models change without end while requests come: nothing fails, nothing grows."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import process_tree
import pytest
from support.repository import CODE, PythonModel, write_models
from support.servers import Server, ServerStarter
from support.wire import HttpDoor, tensor
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICK_S = 6.0
LONG_S = float(os.environ.get("TRITONGW_SOAK_SECONDS", "300"))
WAIT_S = 60
# What the memory of a server may grow by between the middle of the soak and its end.
MEMORY_MARGIN = 24 << 20
# Connections of the moment; a worker has eight.
DESCRIPTOR_MARGIN = 4
ECHO = PythonModel("echo", {"INPUT0": "TYPE_FP32 [ -1 ]"}, {"OUTPUT0": "TYPE_FP32 [ -1 ]"})
ECHO_CODE = (CODE / "echo.py").read_text()

pytestmark = pytest.mark.ours("about our own resources")


@dataclass
class Traffic:
    """Requests from several threads, and what was wrong with their answers."""

    door: HttpDoor
    is_over: threading.Event = field(default_factory=threading.Event)
    problems: list[str] = field(default_factory=list)
    answered: dict[str, int] = field(default_factory=dict)

    @contextlib.contextmanager
    def running(self, models: dict[str, set[int]]) -> Iterator[None]:
        """Send requests to each of `models`, which may answer with these statuses."""
        threads = [
            threading.Thread(target=self._send, args=(model, statuses), daemon=True)
            for model, statuses in models.items()
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.is_over.set()
            for thread in threads:
                thread.join(WAIT_S)

    def _send(self, model: str, statuses: set[int]) -> None:
        number = 0.0
        while not self.is_over.is_set():
            number += 1.0
            answer = self.door.infer(model, [tensor("INPUT0", "FP32", [1], [number])])
            if answer.status not in statuses:
                self.problems.append(f"{model}: {answer.status} {answer.text}")
            elif answer.status == 200 and answer.json["outputs"][0]["data"] != [number]:
                self.problems.append(f"{model}: {answer.text}")
            self.answered[model] = self.answered.get(model, 0) + 1


@dataclass(frozen=True)
class Usage:
    """What the server's own process holds; its children come and go."""

    memory: int
    descriptors: int

    @classmethod
    def of(cls, server: Server) -> Usage:
        """Read it."""
        pid = server.process.pid
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return cls(pages * os.sysconf("SC_PAGE_SIZE"), descriptors)


def write_config(directory: Path, model: str, extra: str) -> None:
    fresh = directory.parent / "fresh"
    fresh.write_text(ECHO.config() + extra)
    fresh.replace(directory / model / "config.pbtxt")


def write_code(directory: Path, model: str, text: str) -> None:
    fresh = directory.parent / "fresh"
    fresh.write_text(text)
    fresh.replace(directory / model / "1" / "model.py")


def soak(server: Server, seconds: float, workers: int, turn: Callable[[int], None]) -> None:
    """Take turns for so long, and hold what the server uses at the end against the middle.

    Each turn ends with so many `workers`.
    """
    start = time.monotonic()
    count = 0
    middle: Usage | None = None
    while time.monotonic() < start + seconds or count < 2:
        turn(count)
        count += 1
        if middle is None and time.monotonic() > start + seconds / 2:
            middle = settled_usage(server, workers)
    end = settled_usage(server, workers)
    assert middle is not None
    assert end.memory < middle.memory + MEMORY_MARGIN, (middle, end, count)
    assert end.descriptors <= middle.descriptors + DESCRIPTOR_MARGIN, (middle, end, count)


def settled_usage(server: Server, workers: int) -> Usage:
    """Return the usage once nothing is being loaded or unloaded."""

    def is_settled() -> bool:
        index = server.http.post("/v2/repository/index", b"").json
        states = {entry.get("state") for entry in index}
        running = len(process_tree.descendants(server.process.pid)) - 1
        return states <= {"READY", "UNAVAILABLE"} and running == workers

    wait_until(is_settled, WAIT_S, "the end of all changes")
    return Usage.of(server)


def control(server: Server, model: str, action: str, status: int = 200) -> None:
    answer = server.http.post(f"/v2/repository/models/{model}/{action}", b"")
    assert answer.status == status, answer.text


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(QUICK_S, id="quick"),
        pytest.param(
            LONG_S, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(LONG_S + 120)]
        ),
    ],
)
def test_explicit_control_under_traffic(
    starter: ServerStarter, tmp_path: Path, seconds: float
) -> None:
    directory = write_models(tmp_path / "models", {"reloaded": ECHO, "unloaded": ECHO})
    options = ["--model-control-mode=explicit", "--load-model=*"]
    with starter.prepare(f"soak_{seconds}", directory, options) as process:
        server = Server(process, starter.is_oracle)
        traffic = Traffic(server.http)

        def turn(count: int) -> None:
            write_config(directory, "reloaded", "instance_group { count: 2 }\n")
            control(server, "reloaded", "load")
            write_code(directory, "reloaded", "def (\n")
            control(server, "reloaded", "load", 400)
            write_code(directory, "reloaded", f"{ECHO_CODE}\n# {count}\n")
            control(server, "reloaded", "load")
            write_config(directory, "reloaded", "instance_group { count: 1 }\n")
            control(server, "reloaded", "load")
            control(server, "unloaded", "unload")
            control(server, "unloaded", "load")

        with traffic.running({"reloaded": {200}, "unloaded": {200, 404}}):
            soak(server, seconds, 2, turn)
        assert traffic.problems == []
        assert min(traffic.answered.values()) > 0


@pytest.mark.slow
@pytest.mark.timeout(LONG_S + 120)
def test_polling_under_traffic(starter: ServerStarter, tmp_path: Path) -> None:
    directory = write_models(tmp_path / "models", {"reloaded": ECHO})
    options = ["--model-control-mode=poll", "--repository-poll-secs=1"]
    with starter.prepare("soak_poll", directory, options) as process:
        server = Server(process, starter.is_oracle)
        traffic = Traffic(server.http)

        def turn(count: int) -> None:
            write_code(directory, "reloaded", f"{ECHO_CODE}\n# {count}\n")
            name = f"comes_{count}"
            ECHO.write(tmp_path / name)
            (tmp_path / name).rename(directory / name)
            ready = f"/v2/models/{name}/ready"
            wait_until(lambda: server.http.get(ready).status == 200, WAIT_S, "the new model")
            (directory / name).rename(tmp_path / f"gone_{count}")
            wait_until(lambda: server.http.get(ready).status != 200, WAIT_S, "its end")

        with traffic.running({"reloaded": {200}}):
            soak(server, LONG_S, 1, turn)
        assert traffic.problems == []
