# SPDX-License-Identifier: Apache-2.0
"""A collector of OpenTelemetry traces that keeps what it is sent."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from types import TracebackType

WAIT_S = 20
DOOR_SPAN = "InferRequest"


@dataclass(frozen=True)
class Spans:
    """The spans of one trace that was sent, by name.

    Parameters
    ----------
    by_name : dict of str to Span
        Messages of OTLP.
    resource : dict of str to str
        What describes the sender.
    scope : str
        Name of the instrumentation.
    """

    by_name: dict[str, Any]
    resource: dict[str, str]
    scope: str

    def events(self, name: str) -> list[str]:
        """Return the names of a span's events in their order."""
        return [event.name for event in self.by_name[name].events]


@dataclass
class OtlpReceiver:
    """Listens on a free port; use it as a context."""

    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.take(self.path, self.headers["content-type"], body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where to send traces."""
        return f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def take(self, path: str, content_type: str, body: bytes) -> None:
        """Keep one message."""
        message = ExportTraceServiceRequest()
        if content_type == "application/json":
            json_format.ParseDict(_with_base64_ids(json.loads(body)), message)
        else:
            assert content_type == "application/x-protobuf", content_type
            message.ParseFromString(body)
        with self._arrived:
            self.paths.add(path)
            self.requests.append(message)
            self._arrived.notify_all()

    def next_trace(self) -> Spans:
        """Wait for the spans of one trace and return it.

        A sender may spread them over messages; the span of the door ends last.
        """
        by_name: dict[str, Any] = {}
        while DOOR_SPAN not in by_name:
            with self._arrived:
                assert self._arrived.wait_for(lambda: self.requests, WAIT_S), (
                    f"no trace was sent, only {sorted(by_name)}"
                )
                message = self.requests.pop(0)
            (group,) = message.resource_spans
            (scoped,) = group.scope_spans
            spans = {span.name: span for span in scoped.spans}
            assert len(spans) == len(scoped.spans)
            assert not spans.keys() & by_name.keys()
            by_name |= spans
        resource = {each.key: each.value.string_value for each in group.resource.attributes}
        return Spans(by_name, resource, scoped.scope.name)

    def __enter__(self) -> OtlpReceiver:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _with_base64_ids(document: Any) -> Any:
    """Return OTLP's JSON, whose ids are hexadecimal, as protobuf's."""
    if isinstance(document, list):
        return [_with_base64_ids(each) for each in document]
    if not isinstance(document, dict):
        return document
    return {
        key: base64.b64encode(bytes.fromhex(value)).decode()
        if key in ("traceId", "spanId", "parentSpanId")
        else _with_base64_ids(value)
        for key, value in document.items()
    }
