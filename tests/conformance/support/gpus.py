# SPDX-License-Identifier: Apache-2.0
"""GPUs for machines that have none: a stand-in for NVIDIA's driver, which a server may load."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCES = Path(__file__).resolve().parent.parent / "fake_gpu"
LIBRARIES = {"cuda": "libcuda.so.1", "nvml": "libnvidia-ml.so.1"}


def build_driver(directory: Path) -> Path:
    """Build the stand-in into `directory` and return it."""
    for source, library in LIBRARIES.items():
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", directory / library]
        subprocess.run([*command, SOURCES / f"{source}.c"], check=True)
    return directory


def environment_with_gpus(
    driver: Path, capabilities: str, further: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return our environment with GPUs of these compute capabilities, ``"9.0,7.0"``.

    Python models find ``device_array`` in it.
    """
    return {
        **os.environ,
        "LD_LIBRARY_PATH": str(driver),
        "PYTHONPATH": str(SOURCES),
        "FAKE_GPUS": capabilities,
        **(further or {}),
    }
