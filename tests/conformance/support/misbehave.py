# SPDX-License-Identifier: Apache-2.0
"""Models that do harm, and what remains to be true of a server that serves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from waiting import wait_until

from support.repository import PythonModel
from support.wire import Answer, tensor

if TYPE_CHECKING:
    from support.servers import Server

REPAIR_S = 30.0


def misbehave(extra: str = "", **parameters: str) -> PythonModel:
    """Return a model that does what its input says; `parameters` of its configuration."""
    return PythonModel(
        "misbehave",
        {"COMMAND": "TYPE_STRING [ 1 ]"},
        {"ANSWER": "TYPE_STRING [ 1 ]"},
        extra,
        parameters=parameters,
    )


@dataclass(frozen=True)
class Misbehaving:
    """A model made by `misbehave`, on a server."""

    server: Server
    name: str

    def ask(self, command: str) -> Answer:
        """Return the answer to a command."""
        return self.server.http.infer(self.name, [tensor("COMMAND", "BYTES", [1], [command])])

    def text(self, command: str) -> str:
        """Return what a command answers, which must be no error."""
        answer = self.ask(command)
        assert answer.status == 200, answer.body
        return str(answer.json["outputs"][0]["data"][0])

    def is_ready(self) -> bool:
        """Tell what the readiness of the model says."""
        return self.server.http.get(f"/v2/models/{self.name}/ready").status == 200

    def wait_until_repaired(self) -> None:
        """Wait until the model is ready, and see that it is."""
        wait_until(self.is_ready, REPAIR_S, f"restart of a worker of {self.name}")
        assert self.text("ok again") == "again"
