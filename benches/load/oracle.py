# SPDX-License-Identifier: Apache-2.0
"""The real Triton 2.51 for CPU, installed from PyPI and started beside ours.

Owns the knowledge of how the server inside the ``nvidia-pytriton`` wheel is made to run on its own:
which libraries it needs, where its Python backend looks for its stub, and which numpy that stub
can work with.  Everything it installs lies in one cache directory, never in the source tree.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from server_process import ServerFailedError, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

# The last wheel that carries Triton 2.51.  Its stub was built with a pybind11 that silently returns
# empty outputs under numpy 2.
REQUIREMENTS = ("nvidia-pytriton==0.7.0", "numpy<2")
_START_ATTEMPTS = 3


def cache_directory() -> Path:
    """Return the directory that holds everything the benchmarks install."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tritongw-bench"


@dataclass(frozen=True)
class OracleInstallation:
    """Where an installed Triton lies."""

    venv_directory: Path

    @property
    def _site_packages(self) -> Path:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.venv_directory / "lib" / version / "site-packages"

    @property
    def root(self) -> Path:
        """Triton's own folder: ``bin``, ``backends``, ``caches`` and the stubs."""
        return self._site_packages / "pytriton" / "tritonserver"

    @property
    def stub(self) -> Path:
        """The Python backend's stub, beside the library that starts it."""
        return self.root / "backends" / "python" / "triton_python_backend_stub"

    def environment(self) -> dict[str, str]:
        """Return the environment in which the server and its Python models run."""
        libraries = [
            self._site_packages / "nvidia_pytriton.libs",
            Path(sysconfig.get_config_var("LIBDIR")),
        ]
        # The stub takes the first python3 on PATH as its interpreter's home.
        path = os.pathsep.join([str(self.venv_directory / "bin"), os.environ.get("PATH", "")])
        return {
            **os.environ,
            "PATH": path,
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
            "TRITON_SERVER_CPU_ONLY": "1",
        }

    def command(self, model_repository: Path, ports: Sequence[int]) -> list[str]:
        """Return the command line that serves `model_repository` on the three given ports."""
        http_port, grpc_port, metrics_port = ports
        return [
            str(self.root / "bin" / "tritonserver"),
            f"--model-repository={model_repository}",
            f"--backend-directory={self.root / 'backends'}",
            f"--cache-directory={self.root / 'caches'}",
            "--http-address=127.0.0.1",
            "--grpc-address=127.0.0.1",
            f"--http-port={http_port}",
            f"--grpc-port={grpc_port}",
            f"--metrics-port={metrics_port}",
        ]


def install(venv_directory: Path | None = None) -> OracleInstallation:
    """Install Triton unless it is there already.

    Parameters
    ----------
    venv_directory : Path or None, default=None
        Virtual environment to use; None means the one in `cache_directory`.

    Returns
    -------
    OracleInstallation
        Ready to be handed to `OracleServer`.
    """
    installation = OracleInstallation(venv_directory or cache_directory() / "triton")
    if installation.stub.exists():
        return installation
    venv.create(installation.venv_directory, with_pip=True, clear=True)
    python = str(installation.venv_directory / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shipped = installation.root / "python_backend_stubs" / version / installation.stub.name
    shutil.copy2(shipped, installation.stub)
    return installation


# With fifty Python models on a busy machine it takes minutes to start and to end.
SLOW_S = 240


class OracleServer(ServerProcess):
    """The real Triton on free ports.

    Parameters
    ----------
    installation : OracleInstallation
        What `install` returned.
    model_repository : Path
        Models to serve; only Python models can be, the wheel holds no other backend.
    log_path : Path
        File that receives the server's output.
    options : Sequence[str], default=()
        Further command-line options.
    ready_path : str, default="/v2/health/ready"
        HTTP path that answers 200 once the server may be used.
    """

    def __init__(
        self,
        installation: OracleInstallation,
        model_repository: Path,
        log_path: Path,
        options: Sequence[str] = (),
        ready_path: str = "/v2/health/ready",
    ) -> None:
        super().__init__([], log_path, installation.environment(), ready_path)
        self._installation = installation
        self._model_repository = model_repository
        self._options = list(options)

    def start(self, timeout_s: float = SLOW_S) -> None:
        """Start on ports that are free now, again with others when somebody was faster."""
        for attempt in range(_START_ATTEMPTS):
            command = self._installation.command(self._model_repository, free_ports(3))
            self.command = command + self._options
            try:
                return super().start(timeout_s)
            except ServerFailedError as error:
                is_last = attempt + 1 == _START_ATTEMPTS
                if is_last or "already in use" not in str(error):
                    raise

    def stop(self, signal_number: int = signal.SIGTERM, timeout_s: float = SLOW_S) -> int:
        """Ask the server to end and return its exit status; kill it when it does not."""
        return super().stop(signal_number, timeout_s)


def free_ports(count: int) -> list[int]:
    """Return distinct TCP ports that nobody uses at this moment.

    Triton logs the port it was told, not the one it got, so port 0 cannot be used with it.
    """
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
