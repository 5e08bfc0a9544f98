# SPDX-License-Identifier: Apache-2.0
"""HTTP requests written out, and their answers taken apart."""

from __future__ import annotations

import gzip
import http.client
import json
import zlib
from dataclasses import dataclass
from typing import Any

from comparing.answers import Answer

HEADER_LENGTH = "inference-header-content-length"
# What clients read of a response's head; lengths follow from the body.
_READ_HEADERS = ("content-type", HEADER_LENGTH, "content-encoding", "accept-encoding")
_TIMEOUT_S = 15
_EVENT = "data: "


class HttpLine:
    """A connection to one server, made again when it is lost."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def exchange(
        self, method: str, path: str, headers: tuple[tuple[str, str], ...], pieces: list[bytes]
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request, in chunks if there is more than one piece, and read the answer."""
        is_kept = self._connection is not None
        try:
            return self._exchange(method, path, headers, pieces)
        except (http.client.RemoteDisconnected, ConnectionError):
            self.close()
            if not is_kept:
                raise
            # The server may have closed the connection after the last answer.
            return self._exchange(method, path, headers, pieces)
        except Exception:
            self.close()
            raise

    def _exchange(
        self, method: str, path: str, headers: tuple[tuple[str, str], ...], pieces: list[bytes]
    ) -> tuple[int, dict[str, str], bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address, timeout=_TIMEOUT_S)
        connection = self._connection
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value.encode())
        is_chunked = len(pieces) > 1
        if is_chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        elif pieces:
            connection.putheader("Content-Length", str(len(pieces[0])))
        body: Any = pieces if is_chunked else b"".join(pieces)
        connection.endheaders(body, encode_chunked=is_chunked)
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return response.status, names, response.read()


@dataclass(frozen=True)
class HttpRequest:
    """One HTTP request."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    is_chunked: bool = False
    faults: int = 0

    def __str__(self) -> str:
        lines = [f"{self.method} {self.path}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += ["Transfer-Encoding: chunked"] if self.is_chunked else []
        return "\n".join([*lines, "", self.body.decode(errors="backslashreplace")])

    def send(self, line: HttpLine, _: object) -> Answer:
        """Send the request."""
        half = len(self.body) // 2
        pieces = [self.body[:half], self.body[half:]] if self.is_chunked else [self.body]
        try:
            status, headers, body = line.exchange(
                self.method,
                self.path,
                self.headers,
                [piece for piece in pieces if piece or not self.is_chunked],
            )
        except TimeoutError:
            return Answer("late")
        except (OSError, http.client.HTTPException):
            return Answer("closed")
        return read_answer(status, headers, body)


def read_answer(status: int, headers: dict[str, str], body: bytes) -> Answer:
    """Take an answer apart."""
    read = {name: headers[name] for name in _READ_HEADERS if name in headers}
    body = _decoded(body, headers.get("content-encoding", ""))
    length = headers.get(HEADER_LENGTH)
    # The length of a head depends on how numbers are written.
    if length is not None:
        read[HEADER_LENGTH] = "given"
    head, data = (body, b"") if length is None else (body[: int(length)], body[int(length) :])
    error, document = _read_body(head)
    return Answer(str(status), read, error, document, data)


def _decoded(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "deflate":
        return zlib.decompress(body)
    return body


def _read_body(body: bytes) -> tuple[str | None, Any]:
    if not body:
        return None, None
    text = body.decode(errors="backslashreplace")
    if text.startswith(_EVENT):
        return None, [_as_json(part.removeprefix(_EVENT)) for part in text.split("\n\n")]
    document = _as_json(text)
    if isinstance(document, dict) and isinstance(document.get("error"), str):
        error = document.pop("error")
        return error, document or None
    return None, document


def _as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
