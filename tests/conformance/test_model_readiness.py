# SPDX-License-Identifier: Apache-2.0
"""`is_ready` of a Python model, which is asked whether the model is ready (Y007, R081)."""

from __future__ import annotations

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from process_tree import descendants
from support.calling import CALLER, Caller
from support.gate import WAIT_S
from support.grpc_door import GrpcDoor
from support.readiness import Saying
from support.repository import write_models
from support.servers import Server, ServerStarter
from tritonclient.grpc import service_pb2 as pb
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.ours("2.51 does not know is_ready")

NOT_READY = "Model version not ready"
PAIR = "instance_group { kind: KIND_CPU count: 2 }"
KINDS = {
    "plain_worker": {},
    "plain_in_process": {"host": "in_process"},
    "async_worker": {"code": "says_ready_async"},
    "async_in_process": {"code": "says_ready_async", "host": "in_process"},
    "later_worker": {"is_ready": "is_ready_later"},
    "later_in_process": {"is_ready": "is_ready_later", "host": "in_process"},
    "flag": {"is_ready": "no_such_method"},
    "pair": {"extra": PAIR},
    "slow": {},
    "slow_loop": {"code": "says_ready_async"},
    "dying": {},
}
ALL = [kind for kind in KINDS if kind.endswith(("_worker", "_in_process"))]
BESIDE = [kind for kind in ALL if not kind.startswith("later")]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readiness")


@pytest.fixture(scope="module")
def models(directory: Path) -> dict[str, Saying]:
    return {name: Saying(directory / name, **fields) for name, fields in KINDS.items()}


@pytest.fixture(scope="module")
def saying_server(
    starter: ServerStarter, models: dict[str, Saying], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    written = {name: saying.model for name, saying in models.items()}
    repository = write_models(tmp_path_factory.mktemp("models"), {**written, "caller": CALLER})
    with starter.prepare("readiness", repository) as process:
        yield Server(process, starter.is_oracle)


@pytest.fixture
def saying(request: pytest.FixtureRequest, models: dict[str, Saying]) -> Iterator[Saying]:
    saying = models[request.param]
    yield saying
    saying.say("yes")


@pytest.fixture
def door(saying_server: Server) -> Iterator[GrpcDoor]:
    door = GrpcDoor(saying_server.grpc_address)
    yield door
    door.close()


def ready_everywhere(server: Server, door: GrpcDoor, name: str) -> list[bool]:
    """Ask by every door that asks the model."""
    return [
        server.http.get(f"/v2/models/{name}/ready").status == 200,
        server.http.get(f"/v2/models/{name}/versions/1/ready").status == 200,
        door.call("ModelReady", pb.ModelReadyRequest(name=name)).ready,
        Caller(server.http, "caller").hears("is_ready", name),
    ]


def reasons(server: Server, saying: Saying) -> list[str]:
    """Return what the log says of why a model is not ready."""
    pattern = rf"(?m)^W.*model '{saying.name}' version 1 is not ready: (.*)\"$"
    return re.findall(pattern, server.process.log())


@pytest.mark.parametrize("saying", ALL, indirect=True)
def test_every_door_asks_the_model(saying_server: Server, door: GrpcDoor, saying: Saying) -> None:
    assert ready_everywhere(saying_server, door, saying.name) == [True] * 4
    saying.say("no")
    n_asked = len(saying.asked())
    assert ready_everywhere(saying_server, door, saying.name) == [False] * 4
    assert len(saying.asked()) == n_asked + 4
    answer = saying.readiness(saying_server)
    assert (answer.status, answer.error) == (400, NOT_READY)
    # That of the server does not ask, nor do requests.
    assert saying_server.http.get("/v2/health/ready").status == 200
    assert door.call("ServerReady", pb.ServerReadyRequest()).ready
    assert saying.infer(saying_server).status == 200
    assert len(saying.asked()) == n_asked + 5
    saying.say("yes")
    assert ready_everywhere(saying_server, door, saying.name) == [True] * 4


@pytest.mark.parametrize("saying", ALL, indirect=True)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("no", "`is_ready` of '{0}_0' returned False"),
        ("raise", "`is_ready` of '{0}_0' failed: ConnectionError: the database is gone"),
        ("none", "`is_ready` of '{0}_0' failed: TypeError: `is_ready` must return a bool, found "),
        ("one", "`is_ready` of '{0}_0' failed: TypeError: `is_ready` must return a bool, found "),
        ("call", "`is_ready` of '{0}_0' failed: TritonModelException: BLS is only supported "),
    ],
)
def test_the_log_says_why_once(
    saying_server: Server, saying: Saying, answer: str, reason: str
) -> None:
    n_told = len(reasons(saying_server, saying))
    saying.say(answer)
    for _ in range(3):
        assert saying.readiness(saying_server).status == 400
    (told,) = reasons(saying_server, saying)[n_told:]
    assert told.startswith(reason.format(saying.name))
    saying.say("yes")
    assert saying.readiness(saying_server).status == 200
    assert f"model '{saying.name}' version 1 is ready again" in saying_server.process.log()


@pytest.mark.parametrize("saying", BESIDE, indirect=True)
def test_it_is_asked_while_it_executes(saying_server: Server, saying: Saying) -> None:
    saying.hold()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(saying.infer, saying_server)
        saying.wait_for_execution()
        assert saying.readiness(saying_server).status == 200
        saying.say("no")
        assert saying.readiness(saying_server).status == 400
        assert not answer.done()
        saying.let_go()
        assert answer.result().status == 200


@pytest.mark.parametrize("saying", BESIDE, indirect=True)
def test_one_question_at_a_time(saying_server: Server, saying: Saying) -> None:
    n_asked = len(saying.asked())
    saying.say("wait")
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(saying.readiness, saying_server) for _ in range(8)]
        saying.wait_for_question(n_asked)
        saying.say("yes")
        assert [each.result().status for each in answers] == [200] * 8
    assert set(saying.asked()[n_asked:]) == {f"{saying.name}_0 1"}


@pytest.mark.parametrize("saying", ["slow", "slow_loop"], indirect=True)
def test_nobody_waits_longer_than_five_seconds(saying_server: Server, saying: Saying) -> None:
    saying.say("wait")
    assert saying.readiness(saying_server).status == 400
    late = "an instance did not say within 5s that it is ready"
    assert reasons(saying_server, saying) == [late]
    n_asked = len(saying.asked())
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(saying.readiness, saying_server)
        saying.say("yes")
        assert answer.result().status == 200
    # The question that was late answers, or one after it.
    assert len(saying.asked()) - n_asked <= 1


@pytest.mark.parametrize("saying", ["pair"], indirect=True)
def test_all_instances_must_be_ready(saying_server: Server, saying: Saying) -> None:
    assert saying.readiness(saying_server).status == 200
    assert {line.split()[0] for line in saying.asked()} == {"pair_0_0", "pair_0_1"}
    for instance in (0, 1):
        saying.say("no", instance)
        assert saying.readiness(saying_server).status == 400
        saying.say("yes", instance)
        assert saying.readiness(saying_server).status == 200


@pytest.mark.parametrize("saying", ["flag"], indirect=True)
def test_what_is_no_method_is_not_asked(saying_server: Server, saying: Saying) -> None:
    saying.say("no")
    assert saying.readiness(saying_server).status == 200
    assert saying.asked() == []


@pytest.mark.parametrize("saying", ["dying"], indirect=True)
def test_a_worker_that_dies_is_not_ready(saying_server: Server, saying: Saying) -> None:
    saying.say("wait")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(saying.readiness, saying_server)
        saying.wait_for_question(0)
        os.kill(worker_of(saying_server, saying), signal.SIGKILL)
        assert answer.result().status == 400
    assert reasons(saying_server, saying) == ["Stub process 'dying_0' is not healthy."]
    saying.say("yes")
    wait_until(
        lambda: saying.readiness(saying_server).status == 200, WAIT_S, "the next worker to be ready"
    )
    assert "model 'dying' version 1 is ready again" in saying_server.process.log()


def worker_of(server: Server, saying: Saying) -> int:
    """Return the process of a model's one instance, whose name is its last argument."""
    (found,) = [
        pid
        for pid in descendants(server.process.pid)
        if Path(f"/proc/{pid}/cmdline").read_text().endswith(f"{saying.name}_0\0")
    ]
    return found
