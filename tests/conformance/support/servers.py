# SPDX-License-Identifier: Apache-2.0
"""Servers under test: ours, or the real Triton when the run asks for the oracle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import oracle
from tritongw_server import TritongwServer

from support.wire import HttpDoor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from server_process import ServerProcess

T = TypeVar("T")


@dataclass(frozen=True)
class Server:
    """A running server and the doors to it."""

    process: ServerProcess
    is_oracle: bool

    @property
    def http(self) -> HttpDoor:
        """The inference door."""
        return HttpDoor(self.process.endpoints.http)

    @property
    def metrics(self) -> HttpDoor:
        """The metrics door."""
        return HttpDoor(self.process.endpoints.metrics)

    @property
    def grpc_address(self) -> str:
        """Address of the gRPC door."""
        return self.process.endpoints.grpc

    def choose(self, current: T, triton_2_51: T) -> T:
        """Return what is right where Triton changed after the version that is the oracle."""
        return triton_2_51 if self.is_oracle else current


@dataclass(frozen=True)
class ServerStarter:
    """Makes servers of the kind that this run tests."""

    is_oracle: bool
    log_directory: Path

    def prepare(
        self,
        name: str,
        repository: Path,
        options: Sequence[str] = (),
        ready_path: str = "/v2/health/ready",
    ) -> ServerProcess:
        """Return a server, not started, that will serve `repository`."""
        log = self.log_directory / f"{name}.log"
        if self.is_oracle:
            return oracle.OracleServer(oracle.install(), repository, log, options, ready_path)
        return TritongwServer(repository, log, options, ready_path)


def rows(array: np.ndarray, count: int) -> np.ndarray:
    """Return `array` repeated as `count` rows of a batch."""
    return array.reshape(1, -1).repeat(count, axis=0)
