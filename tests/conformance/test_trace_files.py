# SPDX-License-Identifier: Apache-2.0
"""What traces hold, which requests have one, and which files they are in (triton.md 7.2, 7.3)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support import repository
from support.grpc_door import GrpcDoor
from support.grpc_door import request as grpc_request
from support.grpc_door import tensor as grpc_tensor
from support.servers import Server, ServerStarter
from support.tensors import DATA_TYPES, DataType
from support.traces import WAIT_S, TracedServer, read_traces
from support.wire import add_sub_inputs, tensor
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMESTAMPS, TENSORS = ["TIMESTAMPS"], ["TENSORS"]
# In the order in which they happen; a response is complete somewhere between output and end.
EXECUTION = [
    "REQUEST_START",
    "QUEUE_START",
    "COMPUTE_START",
    "COMPUTE_INPUT_END",
    "COMPUTE_OUTPUT_START",
    "COMPUTE_END",
    "REQUEST_END",
]
HTTP_START, HTTP_END = ["HTTP_RECV_START", "HTTP_RECV_END"], ["HTTP_SEND_START", "HTTP_SEND_END"]
GRPC_START = ["GRPC_WAITREAD_START", "GRPC_WAITREAD_END"]
GRPC_END = ["GRPC_SEND_START", "GRPC_SEND_END"]
COMPLETE = "INFER_RESPONSE_COMPLETE"


@pytest.fixture(scope="module")
def started(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TracedServer]:
    models = tmp_path_factory.mktemp("models")
    repository.copy_examples(models, ["add_sub"])
    repository.write_models(models, {"commands": repository.MODELS["commands"]})
    if not starter.is_oracle:
        write_identities(models)
    path = tmp_path_factory.mktemp("traces") / "trace.json"
    options = [f"--trace-config=triton,file={path}"]
    with starter.prepare("trace_files", models, options) as process:
        yield TracedServer(Server(process, starter.is_oracle), path)


def write_identities(models: Path) -> None:
    """Write a model for each data type that needs no Python process."""
    for kind in DATA_TYPES:
        directory = models / f"identity_{kind.name.lower()}"
        (directory / "1").mkdir(parents=True)
        tensors = "".join(
            f'{way} {{ name: "{way.upper()}0" data_type: {kind.config_name} dims: [ -1 ] }}\n'
            for way in ("input", "output")
        )
        (directory / "config.pbtxt").write_text(f'backend: "identity"\n{tensors}')


@pytest.fixture
def traced(started: TracedServer) -> Iterator[TracedServer]:
    """The server with the settings it was started with."""
    yield started
    started.reset()


@pytest.fixture
def grpc_door(started: TracedServer) -> Iterator[GrpcDoor]:
    door = GrpcDoor(started.server.grpc_address)
    yield door
    door.close()


def add_sub(traced: TracedServer, **members: object) -> None:
    answer = traced.server.http.infer("add_sub", add_sub_inputs(), **members)
    assert answer.status == 200, answer.text


def assert_in_order(times: dict[str, int], names: list[str]) -> None:
    found = [times[name] for name in names]
    assert found == sorted(found), times


def test_a_request_over_http(traced: TracedServer) -> None:
    trace = traced.trace(TIMESTAMPS, lambda: add_sub(traced, id="my-id"))
    head = dict(trace.head)
    assert head.pop("id") >= 1
    assert head == {"model_name": "add_sub", "model_version": 1, "request_id": "my-id"}
    times = trace.times
    assert set(times) == {*HTTP_START, *EXECUTION, COMPLETE, *HTTP_END}
    assert_in_order(times, [*HTTP_START, *EXECUTION])
    assert_in_order(times, ["COMPUTE_OUTPUT_START", COMPLETE, *HTTP_END])
    assert trace.tensors == []


def test_a_request_over_grpc(traced: TracedServer, grpc_door: GrpcDoor) -> None:
    inputs = [
        grpc_tensor(name, "FP32", [4], fp32_contents=[1.0] * 4) for name in ("INPUT0", "INPUT1")
    ]
    call = grpc_request("add_sub", inputs)
    trace = traced.trace(TIMESTAMPS, lambda: grpc_door.infer(call))
    head = dict(trace.head)
    head.pop("id")
    # Without an id there is no member for it.
    assert head == {"model_name": "add_sub", "model_version": 1}
    times = trace.times
    assert set(times) == {*GRPC_START, *EXECUTION, COMPLETE, *GRPC_END}
    assert_in_order(times, [*GRPC_START, *EXECUTION])
    assert_in_order(times, ["COMPUTE_OUTPUT_START", COMPLETE, *GRPC_END])


def test_a_request_that_fails(traced: TracedServer) -> None:
    fail = [tensor("COMMAND", "BYTES", [1], ["fail"])]
    trace = traced.trace(TIMESTAMPS, lambda: traced.server.http.infer("commands", fail))
    assert set(trace.times) == {*HTTP_START, *EXECUTION, COMPLETE, *HTTP_END}


@pytest.mark.ours("Triton never lets go of the trace of a request that it refuses")
def test_a_request_that_is_refused(traced: TracedServer) -> None:
    wrong = add_sub_inputs(shape=[2, 2])
    trace = traced.trace(TIMESTAMPS, lambda: traced.server.http.infer("add_sub", wrong))
    assert set(HTTP_START + HTTP_END) <= set(trace.times)
    assert "COMPUTE_START" not in trace.times


@pytest.mark.ours("Triton writes the id as it is, whatever becomes of the JSON")
def test_any_id_makes_valid_json(traced: TracedServer) -> None:
    request_id = 'quote " backslash \\ line\nbreak é'
    trace = traced.trace(TIMESTAMPS, lambda: add_sub(traced, id=request_id))
    assert trace.head["request_id"] == request_id


def test_tensors(traced: TracedServer) -> None:
    trace = traced.trace(TENSORS, lambda: add_sub(traced))

    def vector(name: str, data: str) -> dict[str, str]:
        return {"name": name, "data": data, "shape": "4", "dtype": "FP32"}

    assert trace.times == {}
    assert trace.tensors == [
        ("TENSOR_QUEUE_INPUT", vector("INPUT0", "1,2,3,4")),
        ("TENSOR_QUEUE_INPUT", vector("INPUT1", "4,3,2,1")),
        ("TENSOR_BACKEND_OUTPUT", vector("OUTPUT0", "5,5,5,5")),
        ("TENSOR_BACKEND_OUTPUT", vector("OUTPUT1", "-3,-1,1,3")),
    ]


def data_as_values(kind: DataType, data: str) -> list[Any]:
    """Read what a trace says of a tensor."""
    if kind.name == "BOOL":
        return [value == "1" for value in data.split(",")]
    return list(json.loads(f"[{data}]"))


@pytest.mark.ours("Triton writes 8-bit numbers as characters, half precision not at all")
@pytest.mark.parametrize("kind", DATA_TYPES, ids=lambda kind: kind.name)
def test_tensors_of_every_type(traced: TracedServer, grpc_door: GrpcDoor, kind: DataType) -> None:
    call = grpc_request(
        f"identity_{kind.name.lower()}", [grpc_tensor("INPUT0", kind.name, [6])], [kind.raw]
    )
    trace = traced.trace(TENSORS, lambda: grpc_door.infer(call))
    (_, sent), (_, answered) = trace.tensors
    assert (sent["dtype"], sent["shape"]) == (kind.name, "6")
    assert data_as_values(kind, sent["data"]) == kind.values
    assert answered["data"] == sent["data"]


def test_both_levels_at_once(traced: TracedServer) -> None:
    trace = traced.trace([*TIMESTAMPS, *TENSORS], lambda: add_sub(traced))
    assert set(EXECUTION) <= set(trace.times)
    assert len(trace.tensors) == 4


def test_every_nth_request(traced: TracedServer) -> None:
    before = traced.numbered()
    traced.set(trace_level=TIMESTAMPS, trace_rate="3", log_frequency="1")
    for number in range(7):
        add_sub(traced, id=str(number))
    wait_until(lambda: len(traced.numbered()) == len(before) + 2, WAIT_S, "two trace files")
    ids = [
        trace.head["request_id"]
        for number in traced.numbered()[len(before) :]
        for trace in traced.traces_in(number)
    ]
    assert ids == ["2", "5"]


def test_one_model_alone(traced: TracedServer) -> None:
    before = traced.numbered()
    traced.set("add_sub", trace_level=TIMESTAMPS, trace_rate="1", log_frequency="1")
    traced.server.http.infer("commands", [tensor("COMMAND", "BYTES", [1], ["pid"])])
    add_sub(traced)
    wait_until(lambda: traced.numbered() != before, WAIT_S, "a trace file")
    (number,) = set(traced.numbered()) - set(before)
    assert [each.head["model_name"] for each in traced.traces_in(number)] == ["add_sub"]
    traced.set("add_sub", trace_level=None, trace_rate=None, log_frequency=None)


def test_the_count_ends_tracing_and_completes_a_file(traced: TracedServer) -> None:
    before = traced.numbered()
    traced.set(trace_level=TIMESTAMPS, trace_rate="1", trace_count="2")
    for _ in range(2):
        add_sub(traced)
    wait_until(lambda: traced.numbered() != before, WAIT_S, "a trace file")
    (number,) = set(traced.numbered()) - set(before)
    assert len(traced.traces_in(number)) == 2
    assert traced.server.http.get("/v2/trace/setting").json["trace_count"] == "0"


def test_a_change_completes_the_numbered_file(traced: TracedServer) -> None:
    before = traced.numbered()
    traced.set(trace_level=TIMESTAMPS, trace_rate="1", log_frequency="100")
    add_sub(traced)
    add_sub(traced)
    # The second answer may be here before its trace is over.
    assert traced.numbered() == before
    traced.set(trace_level=["OFF"])
    add_sub(traced)
    wait_until(lambda: traced.numbered() != before, WAIT_S, "a trace file")
    (number,) = set(traced.numbered()) - set(before)
    assert len(traced.traces_in(number)) in (1, 2)


def test_the_file_is_complete_when_the_server_has_ended(
    starter: ServerStarter, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    repository.copy_examples(models, ["add_sub"])
    path = tmp_path / "trace.json"
    options = [
        *("--trace-config", "level=TIMESTAMPS", "--trace-config", "rate=2"),
        *("--trace-config", f"triton,file={path}"),
    ]
    with starter.prepare("trace_exit", models, options) as process:
        traced = TracedServer(Server(process, starter.is_oracle), path)
        for _ in range(4):
            add_sub(traced)
        with pytest.raises((FileNotFoundError, json.JSONDecodeError)):
            read_traces(path)
    traces = read_traces(path)
    assert [trace.head["id"] for trace in traces] == [1, 2]
    assert [set(trace.times) for trace in traces] == [
        {*HTTP_START, *EXECUTION, COMPLETE, *HTTP_END}
    ] * 2
    assert traced.numbered() == []


def test_deprecated_options(starter: ServerStarter, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    repository.copy_examples(models, ["add_sub"])
    path = tmp_path / "trace.json"
    options = [
        *(f"--trace-file={path}", "--trace-level=TIMESTAMPS", "--trace-level=TENSORS"),
        *("--trace-rate=1", "--trace-count=2", "--trace-log-frequency=1"),
    ]
    with starter.prepare("trace_deprecated", models, options) as process:
        traced = TracedServer(Server(process, starter.is_oracle), path)
        add_sub(traced)
        wait_until(lambda: traced.numbered() == [0], WAIT_S, "a trace file")
        settings = traced.server.http.get("/v2/trace/setting").json
    assert settings == {
        "trace_level": ["TIMESTAMPS", "TENSORS"],
        "trace_rate": "1",
        "trace_count": "1",
        "log_frequency": "1",
        "trace_file": str(path),
        "trace_mode": "triton",
    }
