# SPDX-License-Identifier: Apache-2.0
"""Traces that go to a collector (T020-T022, T031-T036, P099)."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from support import repository
from support.grpc_door import GrpcDoor
from support.grpc_door import request as grpc_request
from support.grpc_door import tensor as grpc_tensor
from support.otlp_receiver import OtlpReceiver, Spans
from support.servers import Server, ServerStarter
from support.traces import CLEARED, SETTING
from support.wire import add_sub_inputs, tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRACE_ID, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CONTEXT = {"traceparent": f"00-{TRACE_ID}-{PARENT}-00", "tracestate": "k=v,x=y"}
SERVER_KIND = 2
# 2.51 starts with a rate of 0, but refuses to come back to it.
SELDOM_2_51 = 1_000_000
COMPUTE = ["COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END"]


def options(*settings: str) -> list[str]:
    return [f"--trace-config={setting}" for setting in settings]


@dataclass(frozen=True)
class Collected:
    """A server and the collector it sends its traces to."""

    server: Server
    collector: OtlpReceiver

    def infer(self, headers: dict[str, str] | None = None, **members: object) -> None:
        """Send a request over HTTP."""
        body = {"inputs": add_sub_inputs(), **members}
        answer = self.server.http.post("/v2/models/add_sub/infer", body, headers)
        assert answer.status == 200, answer.text


@pytest.fixture(scope="module")
def started(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Collected]:
    models = tmp_path_factory.mktemp("models")
    repository.copy_examples(models, ["add_sub"])
    context = repository.PythonModel(
        "trace_context", {"INPUT0": "TYPE_FP32 [ 1 ]"}, {"OUTPUT0": "TYPE_STRING [ 1 ]"}
    )
    repository.write_models(models, {"trace_context": context})
    with OtlpReceiver() as collector:
        given = options(
            "mode=opentelemetry",
            "level=TIMESTAMPS",
            f"rate={SELDOM_2_51 if starter.is_oracle else 0}",
            f"opentelemetry,url={collector.url}",
            "opentelemetry,resource=deployment=test",
            "opentelemetry,bsp_schedule_delay=20",
        )
        with starter.prepare("trace_otel", models, given) as process:
            yield Collected(Server(process, starter.is_oracle), collector)


@pytest.fixture
def collected(started: Collected) -> Iterator[Collected]:
    """Traces only what brings a context, unless a test says otherwise."""
    yield started
    assert started.server.http.post(SETTING, CLEARED).status == 200
    started.collector.requests.clear()


@pytest.fixture
def every_request(collected: Collected) -> Collected:
    """Traces every request."""
    assert collected.server.http.post(SETTING, {"trace_rate": "1"}).status == 200
    return collected


def attributes(span: Any) -> dict[str, str | int]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes
    }


def assert_nested(spans: Spans) -> None:
    """Check that the three spans lie inside one another, by identity and by time."""
    assert set(spans.by_name) == {"InferRequest", "add_sub", "compute"}
    outer = spans.by_name["InferRequest"]
    for name in ("add_sub", "compute"):
        inner = spans.by_name[name]
        assert inner.parent_span_id == outer.span_id
        assert inner.trace_id == outer.trace_id
        # The door may have sent the answer before the backend lets go of the request.
        assert outer.start_time_unix_nano <= inner.start_time_unix_nano
        assert inner.start_time_unix_nano <= inner.end_time_unix_nano
        outer = inner
    assert {span.kind for span in spans.by_name.values()} == {SERVER_KIND}


def test_spans_of_a_request_over_http(every_request: Collected) -> None:
    every_request.infer(id="my-id")
    spans = every_request.collector.next_trace()
    assert_nested(spans)
    assert spans.by_name["InferRequest"].parent_span_id == b""
    assert spans.scope == "triton-server"
    found = attributes(spans.by_name["add_sub"])
    assert found.pop("triton.trace_id") >= 1
    assert found == {
        "triton.model_name": "add_sub",
        "triton.model_version": 1,
        "triton.trace_parent_id": 0,
        "triton.request_id": "my-id",
    }
    assert spans.events("compute") == COMPUTE
    assert spans.events("add_sub") == ["REQUEST_START", "QUEUE_START", "REQUEST_END"]
    assert set(spans.events("InferRequest")) == {
        "HTTP_RECV_START",
        "HTTP_RECV_END",
        "INFER_RESPONSE_COMPLETE",
        "HTTP_SEND_START",
        "HTTP_SEND_END",
    }
    assert every_request.collector.paths == {"/v1/traces"}


def test_spans_of_a_request_over_grpc(every_request: Collected) -> None:
    names = ("INPUT0", "INPUT1")
    inputs = [grpc_tensor(name, "FP32", [4], fp32_contents=[1.0] * 4) for name in names]
    door = GrpcDoor(every_request.server.grpc_address)
    door.infer(grpc_request("add_sub", inputs))
    door.close()
    spans = every_request.collector.next_trace()
    assert_nested(spans)
    assert "triton.request_id" not in attributes(spans.by_name["add_sub"])
    assert set(spans.events("InferRequest")) == {
        "GRPC_WAITREAD_START",
        "GRPC_WAITREAD_END",
        "INFER_RESPONSE_COMPLETE",
        "GRPC_SEND_START",
        "GRPC_SEND_END",
    }


def test_the_resource_describes_the_server(every_request: Collected) -> None:
    every_request.infer()
    resource = every_request.collector.next_trace().resource
    assert resource["deployment"] == "test"
    assert resource["service.name"] == "triton-inference-server"
    assert resource["telemetry.sdk.language"] in ("rust", "cpp")


def test_a_context_forces_a_trace_and_is_continued(collected: Collected) -> None:
    # By the rate this one is not traced.
    collected.infer()
    collected.infer(headers=CONTEXT, id="second")
    spans = collected.collector.next_trace()
    assert_nested(spans)
    root = spans.by_name["InferRequest"]
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE_ID, PARENT)
    assert {span.trace_state for span in spans.by_name.values()} == {"k=v,x=y"}
    assert attributes(spans.by_name["add_sub"])["triton.request_id"] == "second"


def test_a_context_over_grpc(collected: Collected) -> None:
    names = ("INPUT0", "INPUT1")
    inputs = [grpc_tensor(name, "FP32", [4], fp32_contents=[1.0] * 4) for name in names]
    door = GrpcDoor(collected.server.grpc_address)
    method = door.channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=bytes,
    )
    method(grpc_request("add_sub", inputs), timeout=20, metadata=list(CONTEXT.items()))
    door.close()
    root = collected.collector.next_trace().by_name["InferRequest"]
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE_ID, PARENT)


@pytest.mark.parametrize("traceparent", ["garbage", f"00-{TRACE_ID}-{'0' * 16}-01", ""])
def test_what_is_no_context_forces_nothing(collected: Collected, traceparent: str) -> None:
    collected.infer(headers={"traceparent": traceparent}, id="first")
    collected.infer(headers=CONTEXT, id="second")
    spans = collected.collector.next_trace()
    assert attributes(spans.by_name["add_sub"])["triton.request_id"] == "second"


def test_a_python_model_sees_the_context(collected: Collected) -> None:
    def ask(headers: dict[str, str]) -> str:
        body = {"inputs": [tensor("INPUT0", "FP32", [1], [1.0])]}
        answer = collected.server.http.post("/v2/models/trace_context/infer", body, headers)
        return str(answer.json["outputs"][0]["data"][0])

    assert ask({}) == "None"
    context = json.loads(ast.literal_eval(ask(CONTEXT)))
    span = collected.collector.next_trace().by_name["trace_context"]
    assert context == {
        "traceparent": f"00-{TRACE_ID}-{span.span_id.hex()}-01",
        "tracestate": "k=v,x=y",
    }


def test_off_is_off_for_contexts_too(collected: Collected) -> None:
    post = collected.server.http.post
    assert post(SETTING, {"trace_level": ["OFF"]}).status == 200
    collected.infer(headers=CONTEXT, id="first")
    assert post(SETTING, {"trace_level": None}).status == 200
    collected.infer(headers=CONTEXT, id="second")
    spans = collected.collector.next_trace()
    assert attributes(spans.by_name["add_sub"])["triton.request_id"] == "second"


def test_settings_leave_out_the_file_and_add_the_collector(collected: Collected) -> None:
    settings = collected.server.http.get(SETTING).json
    resource = settings.pop("resource")
    # Triton does not show what nobody gave.
    assert "deployment=test" in resource
    assert settings == {
        "trace_level": ["TIMESTAMPS"],
        "trace_rate": collected.server.choose("0", str(SELDOM_2_51)),
        "trace_count": "-1",
        "trace_mode": "opentelemetry",
        "url": collected.collector.url,
        "bsp_max_queue_size": "2048",
        "bsp_schedule_delay": "20",
        "bsp_max_export_batch_size": "512",
    }


def test_the_collector_cannot_be_changed(collected: Collected) -> None:
    before = collected.server.http.get(SETTING).json
    change = {"url": "http://elsewhere", "bsp_max_queue_size": "3", "resource": "a=b"}
    assert collected.server.http.post(SETTING, change).json == before


@pytest.mark.ours("Triton 2.51 refuses a rate of 0 over the API in this mode too")
def test_the_rate_may_be_set_to_zero(collected: Collected) -> None:
    answer = collected.server.http.post(SETTING, {"trace_rate": "0"})
    assert (answer.status, answer.json["trace_rate"]) == (200, "0")


def test_a_server_without_its_collector_serves_and_ends(
    starter: ServerStarter, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    repository.copy_examples(models, ["add_sub"])
    with OtlpReceiver() as gone:
        url = gone.url
    given = options("mode=opentelemetry", "level=TIMESTAMPS", "rate=1", f"opentelemetry,url={url}")
    with starter.prepare("trace_no_collector", models, given) as process:
        server = Server(process, starter.is_oracle)
        for _ in range(3):
            assert server.http.infer("add_sub", add_sub_inputs()).status == 200
        assert process.stop() == 0


@pytest.mark.ours("asks for options that Triton takes without a word")
@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("opentelemetry,url=https://localhost/v1/traces", "must begin with 'http://'"),
        ("opentelemetry,bsp_max_queue_size=7", "bsp_max_export_batch_size 512 must not be greater"),
        ("opentelemetry,bsp_schedule_delay=soon", "Invalid option value. Got soon"),
    ],
)
def test_what_cannot_work_ends_the_start(
    starter: ServerStarter, tmp_path: Path, setting: str, text: str
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    process = starter.prepare("trace_refused", models, options("mode=opentelemetry", setting))
    with pytest.raises(Exception, match="ended with"):
        process.start()
    assert text in process.log()
