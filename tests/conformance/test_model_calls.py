# SPDX-License-Identifier: Apache-2.0
"""Models that call other models, by ``exec`` and ``async_exec`` (Y030, Y042, Y043, Y060-Y069)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.calling import ASYNC_CALLER, CALLED, CALLER, HOSTS, INCREMENT, Caller, hosted
from support.repository import write_models
from support.servers import Server, ServerStarter
from support.traces import WAIT_S, TracedServer
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOT_READY = (
    "Model {0} - Error when running inference: Failed for execute the inference request. Model "
    "'{0}' is not ready."
)


@pytest.fixture(scope="module")
def calling_server(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server with callers under each host, and models to call."""
    models = dict(CALLED)
    for host in HOSTS:
        models[f"caller_{host}"] = hosted(CALLER, host)
        models[f"async_caller_{host}"] = hosted(ASYNC_CALLER, host)
    models["increment_in_process"] = hosted(INCREMENT, "in_process")
    directory = write_models(tmp_path_factory.mktemp("models"), models)
    with starter.prepare("calling", directory) as process:
        yield Server(process, starter.is_oracle)


@pytest.fixture(params=HOSTS)
def caller(calling_server: Server, request: pytest.FixtureRequest) -> Caller:
    return Caller(calling_server.http, f"caller_{request.param}")


@pytest.fixture(params=HOSTS)
def async_caller(calling_server: Server, request: pytest.FixtureRequest) -> Caller:
    return Caller(calling_server.http, f"async_caller_{request.param}")


def one(value: float) -> dict[str, Any]:
    return {"outputs": {"OUT": [value]}}


def test_a_call_is_answered_and_a_request_can_be_sent_again(caller: Caller) -> None:
    assert caller.hears("call", {}) == one(2.0)
    assert caller.hears("call", {"model_version": 1}) == one(2.0)
    assert caller.hears("twice") == [one(2.0), one(2.0)]


@pytest.mark.ours("2.51 has no Python model within the server")
def test_a_model_in_process_is_called(caller: Caller) -> None:
    assert caller.hears("call", {"model": "increment_in_process"}) == one(2.0)


def test_a_pipeline_of_three_steps(caller: Caller) -> None:
    assert caller.hears("pipeline", 1.0) == [4.0]


def test_the_value_decides_which_model_is_called(caller: Caller) -> None:
    assert caller.hears("route", 3.0) == one(4.0)
    assert caller.hears("route", 30.0) == {"outputs": {"OUT": [[30.0]]}}


def test_what_the_called_model_sees(caller: Caller) -> None:
    options = {
        "value": -4.0,
        "requested_output_names": ["TOLD", "OUT", "OUT"],
        "request_id": "seven",
        "correlation_id": 5,
        "flags": 1,
        "timeout": 90_000_000,
        "parameters": {"i": 1, "s": "x", "b": True},
    }
    heard = caller.hears("call_told", options)
    assert heard == {
        "id": "seven",
        "correlation_id": 5,
        "flags": 1,
        "timeout": 90_000_000,
        "parameters": {"i": 1, "s": "x", "b": True},
        "outputs": ["OUT", "TOLD"],
    }
    options = {"value": -4.0, "requested_output_names": [], "correlation_id": "sequence"}
    heard = caller.hears("call_told", options)
    assert (heard["correlation_id"], heard["outputs"]) == ("sequence", ["OUT", "TOLD"])
    assert (heard["id"], heard["flags"], heard["timeout"]) == ("", 0, 0)


def test_calls_outside_of_execute_are_refused(caller: Caller) -> None:
    assert caller.hears("seen_in_initialize") == {
        "initialize": "BLS is only supported during the 'execute' function."
    }


@pytest.mark.parametrize("options", [{"model": "nobody"}, {"model_version": 7}])
def test_a_model_that_is_not_there(caller: Caller, options: dict[str, Any]) -> None:
    name = options.get("model", "increment")
    assert caller.hears("call", options) == {"error": NOT_READY.format(name)}


@pytest.mark.parametrize("version", [0, -5])
def test_a_version_that_cannot_be(caller: Caller, version: int) -> None:
    heard = caller.hears("call", {"model_version": version})
    assert heard == {"error": NOT_READY.format("increment")}


PREFIX = "Model increment - Error when running inference: "


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"requested_output_names": ["NO"]},
            "unexpected inference output 'NO' for model 'increment'",
        ),
        ({"inputs": "NO"}, "unexpected inference input 'NO' for model 'increment'"),
        (
            {"inputs": []},
            "[request id: <id_unknown>] expected 1 inputs but got 0 inputs for model 'increment'. "
            "Got input(s) [], but missing required input(s) ['IN']. Please provide all required "
            "input(s).",
        ),
    ],
)
def test_requests_that_the_model_does_not_take(
    caller: Caller, options: dict[str, Any], text: str
) -> None:
    assert caller.hears("call", options) == {"error": PREFIX + text}


def test_tensors_that_the_model_does_not_take(caller: Caller) -> None:
    assert caller.hears("wrong_type") == {
        "error": f"{PREFIX}[request id: <id_unknown>] inference input 'IN' data-type is 'INT32', "
        "but model 'increment' expects 'FP32'"
    }


def test_the_error_of_the_called_model_is_the_response(caller: Caller) -> None:
    assert caller.hears("call", {"value": -1.0}) == {"error": "told to refuse"}
    text = caller.hears("call", {"value": -2.0})["error"]
    assert text.startswith("Failed to process the request(s) for model 'increment_0"), (
        "in the words of the instance that raised"
    )
    assert "message: ValueError: told to raise" in text
    assert caller.hears("call", {}) == one(2.0)


@pytest.mark.parametrize("missing", ["model_name", "inputs", "requested_output_names"])
def test_what_a_request_must_have(caller: Caller, missing: str) -> None:
    options = {"model_name": "m", "inputs": [], "requested_output_names": []}
    del options[missing]
    assert caller.hears("make", options).startswith("TypeError: ")


def test_empty_names_and_tensors_are_refused_at_once(caller: Caller) -> None:
    options = {"model_name": "m", "inputs": [], "requested_output_names": [""]}
    assert caller.hears("make", options) == (
        "TritonModelException: Requested output name for request with id '' and model name 'm' "
        "should not be empty."
    )
    assert caller.hears("make_without_tensor") == (
        "TritonModelException: Input tensor for request with id '' and model name 'increment' "
        "should not be empty."
    )


def test_tensors_of_every_size_and_order(caller: Caller) -> None:
    assert caller.hears("transposed") == {"outputs": {"OUT": [[0, 3], [1, 4], [2, 5]]}}
    assert caller.hears("large", 1_000)
    assert caller.hears("large", 3_000_000)
    assert caller.hears("texts", 10)
    assert caller.hears("texts", 20_000)


def test_threads_of_the_model_call_side_by_side(caller: Caller) -> None:
    assert caller.hears("from_threads", 8) == [float(index + 1) for index in range(8)]


def responses(count: int) -> list[dict[str, Any]]:
    return [*({"outputs": {"OUT": [index]}} for index in range(count)), {"outputs": {}}]


def test_a_decoupled_model_gives_an_iterator(caller: Caller) -> None:
    assert caller.hears("stream", 3) == responses(3)
    assert caller.hears("stream", 0) == responses(0), "the last says that nothing follows"
    assert caller.hears("stream_of_one") == [one(2.0)]
    assert caller.hears("stream_of_nobody") == [{"error": NOT_READY.format("nobody")}]


def test_a_decoupled_model_must_be_called_as_such(caller: Caller) -> None:
    assert caller.hears("stream_undeclared") == {
        "error": "Model repeat - Error when running inference: Model repeat is using the "
        "decoupled. The current BLS request call doesn't support models using the decoupled "
        "transaction policy. Please use 'decoupled=True' argument to the 'exec' or 'async_exec' "
        "calls for decoupled models.'"
    }


def test_responses_can_be_iterated_over_again(caller: Caller) -> None:
    first, rest, again, end = caller.hears("stream_again", 2)
    assert [first, *rest] == responses(2)
    assert again == responses(2)
    assert end == "Iteration is done for the responses."


def test_more_responses_than_any_ring_holds(caller: Caller) -> None:
    assert len(caller.hears("stream", 6_000)) == 6_001
    assert caller.hears("stream_large", 300) == [300, 300 * 20_000]


def test_two_streams_side_by_side(caller: Caller) -> None:
    heard = caller.hears("stream_twice_at_once", 100)
    assert heard == [[each["outputs"]] * 2 for each in responses(100)]


def test_responses_that_nobody_reads_hold_nobody_up(caller: Caller) -> None:
    assert caller.hears("stream_dropped") == {"outputs": {"OUT": [0]}}


@pytest.mark.ours("the responses of 2.51 cannot be cancelled")
def test_a_call_is_cancelled(caller: Caller, async_caller: Caller) -> None:
    first, last = caller.hears("stream_cancelled")
    assert (first, last) == ({"outputs": {"OUT": [0]}}, {"error": "given up"})
    assert async_caller.hears("cancelled") == "given up"


def test_awaiting_needs_an_event_loop(caller: Caller) -> None:
    assert caller.hears("await_without_loop") == "RuntimeError: no running event loop"


def test_calls_are_awaited_together(async_caller: Caller) -> None:
    assert async_caller.hears("gather", 2) == [[1.0], [2.0]]
    assert async_caller.hears("gather", 100) == [[float(index + 1)] for index in range(100)]


def test_what_is_awaited(async_caller: Caller) -> None:
    assert async_caller.hears("kinds") == [True, [2.0], "ResponseIterator"]
    assert async_caller.hears("stream", 2) == [[0], [1], None]
    assert async_caller.hears("nobody") == NOT_READY.format("nobody")
    assert async_caller.hears("blocking") == [2.0]


@pytest.mark.ours("the responses of 2.51 cannot be awaited one by one")
def test_responses_are_awaited_one_by_one(async_caller: Caller) -> None:
    assert async_caller.hears("stream_async", 3) == [[0], [1], [2], None]
    assert async_caller.hears("streams_at_once", 50) == [[*([i] for i in range(50)), None]] * 2


def test_readiness_of_models(caller: Caller) -> None:
    assert caller.hears("is_ready", "increment") is True
    assert caller.hears("is_ready", "increment", "1") is True
    assert caller.hears("is_ready", "increment", "9") is False
    assert caller.hears("is_ready", "nobody") is False


FREED = "2.51 shows the text of its error after the memory was freed"


@pytest.mark.ours(FREED)
def test_a_version_is_a_number(caller: Caller) -> None:
    heard = caller.hears("is_ready", "increment", "abc")
    assert heard == (
        "TritonModelException: Failed to check model readiness: Failed to process the request for "
        f"model '{instance(caller)}', message: failed to get model version from specified version "
        "string 'abc' (details: stol), version should be an integral value > 0"
    )


@pytest.mark.ours(FREED)
def test_models_are_not_loaded_without_explicit_control(caller: Caller) -> None:
    message = (
        f"Failed to process the request for model '{instance(caller)}', message: explicit model "
        "load / unload is not allowed if polling is enabled"
    )
    for command, what in [("load", "load"), ("unload", "unload")]:
        heard = caller.hears(command, "increment")
        assert heard == f"TritonModelException: Failed to {what} model: {message}"


def instance(caller: Caller) -> str:
    return f"{caller.name}_0"


def test_memory_is_preferred(calling_server: Server, caller: Caller) -> None:
    kinds = ["TRITONSERVER_MEMORY_CPU"]
    if not calling_server.is_oracle:
        # As a Triton that was built without GPUs.
        kinds.append("TRITONSERVER_MEMORY_GPU")
    for kind in kinds:
        assert caller.hears("with_preferred_memory", kind) == [one(2.0), True]


def test_the_trace_of_a_call_is_a_child(starter: ServerStarter, tmp_path: Path) -> None:
    models = {f"caller_{host}": hosted(CALLER, host) for host in HOSTS}
    directory = write_models(tmp_path / "models", {**models, "increment": INCREMENT})
    options = [f"--trace-config=triton,file={tmp_path / 'trace.json'}"]
    with starter.prepare("traced_calls", directory, options) as process:
        traced = TracedServer(Server(process, starter.is_oracle), tmp_path / "trace.json")
        traced.set(trace_level=["TIMESTAMPS"], trace_rate="1", log_frequency="1")
        for name in models:
            heads = heads_of_one_call(traced, Caller(traced.server.http, name))
            parent, child = sorted(heads, key=lambda head: str(head["model_name"]))
            assert (parent["model_name"], child["model_name"]) == (name, "increment")
            assert child["parent_id"] == parent["id"]


def heads_of_one_call(traced: TracedServer, caller: Caller) -> list[dict[str, Any]]:
    before = set(traced.numbered())
    assert caller.hears("traced") == one(2.0)
    wait_until(lambda: set(traced.numbered()) != before, WAIT_S, "a trace file")
    numbers = set(traced.numbered()) - before
    return [trace.head for number in numbers for trace in traced.traces_in(number)]


def test_statistics_count_calls_as_requests(calling_server: Server, caller: Caller) -> None:
    def count() -> int:
        answer = calling_server.http.get("/v2/models/increment/stats")
        return int(answer.json["model_stats"][0]["inference_stats"]["success"]["count"])

    before = count()
    caller.hears("pipeline", 1.0)
    assert count() == before + 3
