# SPDX-License-Identifier: Apache-2.0
"""One inference request as the bytes that the simple load clients send again and again."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from functools import cached_property
from math import prod

_ELEMENT = {"FP32": struct.Struct("<f"), "INT32": struct.Struct("<i")}


@dataclass(frozen=True)
class Tensor:
    """An input of a model, filled with one number, or else with a ramp of small ones."""

    name: str
    datatype: str
    shape: list[int]
    fill: int | None = None

    @cached_property
    def data(self) -> bytes:
        """Elements in row-major order: little-endian, or strings after their lengths."""
        values = (self._value(index) for index in range(prod(self.shape)))
        if self.datatype == "BYTES":
            return b"".join(map(_string, values))
        return b"".join(map(_ELEMENT[self.datatype].pack, values))

    def _value(self, index: int) -> int:
        return index % 100 if self.fill is None else self.fill


def http_head(tensors: list[Tensor]) -> bytes:
    """Return the JSON head of a request whose tensors, in and out, are binary."""
    inputs = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": tensor.shape,
            "parameters": {"binary_data_size": len(tensor.data)},
        }
        for tensor in tensors
    ]
    return json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()


def http_body(tensors: list[Tensor]) -> bytes:
    """Return the complete HTTP body."""
    return http_head(tensors) + b"".join(tensor.data for tensor in tensors)


def generate_body(tensors: list[Tensor]) -> bytes:
    """Return the HTTP body of a generate request: one number for each tensor."""
    return json.dumps({tensor.name: tensor.fill for tensor in tensors}).encode()


def grpc_frame(model: str, tensors: list[Tensor]) -> bytes:
    """Return a ModelInferRequest with raw contents in gRPC's length-prefixed frame."""
    message = _field(1, model.encode())
    for tensor in tensors:
        message += _field(5, _input(tensor))
    for tensor in tensors:
        message += _field(7, tensor.data)
    return struct.pack(">BI", 0, len(message)) + message


def _string(value: int) -> bytes:
    text = f"string number {value}".encode()
    return struct.pack("<I", len(text)) + text


def _input(tensor: Tensor) -> bytes:
    shape = b"".join(map(_varint, tensor.shape))
    return _field(1, tensor.name.encode()) + _field(2, tensor.datatype.encode()) + _field(3, shape)


def _field(number: int, value: bytes) -> bytes:
    """Encode a length-delimited protobuf field."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
