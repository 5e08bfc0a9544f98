# SPDX-License-Identifier: Apache-2.0
"""What a Python model's process may take of the machine, by parameters of its configuration."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.misbehave import Misbehaving, misbehave
from support.repository import PythonModel, write_models
from support.servers import Server, ServerStarter

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.ours("Triton has no such limits")

CORES = "TRITONGW_PYTHON_CPU_CORES"
MEMORY = "TRITONGW_PYTHON_MEMORY_BYTES"
FILES = "TRITONGW_PYTHON_OPEN_FILES"
TIME = "TRITONGW_PYTHON_EXECUTION_TIMEOUT_SECONDS"
HOST = "TRITONGW_PYTHON_HOST"

# Parameters that cannot be met, and what is said of them.
REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "no_cores": (
        {CORES: "0"},
        f"parameter '{CORES}' of model 'no_cores' must be a number of at least 1, found '0'",
    ),
    "text_for_cores": (
        {CORES: "all"},
        f"parameter '{CORES}' of model 'text_for_cores' must be a number of at least 1, found "
        "'all'",
    ),
    "many_cores": ({CORES: "5000"}, "5000 cores are asked for, the server has "),
    "little_memory": (
        {MEMORY: "1000"},
        f"parameter '{MEMORY}' of model 'little_memory' must be a number of at least 67108864, "
        "found '1000'",
    ),
    "few_files": (
        {FILES: "3"},
        f"parameter '{FILES}' of model 'few_files' must be a number of at least 64, found '3'",
    ),
    "no_time": (
        {TIME: "0"},
        f"parameter '{TIME}' of model 'no_time' must be a number of seconds, at least 0.001, "
        "found '0'",
    ),
    "endless_time": (
        {TIME: "inf"},
        f"parameter '{TIME}' of model 'endless_time' must be a number of seconds, at least 0.001, "
        "found 'inf'",
    ),
    "in_process": (
        {HOST: "in_process", MEMORY: "100000000"},
        f"parameter '{MEMORY}' of model 'in_process' needs a process of the model's own, but "
        f"'{HOST}' is 'in_process'",
    ),
    "gpu_inputs": (
        {"FORCE_CPU_ONLY_INPUT_TENSORS": "maybe"},
        "parameter 'FORCE_CPU_ONLY_INPUT_TENSORS' of model 'gpu_inputs' must be 'yes' or 'no', "
        "found 'maybe'",
    ),
}

ACCEPTED: dict[str, PythonModel] = {
    "limited": misbehave(**{CORES: "1", MEMORY: str(256 << 20), FILES: "100"}),
    "unlimited": misbehave(FORCE_CPU_ONLY_INPUT_TENSORS="no"),
}


@pytest.fixture(scope="module")
def own_server(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of models with limits, possible and impossible ones."""
    refused = {name: misbehave(**parameters) for name, (parameters, _) in REFUSED.items()}
    directory = write_models(tmp_path_factory.mktemp("models"), {**ACCEPTED, **refused})
    options = [
        *("--exit-on-error=false", "--strict-readiness=false"),
        "--backend-config=python,restart-delay-limit-seconds=0.05",
        *(f"--backend-config=python,{name}" for name in WITHOUT_EFFECT),
    ]
    with starter.prepare("worker_limits", directory, options) as process:
        yield Server(process, starter.is_oracle)


WITHOUT_EFFECT = (
    "shm-default-byte-size=4194304",
    "shm-growth-byte-size=1048576",
    "shm_message_queue_size=500",
    "shm-region-prefix-name=mine_",
)


@pytest.fixture(scope="module")
def limited(own_server: Server) -> Misbehaving:
    """A model with one core, 256 MiB and 100 descriptors."""
    return Misbehaving(own_server, "limited")


@pytest.mark.parametrize("name", list(REFUSED))
def test_limit_that_means_nothing_fails_the_load(own_server: Server, name: str) -> None:
    index = own_server.http.post("/v2/repository/index", {}).json
    (entry,) = [entry for entry in index if entry["name"] == name]
    assert entry["state"] == "UNAVAILABLE"
    assert REFUSED[name][1] in entry["reason"]


def test_worker_runs_on_as_many_cores_as_it_was_given(
    own_server: Server, limited: Misbehaving
) -> None:
    assert limited.text("cores") == "1"
    everything = len(os.sched_getaffinity(own_server.process.pid))
    assert Misbehaving(own_server, "unlimited").text("cores") == str(everything)


def test_memory_limit_fails_the_request_that_meets_it(limited: Misbehaving) -> None:
    limited.wait_until_repaired()
    before = limited.text("process_id")
    assert limited.text("allocate 50") == "done"
    answer = limited.ask("allocate 300")
    assert answer.status == 500
    assert "MemoryError" in answer.error
    # The worker lives on with what it has.
    assert limited.text("process_id") == before
    assert limited.text("allocate 20") == "done"


def test_memory_that_is_shared_does_not_count(own_server: Server, limited: Misbehaving) -> None:
    """The slabs alone are 16 GiB of address space."""
    limited.wait_until_repaired()
    large = "x" * (1 << 20)
    assert limited.text(f"ok {large}") == large
    assert Misbehaving(own_server, "unlimited").text("allocate 300") == "done"


def test_file_limit_fails_the_request_that_meets_it(limited: Misbehaving) -> None:
    limited.wait_until_repaired()
    assert limited.text("file_limit") == "100"
    answer = limited.ask("open_files 200")
    assert answer.status == 500
    assert "Too many open files" in answer.error
    limited.wait_until_repaired()


@pytest.mark.parametrize("setting", WITHOUT_EFFECT)
def test_setting_about_what_is_not_here_is_accepted_and_said_to_have_no_effect(
    own_server: Server, setting: str
) -> None:
    name = setting.partition("=")[0]
    text = f"setting '{name}' of backend 'python' has no effect"
    assert text in own_server.process.log()


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (
            "shm-default-byte-size=1000",
            "setting 'shm-default-byte-size' of backend 'python' can't be smaller than 1048576, "
            "found 1000",
        ),
        (
            "stub-timeout-seconds=soon",
            "setting 'stub-timeout-seconds' of backend 'python' is no number: 'soon'",
        ),
    ],
)
def test_setting_that_means_nothing_fails_the_load(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory, setting: str, text: str
) -> None:
    directory = write_models(tmp_path_factory.mktemp("models"), {"model": misbehave()})
    options = [f"--backend-config=python,{setting}", "--exit-on-error=false"]
    options.append("--strict-readiness=false")
    name = setting.partition("=")[0]
    with starter.prepare(f"worker_setting_{name}", directory, options) as process:
        index = Server(process, starter.is_oracle).http.post("/v2/repository/index", {}).json
    assert text in index[0]["reason"]
