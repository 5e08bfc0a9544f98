# SPDX-License-Identifier: Apache-2.0
"""A model whose execution a test holds and lets go."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server_process import wait_until

from support.repository import PythonModel
from support.wire import Answer, tensor

if TYPE_CHECKING:
    from pathlib import Path

    from support.servers import Server

WAIT_S = 20


@dataclass(frozen=True)
class Gate:
    """The files by which the test and the model ``gate`` speak."""

    directory: Path

    @property
    def model(self) -> PythonModel:
        """The model, for the repository."""
        return PythonModel(
            "gate",
            {"INPUT0": "TYPE_FP32 [ 1 ]"},
            {"OUTPUT0": "TYPE_FP32 [ 1 ]"},
            parameters={"directory": str(self.directory)},
        )

    def wait_for_execution(self) -> int:
        """Wait until a request is executing and return the id of the process that does it."""
        entered = self.directory / "entered"
        wait_until(
            lambda: entered.exists() and entered.read_text().endswith("\n"),
            WAIT_S,
            "execution of a request",
        )
        return int(entered.read_text())

    def open(self) -> None:
        """Let all executions, now and later, go on."""
        (self.directory / "open").touch()


class Asker(threading.Thread):
    """Sends one request to the model ``gate`` and keeps the answer."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._answers: list[Answer] = []
        self.start()

    def run(self) -> None:
        """Send the request."""
        self._answers.append(
            self._server.http.infer("gate", [tensor("INPUT0", "FP32", [1], [1.0])])
        )

    def answer(self, timeout_s: float) -> Answer:
        """Return the answer, which must come in time."""
        self.join(timeout_s)
        assert self._answers, f"no answer within {timeout_s} s"
        return self._answers[0]

    def has_answer(self) -> bool:
        """Tell whether the answer is there."""
        return bool(self._answers)
