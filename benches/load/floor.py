# SPDX-License-Identifier: Apache-2.0
"""The least an HTTP request costs on the machine of the day: an echo on our HTTP library."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from server_process import Endpoints

ROOT = Path(__file__).resolve().parents[2]
_PACKAGE, _EXAMPLE = "tritongw-benches", "http_floor"


class Floor:
    """The echo server of ``benches/examples/http_floor.rs`` as a child process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._address = ""

    @staticmethod
    def is_available() -> bool:
        """Tell whether it can be built here."""
        return shutil.which("cargo") is not None

    def __enter__(self) -> Floor:
        target = ["--release", "--package", _PACKAGE, "--example", _EXAMPLE]
        subprocess.run(["cargo", "build", "--quiet", *target], cwd=ROOT, check=True)
        binary = ROOT / "target" / "release" / "examples" / _EXAMPLE
        self._process = subprocess.Popen(
            [binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._address = self._process.stdout.readline().split()[-1]
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            # It ends with its standard input.
            self._process.communicate(timeout=10)

    @property
    def endpoints(self) -> Endpoints:
        """Its one address."""
        return Endpoints(http=self._address, grpc="", metrics="")

    @property
    def pid(self) -> int:
        """Process id; only inside the context."""
        assert self._process is not None
        return self._process.pid
