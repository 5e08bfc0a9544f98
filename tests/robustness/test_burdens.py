# SPDX-License-Identifier: Apache-2.0
"""Clients that do everything wrong take nothing from those that do not."""

from __future__ import annotations

import resource
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from burdens import ACTIONS, BURDENS, MIB, TLS_BURDENS, Target, beside
from good_client import ASKERS, Waits, ask_grpc, ask_http
from process_tree import resident_bytes
from tritongw_server import TritongwServer
from waiting import wait_until

if TYPE_CHECKING:
    from server_process import ServerProcess

FEW = 20
MANY = {"idle": 9000, "idle_grpc": 9000, "stalled_head": 2000, "stalled_handshake": 2000}
MORE = 100
MEMORY = 16 * MIB
ROUNDS = 10
IN_TURN = 4


def descriptors(process: ServerProcess) -> int:
    return sum(1 for _ in Path(f"/proc/{process.pid}/fd").iterdir())


def wait_for_release(process: ServerProcess, before: int) -> None:
    """Wait until the server has let go of the burden's connections."""
    wait_until(
        lambda: descriptors(process) <= before + 4, 30, f"return from {descriptors(process)}"
    )


def typical_p99(waits: list[Waits]) -> float:
    """Return the median, which leaves out what else the machine did meanwhile."""
    return statistics.median(each.p99 for each in waits)


@pytest.mark.parametrize("burden", BURDENS)
def test_others_are_served(process: ServerProcess, target: Target, burden: str) -> None:
    ask_http(target, 20)
    ask_grpc(target, 20)
    open_before = descriptors(process)
    with beside(burden, target, FEW):
        ask_http(target, 50)
        ask_grpc(target, 50)
    wait_for_release(process, open_before)
    ask_http(target, 20)


@pytest.mark.parametrize("burden", TLS_BURDENS)
def test_others_are_served_over_tls(
    tls_process: ServerProcess, tls_target: Target, burden: str
) -> None:
    ask_grpc(tls_target, 20)
    open_before = descriptors(tls_process)
    with beside(burden, tls_target, FEW):
        ask_http(tls_target, 20)
        ask_grpc(tls_target, 50)
    wait_for_release(tls_process, open_before)


@pytest.mark.parametrize("burden", TLS_BURDENS)
def test_stopping_does_not_wait_for_handshakes(
    tls_process: ServerProcess, tls_target: Target, burden: str
) -> None:
    with beside(burden, tls_target, FEW):
        ask_grpc(tls_target, 5)
        assert tls_process.stop(timeout_s=10) == 0, "a handshake may take twice as long"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("door", ASKERS)
@pytest.mark.parametrize("burden", BURDENS)
def test_others_wait_at_most_twice_as_long(
    target: Target,
    other_target: Target,
    burden: str,
    door: str,
    record_property: pytest.RecordProperty,
) -> None:
    """The burden is put on another server of the machine in turn: what it takes of the cores, as
    clients that never rest do, it takes in both turns."""
    ask = ASKERS[door]
    ask(target, 1000)
    elsewhere, burdened = [], []
    for _ in range(9):
        for burdened_target, waits in ((other_target, elsewhere), (target, burdened)):
            with beside(burden, burdened_target, MANY.get(burden, MORE)):
                waits.append(ask(target, 1000))
    ratio = typical_p99(burdened) / typical_p99(elsewhere)
    record_property("p99_ratio", ratio)
    print(f"{burden} {door}: elsewhere {elsewhere[0]}, here {burdened[0]}, p99 x {ratio:.2f}")
    # A client that sends without rest has its turns on the network thread, as an honest one has.
    assert ratio <= (8 if burden == "endless_body" else 2)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("burden", ACTIONS)
def test_memory_and_descriptors_are_given_back(
    process: ServerProcess, target: Target, burden: str
) -> None:
    ask_http(target, 20)
    open_before, memory_before = descriptors(process), resident_bytes(process.pid)

    def is_given_back() -> bool:
        # The allocator gives back what it holds when it is next asked for something.
        ask_http(target, 5)
        return resident_bytes(process.pid) < memory_before + MEMORY

    for number in range(ROUNDS):
        ACTIONS[burden](target, IN_TURN)
        wait_for_release(process, open_before)
        wait_until(is_given_back, 30, f"return of the memory of round {number}")


def test_stalled_bodies_take_no_memory_for_what_they_announce(
    process: ServerProcess, target: Target
) -> None:
    ask_http(target, 20)
    before = resident_bytes(process.pid)
    with beside("stalled_body", target, 50):
        ask_http(target, 20)
        # 50 requests have announced 1.6 GB.
        assert resident_bytes(process.pid) < before + MEMORY


def test_unread_responses_are_bounded(process: ServerProcess, target: Target) -> None:
    ask_http(target, 20)
    before = resident_bytes(process.pid)
    with beside("unread_responses", target, 20):
        ask_http(target, 20)
        # Each of the 20 has sent requests for as long as the server took them, and a connection
        # works on one at a time.
        assert resident_bytes(process.pid) < before + 20 * 4 * MIB + MEMORY


def test_stopping_does_not_wait_for_idle_clients(process: ServerProcess, target: Target) -> None:
    with beside("idle", target, FEW):
        ask_http(target, 5)
        assert process.stop() == 0


def test_soft_limit_on_open_files_is_raised(repository: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1000:
        pytest.skip(f"this machine allows {hard} open files")
    server = TritongwServer(repository, tmp_path / "server.log")
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        target = Target(server.endpoints.http, server.endpoints.grpc)
        with beside("idle", target, 400):
            ask_http(target, 5)
    finally:
        server.stop()
