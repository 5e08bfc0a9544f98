# SPDX-License-Identifier: Apache-2.0
"""GPUs: tensors in their memory, instances on them and what they report.

Held here against a stand-in for NVIDIA's driver; ``tests/gpu`` asks the same of a real one.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.calling import HOSTS, INCREMENT, Caller, hosted
from support.gpus import build_driver, environment_with_gpus
from support.repository import PythonModel, write_models
from support.servers import Server
from support.wire import tensor
from tritongw_server import TritongwServer
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.servers import ServerStarter
    from support.wire import HttpDoor

pytestmark = pytest.mark.ours("Triton's CUDA runtime takes no stand-in for the driver")

ON_CPU = "instance_group { kind: KIND_CPU }"
GPU_ECHO = PythonModel(
    "gpu_echo",
    {"IN": "TYPE_FP32 [ -1 ]"},
    {"OUT": "TYPE_FP32 [ -1 ]", "TOLD": "TYPE_STRING [ 3 ]"},
)
GPU_CALLER = PythonModel(
    "gpu_caller", {"COMMAND": "TYPE_STRING [ 1 ]"}, {"ANSWER": "TYPE_STRING [ 1 ]"}, ON_CPU
)
#: Data that travels in the message itself, and data that does not.
SIZES = (1, 100_000)
WAIT_S = 20


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_driver(tmp_path_factory.mktemp("driver"))


def models() -> dict[str, PythonModel]:
    served = {"gpu_echo": GPU_ECHO, "increment": replace(INCREMENT, extra=ON_CPU)}
    for host in HOSTS:
        served[f"gpu_caller_{host}"] = hosted(GPU_CALLER, host)
    served["gpu_echo_in_process"] = hosted(replace(GPU_ECHO, extra=ON_CPU), "in_process")
    return served


@pytest.fixture(scope="module")
def gpu_server(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory, driver: Path
) -> Iterator[Server]:
    """A server with two GPUs that are good enough and one that is not."""
    directory = write_models(tmp_path_factory.mktemp("models"), models())
    environment = environment_with_gpus(driver, "9.0,7.5,7.0")
    log = starter.log_directory / "gpu.log"
    with TritongwServer(directory, log, environment=environment) as process:
        yield Server(process, is_oracle=False)


@pytest.fixture(params=HOSTS)
def caller(gpu_server: Server, request: pytest.FixtureRequest) -> Caller:
    return Caller(gpu_server.http, f"gpu_caller_{request.param}")


@pytest.fixture(scope="module")
def explicit(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory, driver: Path
) -> Iterator[Server]:
    """The same GPUs, measured at every look, and a model that is loaded as a test says."""
    directory = write_models(tmp_path_factory.mktemp("placed"), {"placed": GPU_ECHO})
    environment = environment_with_gpus(driver, "9.0,7.5,7.0")
    options = ["--model-control-mode=explicit", "--metrics-interval-ms=1"]
    log = starter.log_directory / "placed.log"
    with TritongwServer(directory, log, options, environment=environment) as process:
        yield Server(process, is_oracle=False)


def infer(http: HttpDoor, model: str, values: list[float]) -> dict[str, list[Any]]:
    answer = http.infer(model, [tensor("IN", "FP32", [len(values)], values)])
    assert answer.status == 200, answer.text
    return {each["name"]: each["data"] for each in answer.json["outputs"]}


@pytest.mark.parametrize("model", ["gpu_echo", "gpu_echo_in_process"])
@pytest.mark.parametrize("size", SIZES)
def test_an_output_may_lie_on_a_gpu(gpu_server: Server, model: str, size: int) -> None:
    values = [float(index % 1000) for index in range(size)]
    outputs = infer(gpu_server.http, model, values)
    assert outputs["OUT"] == [value + 1 for value in values]


@pytest.mark.parametrize("size", SIZES)
def test_an_input_of_a_call_may_lie_on_a_gpu(caller: Caller, size: int) -> None:
    total = float(sum(range(size)) + size)
    assert caller.hears("call", size) == [True, size, total]
    assert caller.hears("pass_on", size) == [True, size, total]
    assert caller.hears("call_into_gpu", size) == [True, size, total]


def test_a_tensor_on_a_gpu_is_described(caller: Caller) -> None:
    for gpu in (0, 1):
        assert caller.hears("describe", gpu) == {
            "is_cpu": False,
            "dtype": 11,
            "shape": [2, 3],
            "device": [2, gpu],
            "streams": [1, None, None, None, None],
            "is_same": [True, True, True, True],
        }


def test_a_tensor_on_a_gpu_is_no_array(caller: Caller) -> None:
    assert caller.hears("as_numpy") == (
        "TritonModelException: Tensor is stored in GPU and cannot be converted to NumPy."
    )
    assert caller.hears("give_to_host") == (
        "BufferError: a tensor in GPU memory is given only where it lies"
    )
    assert caller.hears("give_to_stream", -2) == "ValueError: there is no stream -2"


def test_gpu_memory_is_let_go(caller: Caller) -> None:
    for size in SIZES:
        caller.hears("send_twice", size)
        caller.hears("describe", 0)
    assert caller.hears("alive") == 0


def told(http: HttpDoor, model: str) -> list[str]:
    return infer(http, model, [0.0])["TOLD"]


def groups(http: HttpDoor, model: str) -> list[tuple[str, str, int, list[int]]]:
    config = http.get(f"/v2/models/{model}/config").json
    names = ("name", "kind", "count", "gpus")
    return [tuple(group[name] for name in names) for group in config["instance_group"]]


def test_a_python_model_has_an_instance_on_each_gpu(gpu_server: Server) -> None:
    # Of the third GPU, whose compute capability is too low, nothing.
    assert groups(gpu_server.http, "gpu_echo") == [("gpu_echo", "KIND_GPU", 1, [0, 1])]
    log = gpu_server.process.log()
    assert "placed: GPU 0 gpu_echo_0" in log
    assert "placed: GPU 1 gpu_echo_1" in log
    assert told(gpu_server.http, "gpu_echo") in [
        ["GPU", "0", "gpu_echo_0"],
        ["GPU", "1", "gpu_echo_1"],
    ]


@pytest.mark.parametrize(
    ("group", "expected", "placed"),
    [
        ("count: 2 gpus: [ 1 ]", ("KIND_GPU", 2, [1]), ["GPU 1 x_0", "GPU 1 x_1"]),
        (
            "count: 2",
            ("KIND_GPU", 2, [0, 1]),
            ["GPU 0 x_0", "GPU 1 x_1", "GPU 0 x_2", "GPU 1 x_3"],
        ),
        ("kind: KIND_CPU", ("KIND_CPU", 1, []), ["CPU 0 x_0"]),
        ("kind: KIND_MODEL", ("KIND_MODEL", 1, []), ["MODEL 0 x_0"]),
    ],
)
def test_groups_choose_their_gpus(
    explicit: Server, group: str, expected: tuple[str, int, list[int]], placed: list[str]
) -> None:
    assert explicit.http.post("/v2/repository/models/placed/load", config(group)).status == 200
    assert groups(explicit.http, "placed") == [("x", *expected)]
    log = explicit.process.log().rpartition("loading: placed:1")[2]
    assert sorted(re.findall(r"placed: (\w+ \d \w+)", log)) == sorted(placed)


@pytest.mark.parametrize(
    ("backend", "group", "reason"),
    [
        (
            "python",
            "kind: KIND_GPU gpus: [ 2 ]",
            "instance group x of model placed specifies invalid or unsupported gpu id 2. GPUs with "
            "at least the minimum required CUDA compute compatibility of 7.500000 are: 0, 1",
        ),
        (
            "python",
            "kind: KIND_CPU gpus: [ 0 ]",
            "instance group x of model placed has kind KIND_CPU but specifies one or more GPUs",
        ),
        ("identity", "kind: KIND_GPU", "'identity' backend only supports CPU instances"),
        (
            "square",
            "kind: KIND_GPU gpus: [ 0 ]",
            "instance 'x_0' has kind KIND_GPU, but the square backend executes on the CPU only",
        ),
    ],
)
def test_groups_that_cannot_be(explicit: Server, backend: str, group: str, reason: str) -> None:
    answer = explicit.http.post("/v2/repository/models/placed/load", config(group, backend))
    assert answer.status != 200
    assert reason in answer.error


def test_a_backend_without_gpus_runs_on_the_cpu(explicit: Server) -> None:
    answer = explicit.http.post("/v2/repository/models/placed/load", config("", "identity"))
    assert answer.status == 200, answer.text
    assert groups(explicit.http, "placed") == [("x", "KIND_CPU", 1, [])]


def config(group: str, backend: str = "python") -> dict[str, Any]:
    """Return a load request that gives the model this one instance group."""
    members = dict(re.findall(r"(\w+): (\[.*?\]|\w+)", group))
    gpus = [int(gpu) for gpu in re.findall(r"\d+", members.pop("gpus", ""))]
    tensors = {
        "identity": ("TYPE_FP32", "INPUT0", "OUTPUT0"),
        "square": ("TYPE_INT32", "IN", "OUT"),
    }
    data_type, given, answered = tensors.get(backend, ("TYPE_FP32", "IN", "OUT"))
    document = {
        "backend": backend,
        "instance_group": [{"name": "x", **members, "gpus": gpus}],
        "input": [{"name": given, "data_type": data_type, "dims": [1]}],
        "output": [{"name": answered, "data_type": data_type, "dims": [1]}],
    }
    if backend == "square":
        document["model_transaction_policy"] = {"decoupled": True}
    return {"parameters": {"config": json.dumps(document)}}


GAUGES = {
    "nv_gpu_utilization": (0.25, 0.26, 0.27),
    "nv_gpu_memory_total_bytes": (float(80 << 30),) * 3,
    "nv_gpu_memory_used_bytes": tuple(float((1 << 30) + gpu) for gpu in range(3)),
    "nv_gpu_power_usage": (70.5, 71.5, 72.5),
    "nv_gpu_power_limit": (700.0, 701.0, 702.0),
}
UUIDS = [f"GPU-fafafafa-fafa-fafa-fafa-fafafafafa0{gpu}" for gpu in range(3)]


def families(server: Server) -> dict[str, Any]:
    text = server.metrics.get("/metrics").text
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_gpus_report_what_they_do(gpu_server: Server) -> None:
    found = families(gpu_server)
    for name, values in GAUGES.items():
        assert found[name].type == "gauge"
        samples = {each.labels["gpu_uuid"]: each.value for each in found[name].samples}
        assert samples == dict(zip(UUIDS, values, strict=True))
        assert all(list(each.labels) == ["gpu_uuid"] for each in found[name].samples)
    assert found["nv_gpu_utilization"].documentation == "GPU utilization rate [0.0 - 1.0)"


def test_energy_counts_from_the_start(explicit: Server) -> None:
    """The stand-in says 1.5 J more each time it is asked, and began with a million."""
    first = energy(explicit)
    wait_until(lambda: energy(explicit) != first, WAIT_S, "another measurement")
    second = energy(explicit)
    for before, after in zip(first, second, strict=True):
        assert after > before > 0
        assert (after - before) % 1.5 == 0
        assert after < 1000


def energy(server: Server) -> list[float]:
    text = server.metrics.get("/metrics").text
    assert "# TYPE nv_energy_consumption counter" in text
    found = re.findall(r"^nv_energy_consumption\{gpu_uuid=\"(.*)\"\} (.*)$", text, re.MULTILINE)
    assert [uuid for uuid, _ in found] == UUIDS
    return [float(joules) for _, joules in found]


@pytest.mark.parametrize(
    ("option", "further"),
    [
        ("--allow-gpu-metrics=false", {}),
        ("--allow-gpu-metrics=true", {"TRITON_SERVER_CPU_ONLY": ""}),
        ("--allow-gpu-metrics=true", {"FAKE_GPUS": ""}),
    ],
)
def test_gpus_report_nothing(
    starter: ServerStarter, tmp_path: Path, driver: Path, option: str, further: dict[str, str]
) -> None:
    environment = environment_with_gpus(driver, "9.0", further)
    log = tmp_path / "server.log"
    (tmp_path / "models").mkdir()
    with TritongwServer(tmp_path / "models", log, [option], environment=environment) as process:
        text = Server(process, is_oracle=False).metrics.get("/metrics").text
    assert "nv_gpu" not in text
    assert "nv_energy" not in text
    assert "nv_cpu_utilization" in text


def test_a_driver_without_gpus(tmp_path: Path, driver: Path) -> None:
    """As with no driver at all, but for the words."""
    model = replace(GPU_ECHO, extra="instance_group { kind: KIND_GPU }")
    directory = write_models(tmp_path / "models", {"on_gpu": model, "anywhere": GPU_ECHO})
    environment = environment_with_gpus(driver, "7.0")
    options = ["--exit-on-error=false", "--strict-readiness=false"]
    log = tmp_path / "server.log"
    with TritongwServer(directory, log, options, environment=environment) as process:
        http = Server(process, is_oracle=False).http
        assert groups(http, "anywhere") == [("anywhere", "KIND_CPU", 1, [])]
    assert (
        "instance group on_gpu_0 of model on_gpu has kind KIND_GPU but no GPUs are available"
    ) in process.log()


def test_every_gpu_may_be_used(tmp_path: Path, driver: Path) -> None:
    model = replace(GPU_ECHO, extra="instance_group { count: 1 gpus: [ 0 ] }")
    directory = write_models(tmp_path / "models", {"on_gpu": model})
    environment = environment_with_gpus(driver, "7.0")
    options = ["--min-supported-compute-capability=7.0"]
    log = tmp_path / "server.log"
    with TritongwServer(directory, log, options, environment=environment) as process:
        http = Server(process, is_oracle=False).http
        assert told(http, "on_gpu") == ["GPU", "0", "on_gpu_0_0"]


def test_a_gpu_that_tells_little(tmp_path: Path, driver: Path) -> None:
    environment = environment_with_gpus(driver, "9.0", {"FAKE_GPUS_MUTE": "1"})
    (tmp_path / "models").mkdir()
    log = tmp_path / "server.log"
    with TritongwServer(tmp_path / "models", log, environment=environment) as process:
        found = families(Server(process, is_oracle=False))
    assert [each.value for each in found["nv_gpu_memory_used_bytes"].samples] == [float(1 << 30)]
    assert found["nv_gpu_power_usage"].samples == []


@pytest.mark.parametrize("limit", ["0:0.01", "0:0.02", "5:0.01"])
def test_a_gpu_that_is_full_takes_no_model(
    starter: ServerStarter, tmp_path: Path, driver: Path, limit: str
) -> None:
    """One GiB of the 80 is in use."""
    on_gpu = replace(GPU_ECHO, extra="instance_group { kind: KIND_GPU }")
    directory = write_models(
        tmp_path / "models", {"on_gpu": on_gpu, "on_cpu": replace(GPU_ECHO, extra=ON_CPU)}
    )
    environment = environment_with_gpus(driver, "9.0")
    options = [f"--model-load-gpu-limit={limit}", "--exit-on-error=false"]
    options += ["--strict-readiness=false"]
    log = tmp_path / "server.log"
    with TritongwServer(directory, log, options, environment=environment) as process:
        http = Server(process, is_oracle=False).http
        told(http, "on_cpu")
        index = {entry["name"]: entry for entry in http.post("/v2/repository/index", {}).json}
    assert index["on_gpu"]["state"] == ("UNAVAILABLE" if limit == "0:0.01" else "READY")
    if limit == "0:0.01":
        assert index["on_gpu"]["reason"] == (
            "Unavailable: can not create model 'on_gpu_0_0': memory limit set for GPU 0 has "
            "exceeded, model loading is rejected."
        )
