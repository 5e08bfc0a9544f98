# SPDX-License-Identifier: Apache-2.0
"""What HTTP and gRPC requests have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from comparing.answers import Answer
    from comparing.grpc_calls import GrpcLine
    from comparing.http_exchange import HttpLine


class Request(Protocol):
    """Something to ask a server; its text is what patterns of known differences look at."""

    @property
    def faults(self) -> int:
        """How many things were made wrong in it."""

    def send(self, http: HttpLine, grpc: GrpcLine, /) -> Answer:
        """Send the request over the line it needs and return the answer."""
