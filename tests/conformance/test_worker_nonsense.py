# SPDX-License-Identifier: Apache-2.0
"""A process that stands in for a worker and speaks nonsense does no harm but to its own model."""

from __future__ import annotations

import concurrent.futures
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from process_tree import descendants, is_running
from support.environments import make_interpreter
from support.misbehave import Misbehaving, misbehave
from support.repository import MODELS, write_models
from support.servers import Server, ServerStarter
from support.wire import tensor
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.ours("its stub is a program of its own")

DOUBLE = Path(__file__).resolve().parent / "support" / "nonsense_worker.py"
KINDS = ("control", "attached", "out_of_turn", "ring", "frames", "silent", "hung_up")
WAIT_S = 30.0


@pytest.fixture(scope="module")
def own_server(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server with a model of each kind of nonsense."""
    directory = tmp_path_factory.mktemp("nonsense")
    # An interpreter like any other, but for what it makes of a worker.
    script = (
        f'case "$*" in *tritongw.worker*) exec "{sys.executable}" "{DOUBLE}";; '
        f'*) exec "{sys.executable}" "$@";; esac'
    )
    environment = make_interpreter(directory / "environment", script)
    models = {
        kind: misbehave(
            kind=kind,
            EXECUTION_ENV_PATH=str(environment),
            TRITONGW_PYTHON_EXECUTION_TIMEOUT_SECONDS="2",
        )
        for kind in (*KINDS, "instead_of_start")
    }
    write_models(directory / "models", {**models, "other": MODELS["echo_fp32"]})
    options = [
        "--model-control-mode=explicit",
        "--load-model=other",
        "--disable-auto-complete-config",
        "--backend-config=python,restart-delay-limit-seconds=0.2",
        "--backend-config=python,stub-timeout-seconds=5",
    ]
    with starter.prepare("nonsense", directory / "models", options) as process:
        yield Server(process, starter.is_oracle)


def assert_serves_on(server: Server) -> None:
    assert server.process.is_running()
    for _ in range(20):
        answer = server.http.infer("other", [tensor("INPUT0", "FP32", [1], [1.0])])
        assert answer.status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_every_request_gets_one_answer_and_others_never_notice(
    own_server: Server, kind: str
) -> None:
    model = Misbehaving(own_server, kind)
    answer = own_server.http.post(f"/v2/repository/models/{kind}/load", {})
    assert answer.status == 200, answer.body
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(model.ask, ["ok x"] * 8))
    assert {answer.status for answer in answers} == {500}
    assert all(answer.error for answer in answers)
    assert_serves_on(own_server)
    assert own_server.http.post(f"/v2/repository/models/{kind}/unload", {}).status == 200
    # What is left is the server and the worker of the other model.
    pid = own_server.process.pid
    wait_until(lambda: len(descendants(pid)) == 2, WAIT_S, "end of the process")
    assert_serves_on(own_server)


def test_nonsense_in_place_of_a_start_fails_the_load(own_server: Server) -> None:
    answer = own_server.http.post("/v2/repository/models/instead_of_start/load", {})
    assert answer.status == 400
    assert_serves_on(own_server)
    assert all(is_running(each) for each in descendants(own_server.process.pid))
