# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that need a GPU of NVIDIA's, with PyTorch and CuPy; ``make gpu`` runs them.

Where there is none they are skipped: ``tests/conformance/test_gpu.py`` holds the same behaviour
against a stand-in for the driver.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

HERE = Path(__file__).resolve().parent
CONFORMANCE = HERE.parent / "conformance"
sys.path[:0] = [str(CONFORMANCE), str(CONFORMANCE / "fake_gpu")]
sys.path[:0] = [str(HERE.parents[1] / "benches" / "load")]

from support.calling import HOSTS, hosted  # noqa: E402
from support.repository import PythonModel, write_models  # noqa: E402
from support.servers import Server  # noqa: E402
from tritongw_server import TritongwServer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

CODE = "../../gpu/models/"
MODELS = {
    "frameworks": PythonModel(
        f"{CODE}frameworks",
        {"IN": "TYPE_FP32 [ -1 ]", "WAY": "TYPE_STRING [ 1 ]"},
        {"OUT": "TYPE_FP32 [ -1 ]"},
    ),
    "bfloat16": PythonModel(
        f"{CODE}frameworks",
        {"IN": "TYPE_FP32 [ -1 ]", "WAY": "TYPE_STRING [ 1 ]"},
        {"OUT": "TYPE_BF16 [ -1 ]"},
    ),
    "told": PythonModel(
        f"{CODE}told", {"COMMAND": "TYPE_STRING [ 1 ]"}, {"ANSWER": "TYPE_STRING [ 1 ]"}
    ),
}
START_S = 180


def what_is_missing() -> str | None:
    """Return why the tests cannot run here, if they cannot."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no libcuda.so.1, NVIDIA's driver"
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return "NVIDIA's driver finds no GPU"
    missing = [name for name in ("torch", "cupy") if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if HERE in item.path.parents]
    reason = what_is_missing() if ours else None
    for item in ours:
        item.add_marker(pytest.mark.timeout(START_S))
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with every model under both hosts."""
    models = {
        f"{name}_{host}": hosted(model, host) for name, model in MODELS.items() for host in HOSTS
    }
    directory = write_models(tmp_path_factory.mktemp("models"), models)
    log = tmp_path_factory.mktemp("logs") / "server.log"
    options = ["--metrics-interval-ms=1", "--backend-config=python,stub-timeout-seconds=120"]
    options += ["--allow-client-shm=true"]
    process = TritongwServer(directory, log, options)
    process.start(START_S)
    try:
        yield Server(process, is_oracle=False)
    finally:
        process.stop()
        print(process.log())


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)
