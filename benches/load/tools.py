# SPDX-License-Identifier: Apache-2.0
"""The load clients: NVIDIA's perf_analyzer from PyPI, wrk and h2load from Debian.

``python benches/load/tools.py`` installs what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import oracle

if TYPE_CHECKING:
    from pathlib import Path

# The last wheel of the client that carries the binary, and the CUDA runtime it is linked with.
PERF_ANALYZER_REQUIREMENTS = ("tritonclient==2.48.0", "nvidia-cuda-runtime-cu12")
# Program or library to the Debian package that brings it.
DEBIAN_PACKAGES = {"wrk": "wrk", "h2load": "nghttp2-client", "libb64.so.0d": "libb64-0d"}


class MissingToolError(RuntimeError):
    """A load client is not installed and cannot be installed from here."""


@dataclass(frozen=True)
class PerfAnalyzer:
    """An installed perf_analyzer."""

    venv_directory: Path

    @property
    def binary(self) -> Path:
        """The program."""
        return self.venv_directory / "bin" / "perf_analyzer"

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which it finds its libraries."""
        pattern = "lib/python3*/site-packages/nvidia/cuda_runtime/lib"
        libraries = [str(found) for found in self.venv_directory.glob(pattern)]
        return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}

    @property
    def is_installed(self) -> bool:
        """Whether it is there and starts."""
        if not self.binary.exists():
            return False
        command = [str(self.binary), "--version"]
        return (
            subprocess.run(
                command, env=self.environment, capture_output=True, check=False
            ).returncode
            == 0
        )


def perf_analyzer() -> PerfAnalyzer:
    """Return where perf_analyzer lies, or would lie after `install_perf_analyzer`."""
    return PerfAnalyzer(oracle.cache_directory() / "perf_analyzer")


def install_perf_analyzer() -> PerfAnalyzer:
    """Install perf_analyzer unless it is there already, and return it."""
    tool = perf_analyzer()
    if not tool.is_installed:
        venv.create(tool.venv_directory, with_pip=True, clear=True)
        python = str(tool.venv_directory / "bin" / "python")
        # The client's own dependencies serve its Python half only.
        install = ["-m", "pip", "install", "--quiet", "--no-deps", *PERF_ANALYZER_REQUIREMENTS]
        subprocess.run([python, *install], check=True)
        install_debian("libb64.so.0d")
    if not tool.is_installed:
        message = f"{tool.binary} does not start"
        raise MissingToolError(message)
    return tool


def install_debian(*names: str) -> None:
    """Install the Debian packages of the programs and libraries in `names` that are missing.

    Raises
    ------
    MissingToolError
        If some are missing and we may not install them.
    """
    packages = [DEBIAN_PACKAGES[name] for name in names if not _is_there(name)]
    if not packages:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        message = f"install these Debian packages first: {' '.join(packages)}"
        raise MissingToolError(message)
    subprocess.run(["apt-get", "update", "--quiet"], check=True)
    subprocess.run(["apt-get", "install", "--quiet", "--yes", *packages], check=True)


def _is_there(name: str) -> bool:
    if ".so" not in name:
        return shutil.which(name) is not None
    libraries = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False)
    return name in libraries.stdout


def main() -> None:
    """Install everything that the load benchmark and the slow tests need."""
    install_debian(*DEBIAN_PACKAGES)
    install_perf_analyzer()
    oracle.install()
    sys.stdout.write(f"installed in {oracle.cache_directory()}\n")


if __name__ == "__main__":
    main()
