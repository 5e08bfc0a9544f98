# SPDX-License-Identifier: Apache-2.0
"""Both servers, and one way to put a request to each of them."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from server_process import ServerFailedError
from waiting import wait_until

from comparing.grpc_calls import GrpcLine
from comparing.http_exchange import HttpLine

if TYPE_CHECKING:
    from server_process import ServerProcess

    from comparing.answers import Answer
    from comparing.requests import Request

# How long a server that has died may take until the system says so.
_DEATH_S = 1.0
_START_S = 300
_HAPPY_ATTEMPTS = 2


class DiedError(AssertionError):
    """Our server ended while it was asked."""


@dataclass
class Side:
    """One of the two servers and the connections to it."""

    process: ServerProcess
    http: HttpLine = field(init=False)
    grpc: GrpcLine = field(init=False)

    def start(self) -> None:
        """Start the server and connect to it."""
        self.process.start(_START_S)
        self.http = HttpLine(self.process.endpoints.http)
        self.grpc = GrpcLine(self.process.endpoints.grpc)

    def stop(self) -> None:
        """Hang up and stop the server."""
        with contextlib.suppress(AttributeError):
            self.http.close()
            self.grpc.close()
        with contextlib.suppress(ServerFailedError):
            self.process.stop()

    def ask(self, request: Request) -> Answer:
        """Send one request and return the answer."""
        return request.send(self.http, self.grpc)

    def has_died(self) -> bool:
        """Tell whether the server is gone, given a moment to go."""
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: not self.process.is_running(), _DEATH_S, "death")
        return not self.process.is_running()


@dataclass
class Pair:
    """Our server and the real Triton, side by side."""

    ours: Side
    theirs: Side
    request_count: int = 0
    restart_count: int = 0
    seconds: float = 0.0

    def ask(self, request: Request) -> tuple[Answer, Answer]:
        """Put one request to both.

        Raises
        ------
        DiedError
            If ours ends over it. The other is started again and asked once more.
        """
        begin = time.monotonic()
        self.request_count += 1
        ours = self.ours.ask(request)
        if ours.is_silence and self.ours.has_died():
            message = f"tritongw died of\n{request}\n{self.ours.process.log()[-4000:]}"
            raise DiedError(message)
        theirs = self._ask_triton(request)
        self.seconds += time.monotonic() - begin
        return ours, theirs

    def _ask_triton(self, request: Request) -> Answer:
        for _ in range(_HAPPY_ATTEMPTS):
            answer = self.theirs.ask(request)
            if not answer.is_silence or not self.theirs.has_died():
                return answer
            self.restart_count += 1
            self.theirs.stop()
            self.theirs.start()
        return answer.as_death()
