# SPDX-License-Identifier: Apache-2.0
"""Run an inference server as a child process and watch it from outside.

Knows nothing about which server it runs: a command line goes in; the addresses that the server
logs, its readiness, its processor time and its memory come out.  Both the load benchmark and the
conformance tests start their servers here, so that the real Triton and ours are treated alike.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from process_tree import descendants
from waiting import http_status, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

_STARTED = {
    "grpc": re.compile(r"Started GRPCInferenceService at ([\w.\[\]:-]+:\d+)"),
    "http": re.compile(r"Started HTTPService at ([\w.\[\]:-]+:\d+)"),
    "metrics": re.compile(r"Started Metrics Service at ([\w.\[\]:-]+:\d+)"),
}


class ServerFailedError(RuntimeError):
    """The server ended, or did not become ready in time; the text carries the end of its log."""


@dataclass(frozen=True)
class Endpoints:
    """Addresses the server really listens on, each ``host:port``."""

    http: str
    grpc: str
    metrics: str


class ServerProcess:
    """A server child process, stopped on leaving the context.

    Parameters
    ----------
    command : Sequence[str]
        Program and arguments.
    log_path : Path
        File that receives standard output and standard error.
    environment : Mapping[str, str] or None, default=None
        Complete environment of the child; None passes ours on.
    ready_path : str, default="/v2/health/ready"
        HTTP path that answers 200 once the server may be used.

    Attributes
    ----------
    awaits_services : bool
        Whether `start` waits for HTTP, gRPC and metrics, as it does unless told otherwise before.
    """

    def __init__(
        self,
        command: Sequence[str],
        log_path: Path,
        environment: Mapping[str, str] | None = None,
        ready_path: str = "/v2/health/ready",
    ) -> None:
        self.command = list(command)
        self.log_path = log_path
        self.awaits_services = True
        self._environment = environment
        self._ready_path = ready_path
        self._process: subprocess.Popen[bytes] | None = None
        self._endpoints: Endpoints | None = None

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def endpoints(self) -> Endpoints:
        """Addresses read from the log; only after `start`."""
        if self._endpoints is None:
            message = "the server has not been started"
            raise ServerFailedError(message)
        return self._endpoints

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._child().pid

    def log(self) -> str:
        """Return everything the server has written so far."""
        return self.log_path.read_text(errors="replace")

    def start(self, timeout_s: float = 60) -> None:
        """Start the server and wait until it logs its addresses and says it is ready.

        Raises
        ------
        ServerFailedError
            If it ends first or takes longer than `timeout_s`.
        """
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                self.command, stdout=log, stderr=subprocess.STDOUT, env=self._environment
            )
        try:
            wait_until(self._is_up, timeout_s, f"start of {self.command[0]}")
        except TimeoutError as error:
            self.kill()
            message = f"{error}\n{self._log_end()}"
            raise ServerFailedError(message) from error
        except BaseException:
            self.kill()
            raise

    def stop(self, signal_number: int = signal.SIGTERM, timeout_s: float = 45) -> int:
        """Ask the server to end and return its exit status; kill it when it does not."""
        self.signal(signal_number)
        return self.wait(timeout_s)

    def signal(self, number: int) -> None:
        """Send a signal to the server, unless it has ended."""
        if self.is_running():
            self._child().send_signal(number)

    def wait(self, timeout_s: float) -> int:
        """Wait for the end of the server and return its exit status; kill it when late."""
        try:
            return self._child().wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            message = f"{self.command[0]} did not end within {timeout_s} s\n{self._log_end()}"
            raise ServerFailedError(message) from None

    def kill(self) -> None:
        """End the server and its children without asking."""
        child = self._child()
        for pid in descendants(child.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        child.wait()

    def is_running(self) -> bool:
        """Tell whether the server process has not ended."""
        return self._child().poll() is None

    def _child(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            message = "the server has not been started"
            raise ServerFailedError(message)
        return self._process

    def _is_up(self) -> bool:
        status = self._child().poll()
        if status is not None:
            message = f"{self.command[0]} ended with {status}\n{self._log_end()}"
            raise ServerFailedError(message)
        if not self.awaits_services:
            return True
        log = self.log()
        found = {name: pattern.search(log) for name, pattern in _STARTED.items()}
        addresses = {name: match[1] for name, match in found.items() if match}
        if len(addresses) < len(_STARTED):
            return False
        self._endpoints = Endpoints(**addresses)
        return http_status(addresses["http"], self._ready_path) == http.client.OK

    def _log_end(self) -> str:
        return "\n".join(self.log().splitlines()[-40:])
