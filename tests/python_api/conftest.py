# SPDX-License-Identifier: Apache-2.0
"""One server for this folder: each of its models under both Python hosts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from python_api_support import HOSTS, MODELS, Server, write_model

if TYPE_CHECKING:
    from collections.abc import Iterator

# Models whose tensors are numbers; those of the others are texts.
NUMERIC = ("numbers", "places", "returns", "decoupled_returns")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with every model of this folder, as ``<file>_<host>``."""
    repository = tmp_path_factory.mktemp("repository")
    for source in sorted(MODELS.glob("*.py")):
        data_type = "TYPE_FP32" if source.stem in NUMERIC else "TYPE_STRING"
        for host in HOSTS:
            write_model(repository, source, host, data_type=data_type)
    with Server(repository, tmp_path_factory.mktemp("log") / "log") as server:
        yield server


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    """Where the model runs; it cannot tell."""
    return str(request.param)
