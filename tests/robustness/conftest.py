# SPDX-License-Identifier: Apache-2.0
"""A server under clients that do everything wrong, and one client that does not."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "benches" / "load")]

from burdens import Target  # noqa: E402
from tritongw_server import TritongwServer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server_process import ServerProcess


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example model that answers with its input."""
    directory = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "model_repository" / "identity", directory / "identity")
    return directory


@pytest.fixture
def process(repository: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of the test's own."""
    with TritongwServer(repository, tmp_path / "server.log") as server:
        yield server


@pytest.fixture
def target(process: ServerProcess) -> Target:
    """What burdens are put on."""
    return Target(process.endpoints.http, process.endpoints.grpc)
