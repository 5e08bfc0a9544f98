# SPDX-License-Identifier: Apache-2.0
"""Models that call one another, and how a test tells them what to do."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from support.repository import PythonModel
from support.wire import HttpDoor, tensor

if TYPE_CHECKING:
    from support.wire import Answer

HOSTS = ("worker", "in_process")
_TEXT = ({"COMMAND": "TYPE_STRING [ 1 ]"}, {"ANSWER": "TYPE_STRING [ 1 ]"})

CALLER = PythonModel("caller", *_TEXT)
ASYNC_CALLER = PythonModel("async_caller", *_TEXT)
INCREMENT = PythonModel(
    "increment",
    {"IN": "TYPE_FP32 [ -1 ]"},
    {"OUT": "TYPE_FP32 [ -1 ]", "TOLD": "TYPE_STRING [ 1 ]"},
)
REPEAT = PythonModel(
    "counted",
    {"COUNT": "TYPE_INT32 [ 1 ]", "SIZE": "TYPE_INT32 [ 1 ]"},
    {"OUT": "TYPE_INT32 [ -1 ]"},
    "model_transaction_policy { decoupled: true }",
)
CALLED = {
    "increment": INCREMENT,
    "repeat": REPEAT,
    "rows": PythonModel(
        "echo", {"IN": "TYPE_FP32 [ -1 ]"}, {"OUT": "TYPE_FP32 [ -1 ]"}, "max_batch_size: 8"
    ),
    "texts": PythonModel("echo", {"IN": "TYPE_STRING [ -1 ]"}, {"OUT": "TYPE_STRING [ -1 ]"}),
}


def relay(target: str, instances: int = 1) -> PythonModel:
    """Return a model that calls `target` as often in a row as it is told."""
    return PythonModel(
        "relay",
        {"DEPTH": "TYPE_INT32 [ 1 ]"},
        {"OUT": "TYPE_INT32 [ 1 ]"},
        f"instance_group {{ kind: KIND_CPU count: {instances} }}",
        parameters={"target": target},
    )


def async_relay(target: str, **parameters: str) -> PythonModel:
    """Return a relay whose executions overlap."""
    model = replace(relay(target), code="async_relay")
    return replace(model, parameters={**model.parameters, **parameters})


def hosted(model: PythonModel, host: str) -> PythonModel:
    """Return the model as it is run by `host`."""
    if host == "worker":
        return model
    return replace(model, parameters={**model.parameters, "TRITONGW_PYTHON_HOST": host})


@dataclass(frozen=True)
class Caller:
    """A model that calls others, and the door to it."""

    http: HttpDoor
    name: str

    def ask(self, command: str, *arguments: object) -> Answer:
        """Have the model do something."""
        text = json.dumps([command, *arguments])
        return self.http.infer(self.name, [tensor("COMMAND", "BYTES", [1], [text])])

    def hears(self, command: str, *arguments: object) -> Any:
        """Return what the model heard."""
        answer = self.ask(command, *arguments)
        assert answer.status == 200, answer.text
        return json.loads(answer.json["outputs"][0]["data"][0])
