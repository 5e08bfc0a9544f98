# SPDX-License-Identifier: Apache-2.0
"""A model whose execution a test holds and lets go."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waiting import wait_until

from support.repository import PythonModel
from support.wire import Answer, tensor

if TYPE_CHECKING:
    from pathlib import Path

    from support.servers import Server

WAIT_S = 20


@dataclass(frozen=True)
class Gate:
    """The files by which the test and its model speak.

    Parameters
    ----------
    directory : Path
        Folder of the files; made here.
    config : str, default=""
        Further lines of the model's configuration.
    """

    directory: Path
    config: str = ""

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)

    @property
    def model(self) -> PythonModel:
        """The model, for the repository."""
        return PythonModel(
            "gate",
            {"INPUT0": "TYPE_FP32 [ 1 ]"},
            {"OUTPUT0": "TYPE_FP32 [ 1 ]"},
            self.config,
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

    def order(self) -> list[int]:
        """Return the values of the executed requests in their order."""
        return [int(line) for line in (self.directory / "order").read_text().split()]


class Asker(threading.Thread):
    """Sends one request in the background and keeps the answer.

    Parameters
    ----------
    server : Server
        Whom to ask.
    model : str, default="gate"
        A model made by `Gate`.
    shape : tuple of int, default=(1,)
        Shape of the input, one element in all.
    value : float, default=1.0
        The element.
    parameters : dict of str to object or None, default=None
        Parameters of the request.
    """

    def __init__(
        self,
        server: Server,
        model: str = "gate",
        *,
        shape: tuple[int, ...] = (1,),
        value: float = 1.0,
        parameters: dict[str, object] | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._model = model
        self._input = tensor("INPUT0", "FP32", list(shape), [value])
        self._parameters = parameters or {}
        self._answers: list[Answer] = []
        self.start()

    def run(self) -> None:
        """Send the request; a server that goes away meanwhile leaves no answer."""
        with contextlib.suppress(OSError):
            self._answers.append(
                self._server.http.infer(self._model, [self._input], parameters=self._parameters)
            )

    def answer(self, timeout_s: float) -> Answer:
        """Return the answer, which must come in time."""
        self.join(timeout_s)
        assert self._answers, f"no answer within {timeout_s} s"
        return self._answers[0]

    def has_answer(self) -> bool:
        """Tell whether the answer is there."""
        return bool(self._answers)
