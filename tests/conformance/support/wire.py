# SPDX-License-Identifier: Apache-2.0
"""Requests written out as they stand on the wire, for tests that need every byte."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any

HEADER_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body as JSON; bare NaN and Infinity are read as floats."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The text of an error body, which has no other member."""
        document = self.json
        assert list(document) == ["error"], document
        text = document["error"]
        assert isinstance(text, str)
        return text

    def split(self) -> tuple[Any, bytes]:
        """Return the JSON head and the binary tensors behind it."""
        length = self.headers.get(HEADER_LENGTH.lower())
        if length is None:
            return self.json, b""
        return json.loads(self.body[: int(length)]), self.body[int(length) :]


@dataclass(frozen=True)
class HttpDoor:
    """HTTP requests to one address, each on its own connection."""

    address: str

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        """Send one request and return the answer."""
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        """GET `path`."""
        return self.request("GET", path)

    def post(self, path: str, body: object, headers: dict[str, str] | None = None) -> Answer:
        """POST `body`: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, data, headers)

    def infer(self, model: str, inputs: list[dict[str, Any]], **members: object) -> Answer:
        """Send a JSON inference request; `members` are further members of its body."""
        return self.post(f"/v2/models/{model}/infer", {"inputs": inputs, **members})

    def infer_binary(
        self, model: str, head: dict[str, Any], data: bytes, length: str | None = None
    ) -> Answer:
        """Send an inference request with binary tensors; `length` replaces the true one."""
        encoded = json.dumps(head).encode()
        headers = {HEADER_LENGTH: str(len(encoded)) if length is None else length}
        return self.post(f"/v2/models/{model}/infer", encoded + data, headers)

    def exchange(self, data: bytes) -> bytes:
        """Send `data` on a fresh connection, end our side, and return all that comes back."""
        with self.connect() as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # closed on us in the middle; what it said before still counts
            return read_to_end(connection)

    def connect(self) -> socket.socket:
        """Return a fresh connection."""
        host, port = self.address.rsplit(":", 1)
        return socket.create_connection((host, int(port)), timeout=20)


def read_to_end(connection: socket.socket) -> bytes:
    """Return all that the peer sends until it closes or resets the connection."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def tensor(
    name: str, data_type: str, shape: list[int], data: list[Any] | None = None, **parameters: object
) -> dict[str, Any]:
    """Return an input tensor as it stands in the JSON of a request."""
    members: dict[str, Any] = {"name": name, "datatype": data_type, "shape": shape}
    if data is not None:
        members["data"] = data
    if parameters:
        members["parameters"] = parameters
    return members


def add_sub_inputs(**changes: Any) -> list[dict[str, Any]]:
    """Return valid inputs of `add_sub`, with members of the first one replaced."""
    return [
        {**tensor("INPUT0", "FP32", [4], [1.0, 2.0, 3.0, 4.0]), **changes},
        tensor("INPUT1", "FP32", [4], [4.0, 3.0, 2.0, 1.0]),
    ]
