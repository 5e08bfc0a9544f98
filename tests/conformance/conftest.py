# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the conformance suite.

The suite speaks to a server over its real doors.  By default that is ours; with ``--oracle`` (or
``TRITONGW_ORACLE=1``) it is the real Triton 2.51, which shows that the tests ask for what Triton
does.  Where a later Triton, the one we follow, differs from 2.51, the test says so.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "benches" / "load")]

import oracle  # noqa: E402
from support import repository  # noqa: E402
from support.grpc_door import GrpcDoor  # noqa: E402
from support.servers import Server, ServerStarter  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.wire import HttpDoor


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--oracle",
        action="store_true",
        default=False,
        help="test the real Triton 2.51 from PyPI in place of tritongw",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "ours(reason): cannot run against the oracle, for the given reason"
    )
    config.addinivalue_line("markers", "models(*names): models that the test's own server serves")


def asks_for_oracle(config: pytest.Config) -> bool:
    # This file may be loaded too late for its option: then only the environment counts.
    is_asked = config.getoption("--oracle", default=False)
    return bool(is_asked) or os.environ.get("TRITONGW_ORACLE") == "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if asks_for_oracle(config):
        for item in items:
            item.add_marker(pytest.mark.timeout(2 * oracle.SLOW_S))


def pytest_runtest_setup(item: pytest.Item) -> None:
    marker = item.get_closest_marker("ours")
    if marker is not None and asks_for_oracle(item.config):
        pytest.skip(f"not on Triton 2.51: {marker.args[0]}")


@pytest.fixture(scope="session")
def starter(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ServerStarter:
    """Starts further servers for tests that need their own."""
    return ServerStarter(asks_for_oracle(request.config), tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="session")
def server(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server most tests share, with all test models and the example repository."""
    directory = repository.write_models(tmp_path_factory.mktemp("models"), repository.MODELS)
    # The oracle has no backend for the other examples.
    repository.copy_examples(directory, ["add_sub"] if starter.is_oracle else None)
    process = starter.prepare("shared", directory)
    with process:
        yield Server(process, starter.is_oracle)


@pytest.fixture
def http(server: Server) -> HttpDoor:
    """Raw HTTP requests to the shared server."""
    return server.http


@pytest.fixture
def grpc_door(server: Server) -> Iterator[GrpcDoor]:
    """Raw gRPC requests to the shared server."""
    door = GrpcDoor(server.grpc_address)
    yield door
    door.close()
