# SPDX-License-Identifier: Apache-2.0
"""Index, load and unload through the public clients (R024, R026, R030-R050, P015-P017, P126)."""

from __future__ import annotations

import base64
import json
import shutil
from typing import TYPE_CHECKING, Any, cast

import pytest
import tritonclient.grpc
import tritonclient.http
from support.gate import Asker, Gate
from support.grpc_door import GrpcDoor
from support.repository import CODE, PythonModel, write_models
from support.servers import Server, ServerStarter
from support.wire import tensor
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import InferenceServerException
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IO = ({"INPUT0": "TYPE_FP32 [ -1 ]"}, {"OUTPUT0": "TYPE_FP32 [ -1 ]"})
CONFIG = {
    "backend": "python",
    "input": [{"name": "INPUT0", "data_type": "TYPE_FP32", "dims": [-1]}],
    "output": [{"name": "OUTPUT0", "data_type": "TYPE_FP32", "dims": [-1]}],
}
ECHO_CODE = (CODE / "echo.py").read_bytes()
DOUBLING_CODE = ECHO_CODE.replace(b"tensor.as_numpy()", b"tensor.as_numpy() * 2")
BROKEN_CODE = b"def (\n"
WAIT_S = 20

# Never-loaded models of the repository, for the tests that only look at one of them.
MODELS = {
    "echo": PythonModel("echo", *IO),
    "reloaded": PythonModel("echo", *IO),
    "overridden": PythonModel("echo", *IO),
    "refused": PythonModel("echo", *IO),
    "by_config": PythonModel("echo", *IO),
    "broken": PythonModel("fails_to_initialize", *IO),
    "bad_config": PythonModel("echo", *IO, extra="no_such_field: 1"),
    "no_version": PythonModel("echo", *IO, versions=()),
    "zero_dim": PythonModel("echo", {"INPUT0": "TYPE_FP32 [ 0 ]"}, IO[1]),
    "two_versions": PythonModel("echo", *IO, "version_policy { all { } }", ("1", "2")),
    "process": PythonModel(
        "process", {"INPUT0": "TYPE_FP32 [ 1 ]"}, {"OUTPUT0": "TYPE_INT32 [ 1 ]"}
    ),
}


class Repository:
    """The repository that the server serves, and the two clients that control it."""

    def __init__(self, server: Server, directory: Path, gate: Gate) -> None:
        self.server = server
        self.directory = directory
        self.gate = gate
        self.http = tritonclient.http.InferenceServerClient(server.process.endpoints.http)
        self.grpc = tritonclient.grpc.InferenceServerClient(server.grpc_address)

    def client(self, door: str) -> Any:
        """Return the client of this door."""
        return self.http if door == "http" else self.grpc

    def states(self, model: str) -> dict[str, tuple[str, str]]:
        """Return state and reason of each version that the index has of `model`."""
        index = cast("list[dict[str, str]]", self.http.get_model_repository_index())
        return {
            entry.get("version", ""): (entry.get("state", ""), entry.get("reason", ""))
            for entry in index
            if entry["name"] == model
        }

    def post(self, model: str, action: str, parameters: dict[str, object] | None = None) -> Any:
        """Load or unload by raw HTTP."""
        body = {"parameters": parameters} if parameters is not None else {}
        return self.server.http.post(f"/v2/repository/models/{model}/{action}", body)

    def infer(self, model: str) -> list[float]:
        """Return the answer of `model` to 1 and 2."""
        answer = self.server.http.infer(model, [tensor("INPUT0", "FP32", [2], [1.0, 2.0])])
        assert answer.status == 200, answer.text
        values: list[float] = answer.json["outputs"][0]["data"]
        return values

    def write_code(self, model: str, code: bytes, version: str = "1") -> None:
        """Replace the code of `model` by a new file."""
        target = self.directory / model / version / "model.py"
        fresh = target.with_name("fresh")
        fresh.write_bytes(code)
        fresh.replace(target)

    def wait_for(self, model: str, states: dict[str, tuple[str, str]]) -> None:
        """Wait until the index has exactly this of `model`."""
        wait_until(lambda: self.states(model) == states, WAIT_S, f"{model}: {states}")


@pytest.fixture(scope="module")
def repository(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Repository]:
    directory = write_models(tmp_path_factory.mktemp("models"), MODELS)
    gate = Gate(tmp_path_factory.mktemp("gate"))
    gate.model.write(directory / "gate")
    process = starter.prepare("explicit", directory, ["--model-control-mode=explicit"])
    with process:
        yield Repository(Server(process, starter.is_oracle), directory, gate)


READY = {"1": ("READY", "")}
UNLOADED = {"1": ("UNAVAILABLE", "unloaded")}
NEVER_LOADED = {"": ("", "")}


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_load_and_unload_through_the_client(repository: Repository, door: str) -> None:
    client = repository.client(door)
    client.load_model("echo")
    assert repository.states("echo") == READY
    assert client.is_model_ready("echo")
    assert repository.infer("echo") == [1.0, 2.0]
    series = 'nv_inference_request_success{model="echo",version="1"}'
    assert series in repository.server.metrics.get("/metrics").text
    client.load_model("echo")  # changes nothing
    client.unload_model("echo", unload_dependents=door == "grpc")
    assert not client.is_model_ready("echo")
    repository.wait_for("echo", UNLOADED)
    answer = repository.server.http.get("/v2/models/echo")
    assert (answer.status, answer.error) == (
        404,
        "Request for unknown model: 'echo' has no available versions",
    )
    answer = repository.server.http.get("/v2/models/echo/versions/1")
    assert answer.status == 503
    answer = repository.server.http.get("/v2/models/echo/stats")
    assert answer.error == "requested model 'echo' is not available"
    # Triton 2.51 keeps those of failures.
    gone = repository.server.choose('model="echo"', series)
    metrics = repository.server.metrics
    wait_until(lambda: gone not in metrics.get("/metrics").text, WAIT_S, "end of the series")


def test_success_has_no_body(repository: Repository) -> None:
    for action in ("load", "unload"):
        answer = repository.post("echo", action)
        assert (answer.status, answer.body) == (200, b"")
    repository.wait_for("echo", UNLOADED)


def test_index(repository: Repository) -> None:
    assert repository.states("bad_config") == NEVER_LOADED
    repository.http.load_model("echo")
    http = repository.server.http
    index = http.post("/v2/repository/index", b"").json
    assert [entry["name"] for entry in index] == sorted(entry["name"] for entry in index)
    assert {"name": "echo", "version": "1", "state": "READY"} in index
    assert {"name": "bad_config"} in index
    ready = http.post("/v2/repository/index", {"ready": True}).json
    assert ready
    assert all(entry["state"] == "READY" for entry in ready)
    # Triton ignores which repository is asked for over HTTP.
    assert http.post("/v2/repository/any/index", {"ready": True}).json == ready
    over_grpc = repository.grpc.get_model_repository_index(as_json=True)["models"]
    assert {"name": "echo", "version": "1", "state": "READY"} in over_grpc
    assert {"name": "bad_config"} in over_grpc
    repository.http.unload_model("echo")
    repository.wait_for("echo", UNLOADED)


def test_bodies_that_are_no_json(repository: Repository) -> None:
    text = "failed to parse the request JSON buffer: Missing a name for object member. at 1"
    for path in ("index", "models/echo/load"):
        answer = repository.server.http.post(f"/v2/repository/{path}", b"{")
        assert (answer.status, answer.error) == (500, text)
    answer = repository.server.http.post("/v2/repository/index", {"ready": 1})
    assert (answer.status, answer.error) == (
        500,
        "attempt to access JSON non-boolean as boolean",
    )
    answer = repository.server.http.post(
        "/v2/repository/models/echo/load", {"parameters": [], "other": 1}
    )
    assert (answer.status, answer.error) == (500, "attempt to get members for non-object")


LOAD_FAILURES = {
    "nosuch": (500, "failed to load 'nosuch', failed to poll from model repository"),
    "no_version": (
        400,
        "load failed for model 'no_version': at least one version must be available under the "
        "version policy of model 'no_version'\n",
    ),
    "zero_dim": (
        400,
        "load failed for model 'zero_dim': version 1 is at UNAVAILABLE state: Invalid argument: "
        "model input 'INPUT0' dimension must be integer >= 1, or -1 to indicate a variable-size "
        "dimension for zero_dim;\n",
    ),
}


@pytest.mark.parametrize(("model", "expected"), LOAD_FAILURES.items())
def test_load_failures(repository: Repository, model: str, expected: tuple[int, str]) -> None:
    answer = repository.post(model, "load")
    assert (answer.status, answer.error) == expected
    with pytest.raises(InferenceServerException) as failure:
        repository.grpc.load_model(model)
    assert failure.value.message() == expected[1]
    code = "StatusCode.INTERNAL" if expected[0] == 500 else "StatusCode.INVALID_ARGUMENT"
    assert failure.value.status() == code


def test_configuration_that_cannot_be_read(repository: Repository) -> None:
    answer = repository.post("bad_config", "load")
    text = "failed to load 'bad_config', failed to poll from model repository"
    assert answer.status == 500
    # Ours goes on with the reason.
    assert answer.error.partition(": ")[0] == text
    assert "no_such_field" in repository.server.choose(answer.error, "no_such_field")
    assert repository.states("bad_config") == NEVER_LOADED


def test_model_that_cannot_be_initialised(repository: Repository) -> None:
    answer = repository.post("broken", "load")
    assert answer.status == 400
    assert answer.error.startswith(
        "load failed for model 'broken': version 1 is at UNAVAILABLE state: Internal: "
    )
    assert "told to fail at initialization" in answer.error
    assert answer.error.endswith(";\n")
    ((state, reason),) = repository.states("broken").values()
    assert state == "UNAVAILABLE"
    assert reason.startswith("Internal: ")
    assert repository.server.http.get("/v2/models/broken/ready").status == 400
    shutil.rmtree(repository.directory / "broken")
    MODELS["echo"].write(repository.directory / "broken")
    repository.http.load_model("broken")
    assert repository.states("broken") == READY
    repository.http.unload_model("broken")


def test_failed_reload_leaves_the_old_version(repository: Repository) -> None:
    repository.http.load_model("reloaded")
    for _ in range(2):
        repository.write_code("reloaded", BROKEN_CODE)
        answer = repository.post("reloaded", "load")
        assert answer.status == 400
        assert "SyntaxError" in answer.error
        assert repository.states("reloaded") == READY
        assert repository.infer("reloaded") == [1.0, 2.0]
    config = repository.directory / "reloaded" / "config.pbtxt"
    text = config.read_text()
    config.write_text(text + "no_such_field: 1\n")
    assert repository.post("reloaded", "load").status == 500
    assert repository.infer("reloaded") == [1.0, 2.0]
    config.write_text(text)
    repository.write_code("reloaded", DOUBLING_CODE)
    repository.http.load_model("reloaded")
    assert repository.infer("reloaded") == [2.0, 4.0]
    repository.http.unload_model("reloaded")


def test_statistics_begin_anew_with_a_reload(repository: Repository) -> None:
    repository.http.load_model("reloaded")
    repository.infer("reloaded")
    for expected in (1, 0):
        path = "/v2/models/reloaded/stats"
        assert (
            repository.server.http.get(path).json["model_stats"][0]["inference_count"] == expected
        )
        repository.write_code("reloaded", ECHO_CODE)
        repository.http.load_model("reloaded")
    repository.http.unload_model("reloaded")


def test_versions_that_go(repository: Repository) -> None:
    repository.http.load_model("two_versions")
    assert repository.states("two_versions") == {"1": ("READY", ""), "2": ("READY", "")}
    shutil.rmtree(repository.directory / "two_versions" / "1")
    repository.http.load_model("two_versions")
    repository.wait_for("two_versions", {"1": ("UNAVAILABLE", "unloaded"), "2": ("READY", "")})
    repository.http.unload_model("two_versions")


def test_unloading_answers_what_is_under_way(repository: Repository) -> None:
    repository.http.load_model("gate")
    asker = Asker(repository.server)
    repository.gate.wait_for_execution()
    repository.http.unload_model("gate")
    assert repository.states("gate") == {"1": ("UNLOADING", "")}
    refused = repository.server.http.infer("gate", [tensor("INPUT0", "FP32", [1], [1.0])])
    assert refused.status == 404
    assert not asker.has_answer()
    repository.gate.open()
    assert asker.answer(WAIT_S).status == 200
    repository.wait_for("gate", UNLOADED)


def test_unknown_models_can_be_unloaded(repository: Repository) -> None:
    repository.http.unload_model("nosuch")
    repository.grpc.unload_model("nosuch")
    repository.grpc.unload_model("")


@pytest.mark.ours("Triton 2.51 takes such names for paths")
@pytest.mark.parametrize("name", ["..", "%2e%2e%2fx", "a%2Fb", "%20", "x%00", "..%5Cx"])
def test_names_that_are_no_names(repository: Repository, name: str) -> None:
    answer = repository.post(name, "load")
    assert answer.status == 400
    assert "failed to load" in answer.error
    assert repository.post(name, "unload").status == 200


def test_one_repository_cannot_be_named(repository: Repository) -> None:
    text = "'repository_name' specification is not supported"
    for action in ("load", "unload"):
        path = f"/v2/repository/main/models/echo/{action}"
        answer = repository.server.http.post(path, b"")
        assert (answer.status, answer.error) == (501, text)
    door = GrpcDoor(repository.server.grpc_address)
    requests = {
        "RepositoryModelLoad": pb.RepositoryModelLoadRequest(repository_name="main"),
        "RepositoryModelUnload": pb.RepositoryModelUnloadRequest(repository_name="main"),
        "RepositoryIndex": pb.RepositoryIndexRequest(repository_name="main"),
    }
    for method, request in requests.items():
        assert door.refusal(method, request) == ("UNIMPLEMENTED", text)
    door.close()


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_configuration_of_a_request(repository: Repository, door: str) -> None:
    client = repository.client(door)
    config = json.dumps({**CONFIG, "max_batch_size": 4})
    client.load_model("by_config", config=config)
    loaded = repository.http.get_model_config("by_config")
    assert loaded["max_batch_size"] == 4
    client.unload_model("by_config")
    client.load_model("by_config")
    assert repository.http.get_model_config("by_config")["max_batch_size"] == 0
    client.unload_model("by_config")


@pytest.mark.ours("Triton 2.51 keeps what a request brought if no file has changed")
def test_plain_load_returns_to_the_repository(repository: Repository) -> None:
    config = json.dumps({**CONFIG, "max_batch_size": 4})
    repository.http.load_model("by_config", config=config)
    repository.http.load_model("by_config")
    assert repository.http.get_model_config("by_config")["max_batch_size"] == 0
    repository.http.unload_model("by_config")


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_files_of_a_request(repository: Repository, door: str) -> None:
    client = repository.client(door)
    client.load_model("overridden")
    # Whole versions come from the request: version 1 of the repository is not among them.
    client.load_model(
        "overridden", config=json.dumps(CONFIG), files={"file:3/model.py": DOUBLING_CODE}
    )
    assert repository.states("overridden")["3"] == ("READY", "")
    assert repository.states("overridden")["1"] != ("READY", "")
    assert repository.infer("overridden") == [2.0, 4.0]
    client.load_model("overridden")
    assert repository.states("overridden")["1"] == ("READY", "")
    assert repository.infer("overridden") == [1.0, 2.0]
    client.unload_model("overridden")


def test_model_that_no_repository_has(repository: Repository) -> None:
    files = {"file:1/model.py": ECHO_CODE, "file:1/data/note.txt": b"note"}
    repository.http.load_model("sent", config=json.dumps(CONFIG), files=files)
    assert repository.infer("sent") == [1.0, 2.0]
    assert repository.post("sent", "load").status == 500
    repository.http.unload_model("sent")


FILE = {"file:1/model.py": base64.b64encode(ECHO_CODE).decode()}
NOT_A_STRING = "attempt to access JSON non-string as string"
OURS = pytest.mark.ours("Triton 2.51 has another text, or takes it")
REFUSED_PARAMETERS = [
    pytest.param(
        {"other": "x"}, 500, "unexpected error on creating Triton parameter", id="unknown"
    ),
    pytest.param({"config": 1}, 500, NOT_A_STRING, id="config no string"),
    pytest.param({"file:1/model.py": 1}, 500, NOT_A_STRING, id="file no string"),
    pytest.param(
        FILE,
        400,
        "Load parameter 'config' must be specified for model file override",
        id="file without config",
        marks=OURS,
    ),
    pytest.param(
        {"config": "{"}, 400, "Invalid config override: ", id="config no JSON", marks=OURS
    ),
    pytest.param(
        {"config": '{"no_such_field": 1}'},
        400,
        "Invalid config override: ",
        id="unknown field",
        marks=OURS,
    ),
    *(
        pytest.param(
            {"config": json.dumps(CONFIG), f"file:{path}": FILE["file:1/model.py"]},
            400,
            "model file override path",
            id=path,
            marks=OURS,
        )
        for path in ["../x", "1/../../x", "/tmp/x", "1/", "", "1/a\u0000b"]
    ),
    pytest.param(
        {"config": json.dumps(CONFIG), "file:1/model.py": "no base64!"},
        400,
        "load parameter 'file:1/model.py' is not valid base64",
        id="no base64",
        marks=OURS,
    ),
]


@pytest.mark.parametrize(("parameters", "status", "text"), REFUSED_PARAMETERS)
def test_load_parameters_that_are_refused(
    repository: Repository, parameters: dict[str, object], status: int, text: str
) -> None:
    answer = repository.post("refused", "load", parameters)
    assert answer.status == status
    assert answer.error.startswith(text)
    assert repository.states("refused") == NEVER_LOADED


def test_grpc_load_parameters_that_are_refused(repository: Repository) -> None:
    cases = {
        "other": ("string_param", "x", "unrecognized load parameter 'other'."),
        "config": (
            "bool_param",
            True,
            "invalid value type for load parameter 'config', expected string_param.",
        ),
        "file:1/model.py": (
            "string_param",
            "x",
            "invalid value type for load parameter 'file:1/model.py', expected bytes_param.",
        ),
    }
    door = GrpcDoor(repository.server.grpc_address)
    for name, (field, value, text) in cases.items():
        parameters = {name: pb.ModelRepositoryParameter(**{field: value})}
        request = pb.RepositoryModelLoadRequest(model_name="refused", parameters=parameters)
        refusal = door.refusal("RepositoryModelLoad", request)
        assert refusal == ("INVALID_ARGUMENT", text)
    parameters = {"unload_dependents": pb.ModelRepositoryParameter(string_param="x")}
    unload = pb.RepositoryModelUnloadRequest(model_name="refused", parameters=parameters)
    text = "invalid value type for 'unload_dependents' parameter, expected bool_param."
    assert door.refusal("RepositoryModelUnload", unload) == ("INVALID_ARGUMENT", text)
    door.close()


@pytest.mark.ours("2.51 does not look at the body of an unload request")
def test_unload_over_http_checks_its_parameters(repository: Repository) -> None:
    body = {"parameters": {"unload_dependents": 1}}
    answer = repository.server.http.post("/v2/repository/models/echo/unload", body)
    text = "attempt to access JSON non-boolean as boolean"
    assert (answer.status, answer.error) == (500, text)


def process_id(repository: Repository) -> int:
    answer = repository.server.http.infer("process", [tensor("INPUT0", "FP32", [1], [1.0])])
    pid: int = answer.json["outputs"][0]["data"][0]
    return pid


def set_instances(repository: Repository, count: int) -> None:
    config = repository.directory / "process" / "config.pbtxt"
    config.write_text(
        MODELS["process"].config() + f"instance_group {{ kind: KIND_CPU count: {count} }}\n"
    )
    repository.http.load_model("process")


def test_change_of_instances_keeps_processes(repository: Repository) -> None:
    set_instances(repository, 1)
    first = process_id(repository)
    # Of three some one stays; with us the one that was there first.
    for count in (3, 1):
        set_instances(repository, count)
        groups = repository.http.get_model_config("process")["instance_group"]
        assert [group["count"] for group in groups] == [count]
    (left,) = {process_id(repository) for _ in range(3)}
    assert left == first or repository.server.is_oracle
    statistics = repository.http.get_inference_statistics("process")["model_stats"][0]
    # 2.51 does not count what an instance did that is gone.
    counted = statistics["inference_stats"]["success"]["count"]
    assert counted == repository.server.choose(current=4, triton_2_51=3)
    # Any other change starts anew.
    repository.write_code("process", (CODE / "process.py").read_bytes())
    repository.http.load_model("process")
    assert process_id(repository) != first
    repository.http.unload_model("process")


@pytest.fixture
def uncontrolled(starter: ServerStarter, tmp_path: Path) -> Iterator[Server]:
    """A server in the default mode, of one model: Triton takes a minute for the shared ones."""
    process = starter.prepare("uncontrolled", write_models(tmp_path, {"echo": MODELS["echo"]}))
    with process:
        yield Server(process, starter.is_oracle)


def test_other_modes_refuse(uncontrolled: Server) -> None:
    server = uncontrolled
    text = "explicit model load / unload is not allowed if polling is enabled"
    for model in ("echo", "nosuch"):
        for action in ("load", "unload"):
            answer = server.http.post(f"/v2/repository/models/{model}/{action}", b"")
            assert (answer.status, answer.error) == (503, text)
    door = GrpcDoor(server.grpc_address)
    requests = {
        "RepositoryModelLoad": pb.RepositoryModelLoadRequest(model_name="echo"),
        "RepositoryModelUnload": pb.RepositoryModelUnloadRequest(model_name="echo"),
    }
    for method, request in requests.items():
        assert door.refusal(method, request) == ("UNAVAILABLE", text)
    door.close()
