# SPDX-License-Identifier: Apache-2.0
"""ModelStreamInfer: final flags, errors, order, cancellation (triton.md P124, P149-P157)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from support.grpc_door import parameter, request, tensor
from support.grpc_stream import GrpcStream, is_final, summary, values
from support.repository import FLOOD, MODELS, write_models
from support.servers import Server
from support.wire import tensor as http_tensor
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from support.grpc_door import GrpcDoor
    from support.servers import ServerStarter

WAIT_S = 20
EMPTY_FINAL = "triton_enable_empty_final_response"
GRPC_ERROR = (("triton_grpc_error", "true"),)


@pytest.fixture(scope="module")
def server(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of these tests' own: the oracle's streams are not safe beside other traffic."""
    names = ["responder", "echo_int32", "echo_int32_batched"]
    models = {name: MODELS[name] for name in names}
    models["flood"] = FLOOD
    directory = write_models(tmp_path_factory.mktemp("models"), models)
    with starter.prepare("grpc_stream", directory) as process:
        yield Server(process, starter.is_oracle)


@pytest.fixture
def stream(grpc_door: GrpcDoor) -> Iterator[GrpcStream]:
    made = GrpcStream(grpc_door.channel)
    yield made
    made.call.cancel()


def echo(number: int, id: str = "") -> Any:
    """Return a request to a model that answers once."""
    data = struct.pack("<i", number)
    return request("echo_int32", [tensor("INPUT0", "INT32", [1])], [data], id=id)


def test_models_that_answer_once_answer_on_a_stream(stream: GrpcStream) -> None:
    stream.send(echo(7, "a"))
    response = stream.next()
    assert summary(response) == ("a", [7], True)
    inferred = response.infer_response
    assert (inferred.model_name, inferred.model_version) == ("echo_int32", "1")
    assert stream.rest() == []


def test_decoupled_model_answers_many_times(stream: GrpcStream) -> None:
    stream.send(values("responder", [4, 5, 6], "d"))
    assert [summary(each) for each in stream.rest()] == [
        ("d", [4], False),
        ("d", [5], False),
        ("d", [6], False),
    ]


def test_empty_final_response_on_request(stream: GrpcStream) -> None:
    stream.send(values("responder", [4], "d", **{EMPTY_FINAL: True}))
    first, last = stream.rest()
    assert summary(first) == ("d", [4], False)
    assert summary(last) == ("d", [], True)
    inferred = last.infer_response
    assert (inferred.model_name, list(inferred.outputs)) == ("responder", [])


@pytest.mark.ours("Triton 2.51 takes as much memory as the model can fill")
def test_a_model_waits_for_a_client_that_does_not_read(
    server: Server, stream: GrpcStream, tmp_path: Path
) -> None:
    count, progress = 200, tmp_path / "progress"
    progress.write_text("0")
    data = struct.pack("<i", count)
    parameters = {"path": parameter(string_param=str(progress))}
    inputs = [tensor("COUNT", "INT32", [1])]
    stream.send(request("flood", inputs, [data], parameters=parameters))
    seen = [0]

    def stands_still() -> bool:
        # Others are served meanwhile, which also gives the model time to go on if it could.
        for number in range(20):
            answer = server.http.infer(
                "echo_int32", [http_tensor("INPUT0", "INT32", [1], [number])]
            )
            assert answer.status == 200
        seen.append(int(progress.read_text() or seen[-1]))
        return 0 < seen[-1] == seen[-2] == seen[-3:][0]

    wait_until(stands_still, WAIT_S, "a model that waits")
    # 16 MiB wait in the server, the rest is on its way to the client.
    assert seen[-1] < count / 2
    sizes = [len(each.infer_response.raw_output_contents[0]) for each in stream.rest()]
    assert sizes == [1 << 20] * count


def test_no_response_at_all(stream: GrpcStream) -> None:
    stream.send(values("responder", []))
    stream.send(values("responder", [], "x", **{EMPTY_FINAL: False}))
    stream.send(values("responder", [], "y", **{EMPTY_FINAL: True}))
    assert [summary(each) for each in stream.rest()] == [("y", [], True)]


def test_final_flag_with_the_last_response(stream: GrpcStream) -> None:
    stream.send(values("responder", [4, 5], "d", mode="joined", **{EMPTY_FINAL: True}))
    assert [summary(each) for each in stream.rest()] == [("d", [4], False), ("d", [5], True)]


def test_responses_after_execute_has_returned(stream: GrpcStream, tmp_path: Path) -> None:
    go = tmp_path / "go"
    stream.send(values("responder", [1, 2], "late", mode="late", path=str(go)))
    # Executed and answered while the first request still waits.
    stream.send(values("responder", [3], "next"))
    assert summary(stream.next()) == ("next", [3], False)
    go.touch()
    assert [summary(each) for each in stream.rest()] == [("late", [1], False), ("late", [2], False)]


def test_order_is_that_of_the_requests(server: Server, stream: GrpcStream) -> None:
    numbers = list(range(100))
    for number in numbers:
        model = ["echo_int32", "echo_int32_batched"][number % 2]
        shape = [[1], [1, 1]][number % 2]
        data = struct.pack("<i", number)
        stream.send(request(model, [tensor("INPUT0", "INT32", shape)], [data], id=str(number)))
    responses = [summary(each) for each in stream.rest()]
    assert responses == [(str(number), [number], True) for number in numbers]


def test_decoupled_responses_do_not_wait_for_others(stream: GrpcStream, tmp_path: Path) -> None:
    go = tmp_path / "go"
    stream.send(values("responder", [1], "late", mode="late", path=str(go)))
    stream.send(echo(2, "once"))
    assert summary(stream.next()) == ("once", [2], True)
    go.touch()
    assert [summary(each) for each in stream.rest()] == [("late", [1], False)]


def test_half_close_waits_for_what_is_under_way(stream: GrpcStream, tmp_path: Path) -> None:
    go = tmp_path / "go"
    stream.send(values("responder", [1], "late", mode="late", path=str(go)))
    stream.close()
    go.touch()
    assert [summary(each) for each in stream.rest()] == [("late", [1], False)]


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "unknown model": (
        lambda: request("nope", [], id="bad"),
        "Request for unknown model: 'nope' is not found",
    ),
    "bad version": (
        lambda: request("echo_int32", [], id="bad", model_version="9"),
        "Request for unknown model: 'echo_int32' version 9 is not found",
    ),
    "unknown input": (
        lambda: values("echo_int32", [1], "bad"),
        "unexpected inference input 'IN' for model 'echo_int32'",
    ),
    "missing data": (
        lambda: request("echo_int32", [tensor("INPUT0", "INT32", [1])], id="bad"),
        "unable to find data for input tensor 'INPUT0' for model 'echo_int32' in request.",
    ),
    "decoupled": (
        lambda: request("responder", [tensor("IN", "INT32", [1])], id="bad"),
        "unable to find data for input tensor 'IN' for model 'responder' in request.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_request_leaves_the_stream_open(stream: GrpcStream, case: str) -> None:
    make, text = REFUSED[case]
    stream.send(echo(1, "before"))
    stream.send(make())
    stream.send(echo(2, "after"))
    first, refused, last = stream.rest()
    if first.error_message:  # a decoupled model's responses wait for nobody
        first, refused = refused, first
    assert summary(first) == ("before", [1], True)
    assert refused.error_message.startswith(text)
    inferred = refused.infer_response
    # Nothing but the id tells whose error it is.
    assert (inferred.id, inferred.model_name, is_final(refused)) == ("bad", "", None)
    assert summary(last) == ("after", [2], True)


def test_failed_request_leaves_the_stream_open(stream: GrpcStream) -> None:
    stream.send(values("responder", [1, 2], "e", mode="errors", **{EMPTY_FINAL: True}))
    first, second, last = stream.rest()
    for index, failed in enumerate([first, second]):
        assert failed.error_message == f"told to fail {index + 1}"
        inferred = failed.infer_response
        assert (inferred.id, inferred.model_name, inferred.model_version) == ("e", "responder", "")
        assert is_final(failed) is False
    assert summary(last) == ("e", [], True)


def test_model_that_raises_leaves_the_stream_open(stream: GrpcStream) -> None:
    stream.send(values("responder", [1], "r", mode="raises"))
    stream.send(echo(2, "after"))
    failed, last = sorted(stream.rest(), key=lambda each: each.infer_response.id, reverse=True)
    assert "told to raise" in failed.error_message
    assert failed.infer_response.id == "r"
    assert is_final(failed) is True
    assert summary(last) == ("after", [2], True)


@pytest.mark.parametrize("how", ["cancel", "disconnect"])
def test_cancellation_reaches_the_model(server: Server, tmp_path: Path, how: str) -> None:
    from support.grpc_door import GrpcDoor

    door = GrpcDoor(server.grpc_address)
    stream = GrpcStream(door.channel)
    noticed = tmp_path / "noticed"
    stream.send(values("responder", [1], mode="until_cancelled", path=str(noticed)))
    wait_until(noticed.with_suffix(".running").exists, WAIT_S, "execution of the request")
    if how == "cancel":
        assert stream.call.cancel()
    door.close()
    wait_until(noticed.exists, WAIT_S, "news of the cancellation")


def test_unknown_parameter_of_triton_is_refused(stream: GrpcStream) -> None:
    stream.send(values("responder", [1], "p", triton_final_response=True))
    (refused,) = stream.rest()
    assert refused.error_message.startswith(
        "parameter keys starting with 'triton_' are reserved for Triton usage."
    )


def test_unary_call_refuses_decoupled_models(grpc_door: GrpcDoor) -> None:
    refusal = grpc_door.refusal("ModelInfer", values("responder", [1]))
    text = "ModelInfer RPC doesn't support models with decoupled transaction policy"
    assert refusal == ("UNIMPLEMENTED", text)


def test_grpc_error_must_be_asked_for(grpc_door: GrpcDoor) -> None:
    stream = GrpcStream(grpc_door.channel, (("triton_grpc_error", "false"),))
    stream.send(values("responder", [2], "bad", mode="errors"))
    (failed,) = stream.rest()
    assert failed.error_message == "told to fail 2"


@pytest.mark.ours("2.51 does not survive the end of a stream while its model goes on")
def test_grpc_error_ends_the_stream(grpc_door: GrpcDoor) -> None:
    stream = GrpcStream(grpc_door.channel, GRPC_ERROR)
    stream.send(values("responder", [1], "ok"))
    assert summary(stream.next()) == ("ok", [1], False)
    stream.send(values("responder", [2], "bad", mode="errors"))
    assert stream.failure() == ("NOT_FOUND", "told to fail 2")


@pytest.mark.ours("2.51 answers requests that it refuses in the stream even then")
def test_grpc_error_ends_the_stream_for_refused_requests(grpc_door: GrpcDoor) -> None:
    stream = GrpcStream(grpc_door.channel, GRPC_ERROR)
    stream.send(request("nope", [], id="bad"))
    code, text = stream.failure()
    assert (code, text.split(":")[0]) == ("NOT_FOUND", "Request for unknown model")
