# SPDX-License-Identifier: Apache-2.0
"""Our server as a child process on ports of its own choice."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class TritongwServer(ServerProcess):
    """The server installed for this interpreter.

    Parameters
    ----------
    model_repository : Path
        Models to serve.
    log_path : Path
        File that receives the server's output.
    options : Sequence[str], default=()
        Further command-line options.
    ready_path : str, default="/v2/health/ready"
        HTTP path that answers 200 once the server may be used.
    environment : Mapping[str, str] or None, default=None
        Complete environment of the server; None passes ours on.
    """

    def __init__(
        self,
        model_repository: Path,
        log_path: Path,
        options: Sequence[str] = (),
        ready_path: str = "/v2/health/ready",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        command = [
            *(sys.executable, "-m", "tritongw", "serve"),
            f"--model-repository={model_repository}",
            "--http-address=127.0.0.1",
            "--http-port=0",
            "--grpc-address=127.0.0.1",
            "--grpc-port=0",
            "--metrics-port=0",
            *options,
        ]
        super().__init__(command, log_path, environment, ready_path)
