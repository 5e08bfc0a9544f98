# SPDX-License-Identifier: Apache-2.0
"""Shared memory objects, and the two doors to them spoken to in one way."""

from __future__ import annotations

import base64
import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb

from support import grpc_door
from support.grpc_stream import GrpcStream

if TYPE_CHECKING:
    from support.grpc_door import GrpcDoor
    from support.wire import Answer, HttpDoor

_STATUS = {
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "ALREADY_EXISTS": 400,
    "NOT_FOUND": 404,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
}
_numbers = itertools.count()
#: A CUDA IPC handle that stands for nothing.
NOTHING = bytes(64)


class SharedObject:
    """A POSIX shared memory object, removed on leaving the context.

    Parameters
    ----------
    data : bytes
        What it holds at first.
    """

    def __init__(self, data: bytes) -> None:
        self.key = f"/tritongw_test_{os.getpid()}_{next(_numbers)}"
        self._path = Path("/dev/shm") / self.key[1:]
        self._path.write_bytes(data)

    def __enter__(self) -> SharedObject:
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink()

    def read(self) -> bytes:
        """Return what it holds now."""
        return self._path.read_bytes()

    def write(self, data: bytes, offset: int = 0) -> None:
        """Overwrite a part."""
        with self._path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def truncate(self, byte_size: int) -> None:
        """Cut it short."""
        os.truncate(self._path, byte_size)


def at(region: object, byte_size: object = None, offset: object = None) -> dict[str, object]:
    """Return the parameters of a tensor that lies in `region`."""
    parameters = {
        "shared_memory_region": region,
        "shared_memory_byte_size": byte_size,
        "shared_memory_offset": offset,
    }
    return {name: value for name, value in parameters.items() if value is not None}


# In place of a code where the server does not tell it.
UNTOLD = "UNTOLD"


@dataclass(frozen=True)
class Reply:
    """What a door said, whichever it was.

    Parameters
    ----------
    code : str
        Name of the gRPC status, or the HTTP status as text.
    text : str
        The error, or nothing.
    outputs : dict
        Name to data type, shape and data; the data of an output that went elsewhere is None.
    """

    code: str
    text: str = ""
    outputs: dict[str, tuple[str, list[int], bytes | None]] = field(default_factory=dict)

    def assert_ok(self) -> Reply:
        """Fail with the text unless it worked; return itself."""
        assert self.code in ("OK", "200"), f"{self.code}: {self.text}"
        return self

    def assert_refused(self, code: str, text: str) -> None:
        """Fail unless it was refused with the gRPC status `code`, or its HTTP twin, and `text`."""
        assert (self.code, self.text) in [(code, text), (str(_STATUS[code]), text), (UNTOLD, text)]


@dataclass(frozen=True)
class HttpShm:
    """Shared memory over HTTP."""

    door: HttpDoor
    name = "http"

    def _call(self, kind: str, action: str, region: str | None, body: object = b"") -> Answer:
        place = f"/region/{region}" if region is not None else ""
        path = f"/v2/{kind}sharedmemory{place}/{action}"
        return self.door.get(path) if action == "status" else self.door.post(path, body)

    def register(self, region: str, key: str, byte_size: int, offset: int = 0) -> Reply:
        """Register a system region."""
        body = {"key": key, "offset": offset, "byte_size": byte_size}
        return _http_reply(self._call("system", "register", region, body))

    def register_cuda(
        self, region: str, handle: bytes = NOTHING, byte_size: int = 4, device_id: int = 0
    ) -> Reply:
        """Register a CUDA region; a well-formed handle of nothing unless one is given."""
        raw_handle = {"b64": base64.b64encode(handle).decode()}
        body = {"raw_handle": raw_handle, "device_id": device_id, "byte_size": byte_size}
        return _http_reply(self._call("cuda", "register", region, body))

    def unregister(self, region: str | None = None, kind: str = "system") -> Reply:
        """Unregister one region or all."""
        return _http_reply(self._call(kind, "unregister", region))

    def status(self, region: str | None = None, kind: str = "system") -> Reply:
        """Ask for the status, for its refusal."""
        return _http_reply(self._call(kind, "status", region))

    def regions(self, region: str | None = None, kind: str = "system") -> list[dict[str, Any]]:
        """Return the status of regions, by name."""
        entries: list[dict[str, Any]] = self._call(kind, "status", region).json
        return sorted(entries, key=lambda entry: str(entry["name"]))

    def infer(
        self,
        model: str,
        kind: str,
        shape: list[int],
        source: dict[str, object] | bytes,
        output: dict[str, object] | None = None,
    ) -> Reply:
        """Send INPUT0, which lies at `source`, and ask for OUTPUT0 with these parameters."""
        data = source if isinstance(source, bytes) else b""
        parameters = source if isinstance(source, dict) else {"binary_data_size": len(data)}
        head: dict[str, Any] = {
            "inputs": [
                {"name": "INPUT0", "datatype": kind, "shape": shape, "parameters": parameters}
            ]
        }
        if output is None:
            head["parameters"] = {"binary_data_output": True}
        else:
            is_shared = "shared_memory_region" in output
            head["outputs"] = [
                {"name": "OUTPUT0", "parameters": {"binary_data": not is_shared, **output}}
            ]
        answer = self.door.infer_binary(model, head, data)
        if answer.status != 200:
            return _http_reply(answer)
        json, rest = answer.split()
        outputs = {}
        for entry in json["outputs"]:
            size = entry.get("parameters", {}).get("binary_data_size")
            assert "data" not in entry
            data, rest = (None, rest) if size is None else (rest[:size], rest[size:])
            outputs[entry["name"]] = (entry["datatype"], entry["shape"], data)
        assert not rest
        return Reply("200", outputs=outputs)


def _http_reply(answer: Answer) -> Reply:
    is_error = answer.status != 200
    return Reply(str(answer.status), answer.error if is_error else "")


@dataclass(frozen=True)
class GrpcShm:
    """Shared memory over gRPC."""

    door: GrpcDoor
    name = "grpc"

    def _call(self, method: str, request: Any) -> Reply:
        try:
            self.door.call(method, request)
        except grpc.RpcError as error:
            return Reply(error.code().name, error.details() or "")
        return Reply("OK")

    def register(self, region: str, key: str, byte_size: int, offset: int = 0) -> Reply:
        """Register a system region."""
        request = pb.SystemSharedMemoryRegisterRequest(
            name=region, key=key, offset=offset, byte_size=byte_size
        )
        return self._call("SystemSharedMemoryRegister", request)

    def register_cuda(
        self, region: str, handle: bytes = NOTHING, byte_size: int = 4, device_id: int = 0
    ) -> Reply:
        """Register a CUDA region; a well-formed handle of nothing unless one is given."""
        request = pb.CudaSharedMemoryRegisterRequest(
            name=region, raw_handle=handle, device_id=device_id, byte_size=byte_size
        )
        return self._call("CudaSharedMemoryRegister", request)

    def unregister(self, region: str | None = None, kind: str = "system") -> Reply:
        """Unregister one region or all."""
        method = f"{kind.capitalize()}SharedMemoryUnregister"
        return self._call(method, getattr(pb, f"{method}Request")(name=region))

    def _status_request(self, region: str | None, kind: str) -> tuple[str, Any]:
        method = f"{kind.capitalize()}SharedMemoryStatus"
        return method, getattr(pb, f"{method}Request")(name=region)

    def status(self, region: str | None = None, kind: str = "system") -> Reply:
        """Ask for the status, for its refusal."""
        return self._call(*self._status_request(region, kind))

    def regions(self, region: str | None = None, kind: str = "system") -> list[dict[str, Any]]:
        """Return the status of regions, by name."""
        reply = self.door.call(*self._status_request(region, kind))
        assert all(name == entry.name for name, entry in reply.regions.items())
        place = ("key", "offset") if kind == "system" else ("device_id",)
        fields = ("name", *place, "byte_size")
        return [
            {field: getattr(reply.regions[name], field) for field in fields}
            for name in sorted(reply.regions)
        ]

    def _send(self, request: Any) -> Any:
        return self.door.infer(request)

    def infer(
        self,
        model: str,
        kind: str,
        shape: list[int],
        source: dict[str, object] | bytes,
        output: dict[str, object] | None = None,
    ) -> Reply:
        """Send INPUT0, which lies at `source`, and ask for OUTPUT0 with these parameters."""
        tensor = grpc_door.tensor("INPUT0", kind, shape)
        if isinstance(source, dict):
            _set_parameters(tensor, source)
        outputs = []
        if output is not None:
            requested = pb.ModelInferRequest.InferRequestedOutputTensor(name="OUTPUT0")
            _set_parameters(requested, output)
            outputs.append(requested)
        raw = [source] if isinstance(source, bytes) else None
        request = grpc_door.request(model, [tensor], raw, outputs=outputs)
        try:
            response = self._send(request)
        except grpc.RpcError as error:
            return Reply(error.code().name, error.details() or "")
        except RefusedInStreamError as error:
            return Reply(UNTOLD, str(error))
        assert len(response.outputs) == len(response.raw_output_contents)
        is_shared = output is not None and "shared_memory_region" in output
        received: dict[str, tuple[str, list[int], bytes | None]] = {}
        for entry, data in zip(response.outputs, response.raw_output_contents, strict=True):
            assert not (is_shared and data)
            found = None if is_shared else data
            received[entry.name] = (entry.datatype, list(entry.shape), found)
        return Reply("OK", outputs=received)


class RefusedInStreamError(Exception):
    """A request was refused by a message, which has no status."""


@dataclass(frozen=True)
class GrpcStreamShm(GrpcShm):
    """Shared memory over gRPC, with inferences on streams.

    Parameters
    ----------
    answers_refusals : bool, default=False
        Whether the stream goes on after a refused request although it was asked to end, as that of
        Triton 2.51 does.
    """

    answers_refusals: bool = False

    def _send(self, request: Any) -> Any:
        stream = GrpcStream(self.door.channel, (("triton_grpc_error", "true"),))
        stream.send(request)
        response = stream.next()
        assert stream.rest() == []
        if response.error_message and self.answers_refusals:
            raise RefusedInStreamError(response.error_message)
        del response.infer_response.parameters["triton_final_response"]
        return response.infer_response


def _set_parameters(tensor: Any, parameters: dict[str, object]) -> None:
    for name, value in parameters.items():
        kind = "string_param" if isinstance(value, str) else "int64_param"
        tensor.parameters[name].CopyFrom(grpc_door.parameter(**{kind: value}))


def fp32(*values: float) -> bytes:
    """Return `values` as they lie in memory."""
    return np.array(values, np.float32).tobytes()
