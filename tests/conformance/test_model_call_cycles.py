# SPDX-License-Identifier: Apache-2.0
"""Calls that come back to a model that waits for them, and callees that go (Y070)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support.calling import CALLER, HOSTS, INCREMENT, Caller, async_relay, hosted, relay
from support.repository import write_models
from support.servers import Server, ServerStarter
from support.wire import Answer, tensor
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.ours("a model of 2.51 that calls itself waits for ever")

RESTART_S = 20.0


@pytest.fixture(scope="module")
def relay_server(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server whose models call one another in circles."""
    models = {"increment": INCREMENT}
    for host in HOSTS:
        models[f"caller_{host}"] = hosted(CALLER, host)
        models[f"self_{host}"] = hosted(relay(f"self_{host}"), host)
        models[f"ping_{host}"] = hosted(relay(f"pong_{host}"), host)
        models[f"pong_{host}"] = hosted(relay(f"ping_{host}"), host)
        models[f"async_{host}"] = hosted(async_relay(f"async_{host}"), host)
        narrow = async_relay(f"narrow_{host}", TRITONGW_PYTHON_MAX_CONCURRENCY="2")
        models[f"narrow_{host}"] = hosted(narrow, host)
        blocking = async_relay(f"blocking_{host}", is_blocking="yes")
        models[f"blocking_{host}"] = hosted(blocking, host)
        models[f"two_{host}"] = hosted(relay(f"two_{host}", instances=2), host)
    directory = write_models(tmp_path_factory.mktemp("models"), models)
    with starter.prepare("relay", directory) as process:
        yield Server(process, starter.is_oracle)


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def send(server: Server, model: str, depth: int) -> Answer:
    return server.http.infer(model, [tensor("DEPTH", "INT32", [1], [depth])])


def reached(server: Server, model: str, depth: int) -> int:
    answer = send(server, model, depth)
    assert answer.status == 200, answer.text
    return int(answer.json["outputs"][0]["data"][0])


def circular(model: str, cycle: list[str]) -> str:
    names = " -> ".join(f"'{name}'" for name in cycle)
    return (
        f"Model {model} - Error when running inference: the call would never be answered: no "
        f"instance is free that does not wait for it ({names})"
    )


def test_a_model_that_calls_itself(relay_server: Server, host: str) -> None:
    name = f"self_{host}"
    assert reached(relay_server, name, 0) == 0
    answer = send(relay_server, name, 1)
    assert (answer.status, answer.error) == (500, circular(name, [name, name]))
    assert reached(relay_server, name, 0) == 0, "the instance serves on"


def test_two_models_that_call_each_other(relay_server: Server, host: str) -> None:
    ping, pong = f"ping_{host}", f"pong_{host}"
    assert reached(relay_server, ping, 1) == 1
    answer = send(relay_server, ping, 2)
    assert (answer.status, answer.error) == (500, circular(ping, [ping, pong, ping]))
    assert reached(relay_server, pong, 1) == 1


def test_recursion_within_free_instances(relay_server: Server, host: str) -> None:
    name = f"two_{host}"
    for _ in range(5):
        assert reached(relay_server, name, 1) == 1
    answer = send(relay_server, name, 2)
    assert (answer.status, answer.error) == (500, circular(name, [name, name]))


def test_recursion_of_coroutines(relay_server: Server, host: str) -> None:
    """They overlap in one instance: as many as it may have under way, unless one blocks them."""
    name = f"async_{host}"
    assert reached(relay_server, name, 20) == 20
    assert reached(relay_server, name, 64) == 64
    answer = send(relay_server, name, 65)
    assert answer.status == 500
    assert answer.error == (
        f"Model {name} - Error when running inference: more than 64 calls from model to model wait "
        f"for one another, the last for model '{name}'"
    )
    narrow, blocking = f"narrow_{host}", f"blocking_{host}"
    assert reached(relay_server, narrow, 1) == 1
    answer = send(relay_server, narrow, 2)
    assert (answer.status, answer.error) == (500, circular(narrow, [narrow, narrow]))
    answer = send(relay_server, blocking, 1)
    assert (answer.status, answer.error) == (500, circular(blocking, [blocking, blocking]))
    assert reached(relay_server, blocking, 0) == 0


def test_many_requests_that_could_wait_for_one_another(relay_server: Server, host: str) -> None:
    """Each is answered: with what it asked for, or that it would have waited for ever."""
    names = [f"{name}_{host}" for name in ("ping", "pong", "two", "narrow")]
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(send, relay_server, names[i % 4], 1) for i in range(80)]
        answers = [each.result(timeout=60) for each in sent]
    for answer in answers:
        assert answer.status == 200 or "would never be answered" in answer.error
    assert all(reached(relay_server, name, 1) == 1 for name in names)


def test_a_called_worker_that_dies_is_an_error_of_the_call(relay_server: Server, host: str) -> None:
    caller = Caller(relay_server.http, f"caller_{host}")
    heard = caller.hears("call", {"value": -3.0})
    assert heard["error"].startswith("Stub process 'increment_0")
    assert heard["error"].endswith("' is not healthy.")
    heard = caller.hears("call", {})
    assert heard == {"outputs": {"OUT": [2.0]}} or "is not ready" in heard["error"]
    wait_until(
        lambda: caller.hears("call", {}) == {"outputs": {"OUT": [2.0]}},
        RESTART_S,
        "restart of the called worker",
    )
