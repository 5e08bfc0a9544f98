# SPDX-License-Identifier: Apache-2.0
"""Models that load and unload other models, under explicit control (Y071)."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest
from support.calling import CALLED, CALLER, HOSTS, Caller, hosted
from support.gate import WAIT_S, Asker, Gate
from support.repository import CODE, write_models
from support.servers import Server, ServerStarter
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

CODE_TIMES_SEVEN = (CODE / "increment.py").read_text().replace("values + 1)", "values * 7)")
CONFIG = json.dumps(
    {
        "backend": "python",
        "input": [{"name": "IN", "data_type": "TYPE_FP32", "dims": [-1]}],
        "output": [{"name": "OUT", "data_type": "TYPE_FP32", "dims": [-1]}],
    }
)
FREED = "2.51 shows the text of its error after the memory was freed"
NOT_READY = (
    "Model increment - Error when running inference: Failed for execute the inference request. "
    "Model 'increment' is not ready."
)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="module")
def explicit_server(
    starter: ServerStarter, gate: Gate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server under explicit control that has loaded its callers only."""
    models = {**CALLED, "gate": gate.model}
    callers = {f"caller_{host}": hosted(CALLER, host) for host in HOSTS}
    directory = write_models(tmp_path_factory.mktemp("models"), {**models, **callers})
    options = ["--model-control-mode=explicit", *(f"--load-model={name}" for name in callers)]
    with starter.prepare("control_by_models", directory, options) as process:
        yield Server(process, starter.is_oracle)


@pytest.fixture(params=HOSTS)
def caller(explicit_server: Server, request: pytest.FixtureRequest) -> Caller:
    return Caller(explicit_server.http, f"caller_{request.param}")


def wait_until_gone(caller: Caller) -> None:
    wait_until(
        lambda: caller.hears("is_ready", "increment") is False, WAIT_S, "the end of the model"
    )


def test_a_model_is_loaded_called_and_unloaded(caller: Caller) -> None:
    assert caller.hears("is_ready", "increment") is False
    assert caller.hears("call", {}) == {"error": NOT_READY}
    assert caller.hears("load", "increment") == "loaded"
    assert caller.hears("is_ready", "increment") is True
    assert caller.hears("call", {}) == {"outputs": {"OUT": [2.0]}}
    assert caller.hears("load", "increment") == "loaded"
    assert caller.hears("unload", "increment") == "unloaded"
    wait_until_gone(caller)
    assert caller.hears("unload", "increment", True) == "unloaded"


def test_a_model_is_loaded_from_files(caller: Caller) -> None:
    files = {"file:1/model.py": CODE_TIMES_SEVEN}
    assert caller.hears("load_files", "increment", CONFIG, files) == "loaded"
    assert caller.hears("call", {}) == {"outputs": {"OUT": [7.0]}}
    assert caller.hears("load", "increment") == "loaded"
    assert caller.hears("call", {}) == {"outputs": {"OUT": [2.0]}}
    assert caller.hears("unload", "increment") == "unloaded"
    wait_until_gone(caller)


@pytest.mark.ours(FREED)
def test_a_load_that_fails_says_why(caller: Caller) -> None:
    prefix = (
        "TritonModelException: Failed to load model: Failed to process the request for model "
        f"'{caller.name}_0', message: "
    )
    assert caller.hears("load", "nobody") == (
        f"{prefix}failed to load 'nobody', failed to poll from model repository"
    )
    heard = caller.hears("load_files", "increment", "", {"file:1/model.py": "code"})
    assert heard == f"{prefix}Load parameter 'config' must be specified for model file override"
    assert caller.hears("unload", "nobody") == "unloaded"


@pytest.mark.ours("the gate of the test waits for a process of its own")
def test_a_model_that_is_unloaded_while_it_is_called_still_answers(
    explicit_server: Server, gate: Gate
) -> None:
    caller = Caller(explicit_server.http, "caller_worker")
    assert caller.hears("load", "gate") == "loaded"
    heard: list[object] = []
    options = {"model": "gate", "inputs": "INPUT0", "requested_output_names": ["OUTPUT0"]}
    asking = threading.Thread(target=lambda: heard.append(caller.hears("call", options)))
    asking.start()
    gate.wait_for_execution()
    other = Caller(explicit_server.http, "caller_in_process")
    assert other.hears("unload", "gate") == "unloaded"
    assert other.hears("is_ready", "gate") is False
    refused = Asker(explicit_server).answer(WAIT_S)
    assert refused.status in (400, 404)
    gate.open()
    asking.join(WAIT_S)
    assert heard == [{"outputs": {"OUTPUT0": [1.0]}}]
