# SPDX-License-Identifier: Apache-2.0
"""gRPC requests as bytes, and their answers taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import json_format, text_format
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from comparing.answers import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVICE = "/inference.GRPCInferenceService/"
_STREAM = "ModelStreamInfer"
_TIMEOUT_S = 15
_TRANSPORT_FAILURE = re.compile("(?i)socket|connection|connect|stream removed|transport")


class GrpcLine:
    """A channel to one server."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def unary(self, path: str, payload: bytes) -> Any:
        """Call a method with one message and return the message it answers with."""
        call = self._channel.unary_unary(
            path, request_serializer=bytes, response_deserializer=bytes
        )
        return call(payload, timeout=_TIMEOUT_S)

    def stream(self, path: str, payloads: Sequence[bytes]) -> list[Any]:
        """Call a method with a stream of messages and return all that come back."""
        call = self._channel.stream_stream(
            path, request_serializer=bytes, response_deserializer=bytes
        )
        return list(call(iter(payloads), timeout=_TIMEOUT_S))


@dataclass(frozen=True)
class GrpcRequest:
    """One call.

    Parameters
    ----------
    method : str
        Name of the method of the inference service.
    payloads : tuple of bytes
        The message; several only for the method that streams.
    faults : int, default=0
        How many things were made wrong in it.
    is_ordered : bool, default=True
        Whether the answers of a stream come in the order of the requests.
    """

    method: str
    payloads: tuple[bytes, ...]
    faults: int = 0
    is_ordered: bool = True

    def __str__(self) -> str:
        return "\n".join([f"gRPC {self.method}", *map(self._text, self.payloads)])

    def _text(self, payload: bytes) -> str:
        message = _message(self.method, "Request")
        try:
            message.ParseFromString(payload)
        except DecodeError:
            return f"not a message: {payload.hex()}"
        return text_format.MessageToString(message, as_utf8=True)

    def send(self, _: object, line: GrpcLine) -> Answer:
        """Make the call."""
        path = SERVICE + self.method
        try:
            if self.method == _STREAM:
                parts = [self._part(reply) for reply in line.stream(path, self.payloads)]
                if not self.is_ordered:
                    parts.sort(key=_rank)
                return Answer("OK", parts=tuple(parts))
            reply = line.unary(path, self.payloads[0])
        except grpc.RpcError as error:
            return _failure(error)
        return Answer("OK", document=_document(self.method, reply))

    def _part(self, reply: bytes) -> Answer:
        document = _document(self.method, reply)
        error = document.pop("error_message")
        return Answer("ERROR" if error else "OK", error=error or None, document=document)


def _rank(part: Answer) -> tuple[str, str, str]:
    """Put refusals before the errors of models, and both before responses, which stay in order."""
    return part.status, part.document["infer_response"]["model_name"], part.error or ""


def _message(method: str, kind: str) -> Any:
    name = method
    if method == _STREAM:
        name = "ModelInfer" if kind == "Request" else "ModelStreamInfer"
    # A method that does not exist is asked with a message that is empty.
    return getattr(service_pb2, name + kind, service_pb2.ServerLiveRequest)()


def _failure(error: grpc.RpcError) -> Answer:
    status, text = error.code().name, error.details() or ""
    if status == "UNAVAILABLE" and _TRANSPORT_FAILURE.search(text):
        return Answer("closed")
    return Answer("late") if status == "DEADLINE_EXCEEDED" else Answer(status, error=text)


def _document(method: str, reply: bytes) -> Any:
    message = _message(method, "Response")
    message.ParseFromString(reply)
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
