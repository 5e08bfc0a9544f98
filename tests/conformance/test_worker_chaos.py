# SPDX-License-Identifier: Apache-2.0
"""Whatever a Python model does to itself: the server serves on, every request is answered once."""

from __future__ import annotations

import concurrent.futures
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from process_tree import descendants, is_running, resident_bytes
from support.misbehave import Misbehaving, misbehave
from support.repository import MODELS, write_models
from support.servers import Server, ServerStarter
from support.wire import tensor
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.ours("a dead stub of 2.51 stays dead, and its model stays ready")

WAIT_S = 30.0
CALLBACKS = ("auto_complete_config", "initialize", "finalize", "__del__")
HARMS = ("raise", "exit", "kill", "segfault")

# A back-off that a test can wait for, and a short wait for workers that do not start or leave.
SETTINGS = (
    "--backend-config=python,restart-delay-limit-seconds=0.05",
    "--backend-config=python,stub-timeout-seconds=10",
)


def callback_model(callback: str, harm: str) -> str:
    return f"{callback.strip('_')}_{harm}"


@pytest.fixture(scope="module")
def own_server(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server whose workers may come to any harm."""
    models = {
        "misbehave": misbehave(),
        "restless": misbehave(),
        "crowded": misbehave("instance_group { count: 2 }"),
        "impatient": misbehave(TRITONGW_PYTHON_EXECUTION_TIMEOUT_SECONDS="0.5"),
        "other": MODELS["echo_fp32"],
    }
    for callback in CALLBACKS:
        for harm in HARMS:
            models[callback_model(callback, harm)] = misbehave(**{callback: harm})
    directory = write_models(tmp_path_factory.mktemp("models"), models)
    options = [
        *SETTINGS,
        "--model-control-mode=explicit",
        *(f"--load-model={name}" for name in list(models)[:5]),
    ]
    with starter.prepare("worker_chaos", directory, options) as process:
        yield Server(process, starter.is_oracle)


@pytest.fixture
def model(own_server: Server) -> Iterator[Misbehaving]:
    """The model that most tests harm; they see it repaired in the end."""
    model = Misbehaving(own_server, "misbehave")
    model.wait_until_repaired()
    yield model
    assert_serves_on(own_server)
    model.wait_until_repaired()


def assert_serves_on(server: Server) -> None:
    assert server.process.is_running()
    answer = server.http.infer("other", [tensor("INPUT0", "FP32", [1], [1.0])])
    assert answer.status == 200
    assert server.http.get("/v2/health/live").status == 200


@pytest.mark.parametrize("harm", HARMS)
def test_every_request_is_answered_once_whatever_its_neighbours_do(
    model: Misbehaving, harm: str
) -> None:
    commands = [f"harm {harm}" if index == 5 else f"ok {index}" for index in range(20)]
    with concurrent.futures.ThreadPoolExecutor(len(commands)) as pool:
        answers = list(pool.map(model.ask, commands))
    assert answers[5].status == 500
    for index, answer in enumerate(answers):
        if answer.status == 200:
            assert answer.json["outputs"][0]["data"] == [str(index)]
        else:
            assert answer.status == 500
            assert answer.error


def test_exception_leaves_the_worker_as_it_was(model: Misbehaving) -> None:
    before = model.text("process_id")
    assert "ValueError: told to raise" in model.ask("harm raise").error
    assert model.text("process_id") == before


@pytest.mark.parametrize("harm", ["exit", "kill", "segfault"])
def test_death_is_told_by_its_name(model: Misbehaving, harm: str) -> None:
    assert model.ask(f"harm {harm}").error == "Stub process 'misbehave_0' is not healthy."


def test_endless_loop_is_ended_by_its_limit(own_server: Server) -> None:
    impatient = Misbehaving(own_server, "impatient")
    before = impatient.text("process_id")
    answer = impatient.ask("harm loop")
    assert answer.status == 500
    assert answer.error == (
        "Execution on 'impatient_0' took longer than its limit of 500ms; its process is killed."
    )
    impatient.wait_until_repaired()
    assert impatient.text("process_id") != before
    assert_serves_on(own_server)


def test_requests_behind_an_endless_loop_are_answered_too(own_server: Server) -> None:
    impatient = Misbehaving(own_server, "impatient")
    impatient.wait_until_repaired()
    commands = ["harm loop", *["ok x"] * 30]
    with concurrent.futures.ThreadPoolExecutor(len(commands)) as pool:
        answers = list(pool.map(impatient.ask, commands))
    assert "took longer than its limit" in answers[0].error
    assert {answer.status for answer in answers[1:]} <= {200, 500}


def test_many_short_executions_are_no_long_one(own_server: Server) -> None:
    """The limit is each execution's, not that of the time in which many run."""
    impatient = Misbehaving(own_server, "impatient")
    impatient.wait_until_repaired()
    before = impatient.text("process_id")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(impatient.text, [f"ok {index}" for index in range(400)]))
    assert texts == [str(index) for index in range(400)]
    assert impatient.text("process_id") == before


def test_flood_of_output_does_no_harm(model: Misbehaving) -> None:
    assert model.text("flood 8") == "done"


def test_other_instance_serves_while_one_is_down(own_server: Server) -> None:
    crowded = Misbehaving(own_server, "crowded")
    crowded.wait_until_repaired()
    crowded.ask("harm kill")
    assert [crowded.text(f"ok {index}") for index in range(10)] == list(map(str, range(10)))
    crowded.wait_until_repaired()


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("callback", ["auto_complete_config", "initialize"])
def test_harm_while_loading_fails_the_load_alone(
    own_server: Server, callback: str, harm: str
) -> None:
    name = callback_model(callback, harm)
    answer = own_server.http.post(f"/v2/repository/models/{name}/load", {})
    assert answer.status == 400
    expected = "ValueError: told to raise" if harm == "raise" else "is not healthy."
    index = own_server.http.post("/v2/repository/index", {}).json
    reasons = [entry.get("reason", "") for entry in index if entry["name"] == name]
    assert len(reasons) == 1
    assert expected in reasons[0]
    assert_serves_on(own_server)


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("callback", ["finalize", "__del__"])
def test_harm_while_unloading_is_nobody_elses(own_server: Server, callback: str, harm: str) -> None:
    model = Misbehaving(own_server, callback_model(callback, harm))
    assert own_server.http.post(f"/v2/repository/models/{model.name}/load", {}).status == 200
    process = int(model.text("process_id"))
    assert own_server.http.post(f"/v2/repository/models/{model.name}/unload", {}).status == 200
    wait_until(lambda: not is_running(process), WAIT_S, "end of the worker")
    assert_serves_on(own_server)
    assert own_server.http.post(f"/v2/repository/models/{model.name}/load", {}).status == 200
    assert model.text("ok here") == "here"
    assert own_server.http.post(f"/v2/repository/models/{model.name}/unload", {}).status == 200


@pytest.mark.parametrize("command", ["child", "forked_child"])
def test_children_go_with_their_worker_and_its_death_is_seen_at_once(
    model: Misbehaving, command: str
) -> None:
    worker, child = int(model.text("process_id")), int(model.text(command))
    assert is_running(child)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not is_running(child), WAIT_S, "end of the child")
    model.wait_until_repaired()


def test_children_go_with_a_model_that_is_unloaded(own_server: Server) -> None:
    name = callback_model("finalize", "raise")
    model = Misbehaving(own_server, name)
    assert own_server.http.post(f"/v2/repository/models/{name}/load", {}).status == 200
    child = int(model.text("child"))
    assert own_server.http.post(f"/v2/repository/models/{name}/unload", {}).status == 200
    wait_until(lambda: not is_running(child), WAIT_S, "end of the child")


@pytest.mark.parametrize(
    "count", [25, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_restarts_leave_nothing_behind(own_server: Server, count: int) -> None:
    restless = Misbehaving(own_server, "restless")
    restart(restless, 5)
    before = Belongings.of(own_server)
    restart(restless, count)
    # Connections of the last requests may still be closing.
    wait_until(
        lambda: Belongings.of(own_server).descriptors <= before.descriptors,
        WAIT_S,
        "closing of everything that restarts opened",
    )
    after = Belongings.of(own_server)
    assert after.threads <= before.threads
    assert after.zombies == []
    # What allocators keep may move a little, but not with every restart.
    assert after.memory < before.memory + (16 << 20), (before, after)


def restart(model: Misbehaving, count: int) -> None:
    for index in range(count):
        model.ask("harm kill")
        # Waits in the queue until there is a worker again.
        assert model.text(f"ok {index}") == str(index)


class Belongings:
    """What the server itself holds, its workers left out."""

    def __init__(self, pid: int) -> None:
        process = Path(f"/proc/{pid}")
        self.descriptors = len(list((process / "fd").iterdir()))
        self.threads = len(list((process / "task").iterdir()))
        statm = (process / "statm").read_text().split()
        self.memory = int(statm[1]) * os.sysconf("SC_PAGE_SIZE")
        self.zombies = [each for each in descendants(pid) if not is_running(each)]

    @classmethod
    def of(cls, server: Server) -> Belongings:
        """Look once the server has nothing under way."""
        return cls(server.process.pid)

    def __repr__(self) -> str:
        return f"Belongings({vars(self)})"


def test_workers_and_their_children_go_with_the_server(
    starter: ServerStarter, tmp_path: Path
) -> None:
    models = {"misbehave": misbehave("instance_group { count: 2 }"), "stopped": misbehave()}
    directory = write_models(tmp_path / "models", models)
    process = starter.prepare("worker_orphans", directory)
    with process:
        server = Server(process, starter.is_oracle)
        model, stopped = (Misbehaving(server, name) for name in models)
        children = [int(model.text("child")), int(model.text("forked_child"))]
        children.append(int(stopped.text("child")))
        # One that cannot do anything by itself.
        os.kill(int(stopped.text("process_id")), signal.SIGSTOP)
        family = [*descendants(process.pid)[1:], *children]
        assert len(set(family)) == 6
        process.signal(signal.SIGKILL)
        wait_until(
            lambda: not any(is_running(each) for each in family), WAIT_S, "end of all workers"
        )


def test_a_worker_that_does_not_leave_is_killed_in_time(
    starter: ServerStarter, tmp_path: Path
) -> None:
    directory = write_models(tmp_path / "models", {"stays": misbehave(finalize="loop")})
    options = ["--backend-config=python,stub-timeout-seconds=1"]
    process = starter.prepare("worker_stays", directory, options)
    with process:
        worker = int(Misbehaving(Server(process, starter.is_oracle), "stays").text("process_id"))
        assert process.stop() == 0
        assert not is_running(worker)
        assert "killing the worker of 'stays_0': it does not leave" in process.log()


def test_a_worker_that_does_not_start_is_given_up_in_time(
    starter: ServerStarter, tmp_path: Path
) -> None:
    models = {"stuck": misbehave(initialize="loop")}
    directory = write_models(tmp_path / "models", models)
    options = ["--backend-config=python,stub-timeout-seconds=2", "--exit-on-error=false"]
    options.append("--strict-readiness=false")
    with starter.prepare("worker_stuck", directory, options) as process:
        server = Server(process, starter.is_oracle)
        (entry,) = server.http.post("/v2/repository/index", {}).json
        assert entry["state"] == "UNAVAILABLE"
        assert (
            entry["reason"]
            == (
                "Internal - Timed out occurred while waiting for the stub process. Failed to "
                "initialize model instance 'stuck_0'"
            )
            or "Timed out occurred while waiting for the stub process" in entry["reason"]
        )
        assert len(descendants(process.pid)) == 1
        assert resident_bytes(process.pid) > 0
