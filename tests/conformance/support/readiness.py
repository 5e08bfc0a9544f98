# SPDX-License-Identifier: Apache-2.0
"""Models that say whether they are ready, and the files by which a test tells them what to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from waiting import wait_until

from support.calling import hosted
from support.gate import WAIT_S
from support.repository import PythonModel
from support.wire import Answer, tensor

if TYPE_CHECKING:
    from pathlib import Path

    from support.servers import Server


@dataclass(frozen=True)
class Saying:
    """A model that says whether it is ready.

    Parameters
    ----------
    directory : Path
        Folder of the files; made here.
    code : str
        File in ``models/``.
    host : str
        In which process it runs.
    extra : str
        Further lines of its configuration.
    is_ready : str or None
        Which of its attributes is ``is_ready``; the method of that name if None.
    """

    directory: Path
    code: str = "says_ready"
    host: str = "worker"
    extra: str = ""
    is_ready: str | None = None

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.say("yes")

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.directory.name

    @property
    def model(self) -> PythonModel:
        """The model, for the repository."""
        parameters = {"directory": str(self.directory)}
        if self.is_ready is not None:
            parameters["is_ready"] = self.is_ready
        model = PythonModel(
            self.code,
            {"IN": "TYPE_FP32 [ 1 ]"},
            {"OUT": "TYPE_FP32 [ 1 ]"},
            self.extra,
            parameters=parameters,
        )
        return hosted(model, self.host)

    def say(self, answer: str, instance: int | None = None) -> None:
        """Have the model, or one instance of it, say `answer` from now on."""
        name = "answer" if instance is None else f"answer_{self.name}_0_{instance}"
        # In one step: the model may read it at any time.
        (self.directory / "next").write_text(answer)
        (self.directory / "next").rename(self.directory / name)

    def asked(self) -> list[str]:
        """Return who was asked, with how many questions it was asked at once."""
        return self._lines("asked")

    def wait_for_question(self, after: int) -> None:
        """Wait until the model is asked for more than the `after`-th time."""
        wait_until(lambda: len(self.asked()) > after, WAIT_S, "a question")

    def wait_for_execution(self) -> None:
        """Wait until a request executes."""
        wait_until(lambda: bool(self._lines("entered")), WAIT_S, "an execution")

    def hold(self) -> None:
        """Hold executions up."""
        (self.directory / "hold").touch()

    def let_go(self) -> None:
        """Let executions go on."""
        (self.directory / "hold").unlink()
        (self.directory / "entered").unlink(missing_ok=True)

    def readiness(self, server: Server) -> Answer:
        """Ask over HTTP."""
        return server.http.get(f"/v2/models/{self.name}/ready")

    def infer(self, server: Server) -> Answer:
        """Send a request."""
        return server.http.infer(self.name, [tensor("IN", "FP32", [1], [1.0])])

    def _lines(self, name: str) -> list[str]:
        path = self.directory / name
        return path.read_text().splitlines() if path.exists() else []
