# SPDX-License-Identifier: Apache-2.0
"""The suite's clients again, in the version that ships with the real perf_analyzer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
VERSION = "2.48.0"
SUITES = ["test_clients.py", "test_client_library.py"]


@pytest.fixture(scope="module")
def old_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the old client and nothing else."""
    folder = tmp_path_factory.mktemp("client")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--target", str(folder), f"tritonclient=={VERSION}"]
    if subprocess.run(command, check=False).returncode != 0:
        pytest.skip(f"tritonclient {VERSION} could not be installed from PyPI")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_suites_with_the_old_client(old_client: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(old_client)}
    script = "import tritonclient as c; print(c.__path__[0])"
    found = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith(str(old_client))
    # Deprecations of today's libraries are no fault of the server.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default"]
    result = subprocess.run(
        command + [str(HERE / suite) for suite in SUITES],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-6000:]
