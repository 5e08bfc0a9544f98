# SPDX-License-Identifier: Apache-2.0
"""Host policies: the cores on which an instance runs (C094, M056, S092)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.repository import PythonModel, write_models
from support.servers import Server, ServerStarter
from support.wire import tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL = sorted(os.sched_getaffinity(0))
LAST = ALL[-1]

FORMAT = (
    "Invalid argument: host policy setting 'cpu-cores' format is "
    "'<lower_cpu_core_id>-<upper_cpu_core_id>'. Got "
)
NO_INTEGER = "Invalid argument: Parsing '{}' value: Can't parse '{}' to integer"
NO_NODE = "Internal: Unable to set NUMA memory policy: Invalid argument"

# Settings that bind, and the cores to which they do.
BINDING = {
    "last": ([f"cpu-cores={LAST}-{LAST}"], [LAST]),
    "all": ([f"cpu-cores=0-{LAST}"], ALL),
    "list": ([f"cpu-cores={ALL[0]}-{ALL[0]},{LAST}-{LAST}"], sorted({ALL[0], LAST})),
    "set_twice": ([f"cpu-cores=0-{LAST}", f"cpu-cores={LAST}-{LAST}"], [LAST]),
    "both_settings": (["numa-node=0", f"cpu-cores={LAST}-{LAST}"], [LAST]),
    "unknown": ([], ALL),
}
REFUSED = {
    "one_number": ("cpu-cores=1", f"{FORMAT}1"),
    "open_end": ("cpu-cores=0-0,", FORMAT),
    "words": ("cpu-cores=a-b", NO_INTEGER.format("cpu-cores", "a")),
    "negative_core": ("cpu-cores=-1-1", NO_INTEGER.format("cpu-cores", "")),
    "word_of_node": ("numa-node=x", NO_INTEGER.format("numa-node", "x")),
    "no_such_node": ("numa-node=99", NO_NODE),
    "negative_node": ("numa-node=-1", NO_NODE),
}


def model(group: str, parameters: dict[str, str] | None = None) -> PythonModel:
    """Return a model that tells its cores, with one instance of this group."""
    return PythonModel(
        "cores",
        {"IN": "TYPE_FP32 [ 1 ]"},
        {"FIRST": "TYPE_INT32 [ -1 ]", "NOW": "TYPE_INT32 [ -1 ]"},
        f"instance_group {{ count: 1 {group} }}",
        parameters=parameters or {},
    )


@pytest.fixture(scope="module")
def server(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves a model for each policy, none of them loaded."""
    policies = {name: settings for name, (settings, _) in BINDING.items()}
    policies |= {name: [setting] for name, (setting, _) in REFUSED.items()}
    policies |= {"node": ["numa-node=0"], "far": ["cpu-cores=900-901"]}
    policies |= {"model": [f"cpu-cores={LAST}-{LAST}"]}
    models = {name: model(f'kind: KIND_CPU host_policy: "{name}"') for name in policies}
    models["by_kind"] = model("kind: KIND_MODEL")
    models["other_kind"] = model("kind: KIND_CPU")
    in_process = {"TRITONGW_PYTHON_HOST": "in_process"}
    models["in_process"] = model('kind: KIND_CPU host_policy: "last"', in_process)
    one_core = {"TRITONGW_PYTHON_CPU_CORES": "1"}
    models["one_core"] = model('kind: KIND_CPU host_policy: "last"', one_core)
    options = [
        f"--host-policy={name},{setting}"
        for name, settings in policies.items()
        for setting in settings
    ]
    repository = write_models(tmp_path_factory.mktemp("host_policies"), models)
    options.append("--model-control-mode=explicit")
    with starter.prepare("host-policies", repository, options) as process:
        yield Server(process, starter.is_oracle)


def load(server: Server, name: str) -> str:
    """Load a model; return why it could not be."""
    answer = server.http.post(f"/v2/repository/models/{name}/load", {})
    return "" if answer.status == 200 else answer.error


def cores(server: Server, name: str) -> tuple[list[int], list[int]]:
    """Return the cores of a model as it was initialised and as it executes."""
    assert load(server, name) == ""
    answer = server.http.infer(name, [tensor("IN", "FP32", [1], [0])])
    outputs = {each["name"]: each["data"] for each in answer.json["outputs"]}
    return outputs["FIRST"], outputs["NOW"]


@pytest.mark.parametrize("name", BINDING)
def test_an_instance_runs_on_the_cores_of_its_policy(server: Server, name: str) -> None:
    _, expected = BINDING[name]
    assert cores(server, name) == (expected, expected)


def test_a_numa_node_stands_for_its_cores(server: Server) -> None:
    """Triton binds memory and leaves the threads where they are."""
    listed = Path("/sys/devices/system/node/node0/cpulist").read_text().strip()
    ranges = [part.partition("-") for part in listed.split(",")]
    of_node = {core for low, _, high in ranges for core in range(int(low), int(high or low) + 1)}
    expected = server.choose(sorted(of_node & set(ALL)), triton_2_51=ALL)
    assert cores(server, "node") == (expected, expected)


def test_a_policy_is_found_by_the_kind_of_the_group(server: Server) -> None:
    assert cores(server, "by_kind") == ([LAST], [LAST])
    assert cores(server, "other_kind") == (ALL, ALL)


@pytest.mark.ours("Triton has no Python models in its own process")
def test_a_model_in_process_runs_on_the_cores_of_its_policy(server: Server) -> None:
    assert cores(server, "in_process") == ([LAST], [LAST])


@pytest.mark.ours("the parameter is ours")
def test_the_cores_of_a_worker_are_some_of_its_policy(server: Server) -> None:
    assert cores(server, "one_core") == ([LAST], [LAST])


@pytest.mark.parametrize("name", REFUSED)
def test_a_value_that_cannot_be_set_fails_the_load(server: Server, name: str) -> None:
    _, reason = REFUSED[name]
    assert load(server, name) == (
        f"load failed for model '{name}': version 1 is at UNAVAILABLE state: {reason};\n"
    )


def test_cores_that_the_machine_has_not_fail_the_load(server: Server) -> None:
    # Triton 2.51 looks for the reason in the wrong place.
    reason = server.choose("Invalid argument", triton_2_51="Success")
    assert load(server, "far") == (
        "load failed for model 'far': version 1 is at UNAVAILABLE state: Internal: Unable to set "
        f"NUMA thread affinity: {reason};\n"
    )
