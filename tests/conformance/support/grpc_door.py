# SPDX-License-Identifier: Apache-2.0
"""gRPC requests built from the protocol's messages, for tests that need every field."""

from __future__ import annotations

from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

TIMEOUT_S = 30


class GrpcDoor:
    """The inference service at one address."""

    def __init__(self, address: str) -> None:
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(address, unlimited)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)

    def call(self, method: str, request: Any) -> Any:
        """Call `method` and return its reply."""
        return getattr(self._stub, method)(request, timeout=TIMEOUT_S)

    def refusal(self, method: str, request: Any) -> tuple[str, str]:
        """Call `method`, which must fail, and return name of the status and text."""
        try:
            reply = self.call(method, request)
        except grpc.RpcError as error:
            return error.code().name, error.details() or ""
        raise AssertionError(f"{method} succeeded: {reply}")

    def infer(self, request: pb.ModelInferRequest) -> Any:
        """Call ModelInfer."""
        return self.call("ModelInfer", request)

    def raw_call(self, path: str, request: bytes) -> bytes:
        """Call any method with bytes in place of messages."""
        reply: bytes = self.channel.unary_unary(
            path, request_serializer=bytes, response_deserializer=bytes
        )(request, timeout=TIMEOUT_S)
        return reply

    def close(self) -> None:
        """Close the connection."""
        self.channel.close()


def tensor(name: str, data_type: str, shape: list[int], **contents: Any) -> Any:
    """Return an input tensor, with typed contents when given."""
    made = pb.ModelInferRequest.InferInputTensor(name=name, datatype=data_type, shape=shape)
    if contents:
        made.contents.CopyFrom(pb.InferTensorContents(**contents))
    return made


def request(model: str, inputs: list[Any], raw: list[bytes] | None = None, **fields: Any) -> Any:
    """Return a ModelInferRequest."""
    return pb.ModelInferRequest(
        model_name=model, inputs=inputs, raw_input_contents=raw or [], **fields
    )


def parameter(**value: Any) -> Any:
    """Return an InferParameter, such as ``parameter(int64_param=1)``."""
    return pb.InferParameter(**value)
