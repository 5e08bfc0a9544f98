# SPDX-License-Identifier: Apache-2.0
"""The rate limiter: instances that share resources take turns (C087, C088, M054, S068-S073)."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from support.repository import PythonModel, write_models
from support.servers import Server, ServerStarter
from support.wire import Answer, tensor
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_S = 60
EXPLICIT = "--model-control-mode=explicit"
LIMITED = "--rate-limit=execution_count"


def group(*resources: str, count: int = 1, priority: int = 0) -> str:
    """Return an instance group that needs these resources."""
    limiter = " ".join(f"resources {{ {each} }}" for each in resources)
    return (
        f"instance_group {{ kind: KIND_CPU count: {count} rate_limiter {{ {limiter} "
        f"priority: {priority} }} }}"
    )


def shared(name: str, count: int = 1) -> str:
    """Return a resource that all devices share."""
    return f'name: "{name}" global: true count: {count}'


def of_device(name: str, count: int = 1) -> str:
    """Return a resource of each device."""
    return f'name: "{name}" count: {count}'


@dataclass(frozen=True)
class Models:
    """A server with nothing loaded, and what its models note."""

    server: Server
    directory: Path

    def load(self, name: str) -> str:
        """Load a model; return why it could not be."""
        answer = self.server.http.post(f"/v2/repository/models/{name}/load", {})
        return "" if answer.status == 200 else answer.error

    def unload(self, name: str) -> None:
        """Unload a model."""
        answer = self.server.http.post(f"/v2/repository/models/{name}/unload", {})
        assert answer.status == 200, answer.text

    def infer(self, name: str) -> Answer:
        """Ask a model for one execution."""
        return self.server.http.infer(name, [tensor("IN", "FP32", [1], [0])])

    def record(self) -> list[str]:
        """Return the beginnings and ends of executions so far."""
        record = self.directory / "record"
        return record.read_text().splitlines() if record.exists() else []

    def open(self, name: str) -> None:
        """Let executions of a model end."""
        (self.directory / f"open-{name}").touch()

    def wait_for(self, *begun: str) -> None:
        """Wait until as many executions as named have begun."""
        wait_until(
            lambda: [each for each in self.record() if each.startswith("+")] == list(begun),
            WAIT_S,
            f"beginning of {begun}",
        )


MODELS = {
    "one": group(shared("R"), count=2),
    "other": group(shared("R"), count=2),
    "free": "instance_group { kind: KIND_CPU count: 2 }",
    "holder": group(shared("P")),
    "often": group(shared("P"), priority=1),
    "seldom": group(shared("P"), priority=3),
    "both_scopes": group(shared("S"), of_device("S")),
    "device_scope": group(of_device("T")),
    "global_scope": group(shared("T")),
    "needs_four": group(of_device("U", 4)),
    "needs_two": group(of_device("U", 2), count=3),
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    notes = tmp_path / "notes"
    notes.mkdir()
    models = {
        name: PythonModel(
            "turns",
            {"IN": "TYPE_FP32 [ 1 ]"},
            {"OUT": "TYPE_FP32 [ 1 ]"},
            config,
            parameters={"directory": str(notes)},
        )
        for name, config in MODELS.items()
    }
    write_models(tmp_path / "models", models)
    return tmp_path


@pytest.fixture
def models(starter: ServerStarter, directory: Path) -> Iterator[Models]:
    """Limited, with as much of each resource as the largest demand."""
    repository = directory / "models"
    with starter.prepare("rate-limiter", repository, [EXPLICIT, LIMITED]) as process:
        yield Models(Server(process, starter.is_oracle), directory / "notes")


def depths(record: list[str]) -> list[int]:
    """Return how many executions were under way after each beginning and end."""
    depth, all_depths = 0, []
    for line in record:
        depth += 1 if line.startswith("+") else -1
        all_depths.append(depth)
    return all_depths


def test_instances_that_share_a_resource_take_turns(models: Models) -> None:
    for name in ("one", "other"):
        assert models.load(name) == ""
        models.open(name)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(models.infer, ["one", "other"] * 6))
    assert {answer.status for answer in answers} == {200}
    assert max(depths(models.record())) == 1
    assert Counter(models.record()) == {"+ one": 6, "- one": 6, "+ other": 6, "- other": 6}


def test_an_instance_without_settings_is_not_limited(models: Models) -> None:
    """It executes while another one holds all there is."""
    assert [models.load(name) for name in ("one", "free")] == ["", ""]
    models.open("free")
    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(models.infer, "one")
        models.wait_for("+ one")
        assert models.infer("free").status == 200
        assert not held.done()
        models.open("one")
        assert held.result().status == 200


def test_priority_is_a_weight(models: Models) -> None:
    """Three executions of priority 1 for one of priority 3, as long as both want to execute."""
    assert [models.load(name) for name in ("holder", "often", "seldom")] == ["", "", ""]
    for name in ("often", "seldom"):
        models.open(name)
    with ThreadPoolExecutor(33) as pool:
        held = pool.submit(models.infer, "holder")
        models.wait_for("+ holder")
        waiting = [pool.submit(models.infer, name) for name in ["often", "seldom"] * 16]
        wait_until(lambda: pending(models) == 32, WAIT_S, "arrival of all requests")
        models.open("holder")
        answers = [each.result() for each in [held, *waiting]]
    assert {answer.status for answer in answers} == {200}
    order = [line for line in models.record() if line.startswith("+")][1:17]
    assert Counter(order)["+ often"] in (11, 12, 13)


def pending(models: Models) -> int:
    """Return how many requests to `often` and `seldom` wait."""
    lines = models.server.metrics.get("/metrics").text.splitlines()
    counts = [
        float(line.split()[-1])
        for line in lines
        if line.startswith("nv_inference_pending_request_count")
        and ('"often"' in line or '"seldom"' in line)
    ]
    return int(sum(counts))


def test_a_resource_belongs_to_devices_or_to_all(models: Models) -> None:
    def refusal(model: str, resource: str) -> str:
        return (
            f"load failed for model '{model}': version 1 is at UNAVAILABLE state: Invalid "
            f'argument: Resource "{resource}" is present as both global and device-specific '
            "resource in the model configuration.;\n"
        )

    assert models.load("both_scopes") == refusal("both_scopes", "S")
    assert models.load("device_scope") == ""
    assert models.load("global_scope") == refusal("global_scope", "T")


def test_an_unloaded_model_gives_its_resources_back(models: Models) -> None:
    """With it goes the scope that it gave the resource."""
    assert models.load("device_scope") == ""
    assert models.load("global_scope") != ""
    models.unload("device_scope")
    wait_until(lambda: models.load("global_scope") == "", WAIT_S, "end of the other model")
    models.open("global_scope")
    assert models.infer("global_scope").status == 200


def test_what_could_never_execute_is_not_loaded(starter: ServerStarter, directory: Path) -> None:
    """A limit from the command line may be below a demand."""
    limits = ["--rate-limit-resource=U:3", "--rate-limit-resource=R:1:0"]
    options = [EXPLICIT, LIMITED, *limits]
    with starter.prepare("limits", directory / "models", options) as process:
        models = Models(Server(process, starter.is_oracle), directory / "notes")

        def refusal(model: str, resource: str, limit: int, needed: int) -> str:
            return (
                f"load failed for model '{model}': version 1 is at UNAVAILABLE state: Invalid "
                f'argument: Resource count for "{resource}" is limited to {limit} which will '
                "prevent scheduling of one or more model instances, the minimum required count "
                f"is {needed};\n"
            )

        assert models.load("needs_four") == refusal("needs_four", "U", 3, 4)
        # What is not said where something is, is not there.
        assert models.load("holder") == refusal("holder", "P", 0, 1)
        for name in ("needs_two", "one"):
            assert models.load(name) == ""
            models.open(name)
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(models.infer, ["needs_two"] * 6))
        assert {answer.status for answer in answers} == {200}
        assert max(depths(models.record())) == 1, "of three there are two only once"
        # The limit of a device is one of what all share, too.
        assert models.infer("one").status == 200


@pytest.mark.parametrize("mode", ["off", None])
def test_without_the_limiter_instances_execute_as_they_come(
    starter: ServerStarter, directory: Path, mode: str | None
) -> None:
    options = [EXPLICIT] + ([f"--rate-limit={mode}"] if mode else [])
    with starter.prepare(f"unlimited-{mode}", directory / "models", options) as process:
        models = Models(Server(process, starter.is_oracle), directory / "notes")
        assert models.load("one") == ""
        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(models.infer, "one") for _ in range(2)]
            models.wait_for("+ one", "+ one")
            models.open("one")
            assert [each.result().status for each in both] == [200, 200]
