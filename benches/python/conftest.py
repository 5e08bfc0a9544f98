# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the Python benchmarks: one server on the example repository."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benches" / "load"))

from tritongw_server import TritongwServer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server_process import Endpoints


@pytest.fixture(scope="session")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """Addresses of a running server."""
    log = tmp_path_factory.mktemp("server") / "log"
    with TritongwServer(ROOT / "model_repository", log) as server:
        yield server.endpoints
