# SPDX-License-Identifier: Apache-2.0
"""Both servers, asked the same.

The real Triton 2.51 comes from PyPI and is installed once, into the cache that the benchmarks use.
``TRITONGW_DIFFERENTIAL_SCALE`` multiplies the number of requests: 1 by default, as many as take a
minute; with more, requests differ from run to run and entries of ``differences.toml`` that nothing
met are an error.  ``--survey`` goes on after a difference and lists all of them at the end.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "benches" / "load")]

import oracle  # noqa: E402
from comparing import SCALE  # noqa: E402
from comparing.known import KnownDifferences  # noqa: E402
from comparing.models import write_repository  # noqa: E402
from comparing.servers import Pair, Side  # noqa: E402
from comparing.verdict import Judge  # noqa: E402
from tritongw_server import TritongwServer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPTIONS = ["--model-control-mode=explicit", "--load-model=*", "--exit-on-error=false"]
_SURVEY = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--survey",
        action="store_true",
        default=False,
        help="list all differences from Triton 2.51 at the end in place of failing at the first",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            # Installing Triton and starting both servers count into the first test's time.
            item.add_marker(pytest.mark.timeout(300 + 120 * SCALE))


@pytest.fixture(scope="session")
def triton() -> oracle.OracleInstallation:
    """The installed Triton."""
    try:
        return oracle.install()
    except (subprocess.CalledProcessError, OSError) as error:
        pytest.skip(f"Triton 2.51 could not be installed from PyPI: {error}")


@pytest.fixture(scope="session")
def pair(
    triton: oracle.OracleInstallation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Both servers on copies of the same repository."""
    logs = tmp_path_factory.mktemp("logs")
    models = tmp_path_factory.mktemp("models")
    ours = write_repository(models / "ours")
    theirs = write_repository(models / "theirs")
    options = [*_OPTIONS, "--allow-client-shm=true"]
    sides = Pair(
        Side(TritongwServer(ours, logs / "ours.log", options, "/v2/health/live")),
        Side(oracle.OracleServer(triton, theirs, logs / "theirs.log", _OPTIONS, "/v2/health/live")),
    )
    try:
        sides.ours.start()
        sides.theirs.start()
        yield sides
    finally:
        sides.ours.stop()
        sides.theirs.stop()


@pytest.fixture(scope="session")
def segment() -> Iterator[str]:
    """Name of 64 bytes of shared memory."""
    memory = SharedMemory(create=True, size=64)
    memory.buf[:] = bytes(range(64))
    yield f"/{memory.name}"
    memory.close()
    memory.unlink()


@pytest.fixture(scope="session")
def known() -> KnownDifferences:
    """The differences we stand by."""
    return KnownDifferences.load()


@pytest.fixture(scope="session")
def judge(request: pytest.FixtureRequest, pair: Pair, known: KnownDifferences) -> Iterator[Judge]:
    """Asks both servers and holds the answers against each other."""
    is_survey = bool(request.config.getoption("--survey", default=False))
    judge = Judge(pair, known, is_survey=is_survey)
    yield judge
    request.config.stash[_SURVEY] = judge.findings
    print(f"\n{pair.request_count} requests, Triton restarted {pair.restart_count} times")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for finding, count in config.stash.get(_SURVEY, Counter()).most_common():
        terminalreporter.write_line(f"--- {count} times\n{finding}")
