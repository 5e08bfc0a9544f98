# SPDX-License-Identifier: Apache-2.0
"""``async def execute``: many batches of one instance at once, each answered for itself."""

from __future__ import annotations

import re
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from python_api_support import HOSTS, MODELS, RunningServer, Server, write_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNPACKED = "Failed to process the request(s) for model '{model}_0', message: "


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(100) as pool:
        yield pool


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that a test may stop, with the models of coroutines."""
    for source in MODELS.glob("*coroutines.py"):
        for host in HOSTS:
            write_model(tmp_path / "models", source, host, data_type="TYPE_STRING")
    options = ["--model-control-mode=explicit", "--load-model=*", "--exit-timeout-secs=1"]
    with RunningServer(
        tmp_path / "log", f"--model-repository={tmp_path / 'models'}", *options
    ) as server:
        yield server


def test_requests_whose_coroutines_need_each_other(
    server: Server, host: str, pool: ThreadPoolExecutor
) -> None:
    model = f"coroutines_{host}"
    answers = list(pool.map(lambda _: server.command(model, "meet pair 2"), range(2)))
    assert len({answer.data()[0] for answer in answers}) == 1


def test_a_hundred_are_in_flight_at_once(
    server: Server, host: str, pool: ThreadPoolExecutor
) -> None:
    model = f"coroutines_{host}"
    answers = list(pool.map(lambda _: server.command(model, "meet all 100"), range(100)))
    assert len({answer.data()[0] for answer in answers}) == 1


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("fail", "ValueError: boom"),
        ("cancel_itself", "CancelledError: "),
        ("exit", "SystemExit: 3"),
    ],
)
def test_what_one_coroutine_raises_is_its_own_affair(
    server: Server, host: str, pool: ThreadPoolExecutor, command: str, text: str
) -> None:
    model = f"coroutines_{host}"
    other = pool.submit(server.command, model, f"wait {command}")
    failed = server.command(model, command)
    assert server.command(model, f"set {command}").status == 200
    assert other.result().data() == [command]
    start = re.escape(UNPACKED.format(model=model) + text)
    names = (command, "answer", "execute")
    frames = "".join(rf"  \S+/model\.py\(\d+\): {name}\n" for name in names)
    inside_asyncio = r"(?:  \S+/asyncio/\S+ \S+\n)*"
    assert failed.status == 500
    assert re.fullmatch(rf"{start}\n\nAt:\n{inside_asyncio}{frames}", failed.error)


def test_a_task_that_exits_does_not_end_the_loop(server: Server, host: str) -> None:
    assert server.command(f"coroutines_{host}", "task_exits").data() == ["still here"]
    assert server.command(f"coroutines_{host}", "ok").data() == ["ok"]


def test_decoupled_coroutines_take_turns(
    server: Server, host: str, pool: ThreadPoolExecutor
) -> None:
    model = f"decoupled_coroutines_{host}"
    streams = list(pool.map(lambda _: server.stream(model, "take_turns"), range(2)))
    assert streams == [["a", "b", "c"]] * 2


def test_decoupled_coroutine_that_fails_answers_with_its_error(server: Server, host: str) -> None:
    model = f"decoupled_coroutines_{host}"
    first, last = server.stream(model, "fail_after_one")
    assert first == "a"
    assert last.startswith(f"error: {UNPACKED.format(model=model)}ValueError: boom\n")


def test_death_of_the_worker_answers_all_it_held(server: Server, pool: ThreadPoolExecutor) -> None:
    model = "coroutines_worker"
    held = [pool.submit(server.command, model, f"wait_aloud death-{i}") for i in range(5)]
    for i in range(5):
        server.wait_for_log(rf'waiting {model}_0 death-{i}"?\n')
    died = server.command(model, "die")
    for answer in [died, *(held.result() for held in held)]:
        assert (answer.status, answer.error) == (
            500,
            f"Stub process '{model}_0' is not healthy.",
        )


def test_unload_waits_for_what_is_not_answered(
    own_server: RunningServer, host: str, pool: ThreadPoolExecutor
) -> None:
    model = f"coroutines_{host}"
    held = pool.submit(own_server.command, model, "wait_aloud unload")
    own_server.wait_for_log(rf'waiting {model}_0 unload"?\n')
    assert own_server.post(f"/v2/repository/models/{model}/unload").status == 200
    assert not held.done()
    assert f"finalized {model}_0" not in own_server.log
    own_server.process.send_signal(signal.SIGTERM)
    own_server.wait_for_log(rf"finalized {model}_0|killing the worker of '{model}_0'")


def test_unload_cancels_what_has_answered_and_lives_on(
    own_server: RunningServer, host: str
) -> None:
    model = f"decoupled_coroutines_{host}"
    assert own_server.stream(model, "live_on") == ["a"]
    assert own_server.post(f"/v2/repository/models/{model}/unload").status == 200
    own_server.wait_for_log(rf'cancelled {model}_0"?\n')
    own_server.wait_for_log(rf'finalized {model}_0"?\n')


def test_a_coroutine_that_never_ends_does_not_keep_the_server(
    own_server: RunningServer, pool: ThreadPoolExecutor
) -> None:
    held = [
        pool.submit(own_server.command, f"coroutines_{host}", "wait_aloud never") for host in HOSTS
    ]
    for host in HOSTS:
        own_server.wait_for_log(rf'waiting coroutines_{host}_0 never"?\n')
    own_server.stop()
    assert own_server.process.returncode == 0
    for answer in held:
        # An error, or the end of the connection; never nothing.
        error = answer.exception()
        assert error is not None or answer.result().status >= 400
