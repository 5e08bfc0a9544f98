# SPDX-License-Identifier: Apache-2.0
"""One call of ModelStreamInfer, driven message by message."""

from __future__ import annotations

import queue
import struct
from typing import TYPE_CHECKING, Any

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from support.grpc_door import TIMEOUT_S, parameter, request, tensor

if TYPE_CHECKING:
    from collections.abc import Iterator


class GrpcStream:
    """A call of ModelStreamInfer.

    Parameters
    ----------
    channel : grpc.Channel
        Where to call.
    metadata : tuple of (str, str), default=()
        Metadata of the call.
    """

    def __init__(self, channel: grpc.Channel, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        self.call = stub.ModelStreamInfer(
            iter(self._requests.get, None), metadata=metadata, timeout=TIMEOUT_S
        )

    def send(self, message: Any) -> None:
        """Send one request."""
        self._requests.put(message)

    def close(self) -> None:
        """Say that no further request comes."""
        self._requests.put(None)

    def next(self) -> Any:
        """Return the next response."""
        return next(self.call)

    def rest(self) -> list[Any]:
        """Half close, and return all responses that are still to come; the call must end well."""
        self.close()
        responses = list(self.call)
        assert self.call.code() is grpc.StatusCode.OK, self.call.details()
        return responses

    def failure(self) -> tuple[str, str]:
        """Return name of the status and text with which the call ends without a response."""
        try:
            response = next(self.call)
        except grpc.RpcError as error:
            return error.code().name, error.details() or ""
        raise AssertionError(f"the call goes on: {response}")


def values(model: str, numbers: list[int], id: str = "", **parameters: Any) -> Any:
    """Return a request for `responder`; parameters are texts or booleans."""
    inputs = [tensor("IN", "INT32", [len(numbers)])]
    sent = {
        name: parameter(bool_param=value)
        if isinstance(value, bool)
        else parameter(string_param=value)
        for name, value in parameters.items()
    }
    raw = [struct.pack(f"<{len(numbers)}i", *numbers)]
    return request(model, inputs, raw, id=id, parameters=sent)


def summary(response: Any) -> tuple[str, list[int], bool | None]:
    """Return id, values and final flag of a response, which must be no error."""
    assert response.error_message == "", response
    return (response.infer_response.id, list(_numbers(response)), is_final(response))


def is_final(response: Any) -> bool | None:
    """Return what a response says of being the last, None if it says nothing."""
    parameters = response.infer_response.parameters
    if "triton_final_response" not in parameters:
        return None
    assert parameters["triton_final_response"].WhichOneof("parameter_choice") == "bool_param"
    return bool(parameters["triton_final_response"].bool_param)


def _numbers(response: Any) -> Iterator[int]:
    for data in response.infer_response.raw_output_contents:
        for (number,) in struct.iter_unpack("<i", data):
            yield number


__all__ = ["GrpcStream", "is_final", "pb", "summary", "values"]
