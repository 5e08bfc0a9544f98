# SPDX-License-Identifier: Apache-2.0
"""Hostile and broken requests: a clear refusal, a server that lives on, memory that stays flat."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import resource
import ssl
from typing import TYPE_CHECKING

import pytest
from process_tree import resident_bytes
from support.repository import MODELS, write_models
from support.servers import Server, ServerStarter
from support.wire import HEADER_LENGTH, HttpDoor, add_sub_inputs, read_to_end, tensor

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

INFER = "/v2/models/echo_fp32/infer"
LIMIT = 20_000
MIB = 1 << 20


def status_of(reply: bytes) -> int:
    """Return the status of a response as it stands on the wire."""
    match = re.match(rb"HTTP/1\.1 (\d{3}) ", reply)
    assert match, reply[:200]
    return int(match[1])


def is_serving(door: HttpDoor) -> bool:
    answer = door.infer("echo_fp32", [tensor("INPUT0", "FP32", [1], [1.0])])
    return answer.status == 200


@pytest.fixture(scope="module")
def small(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes bodies of at most LIMIT bytes."""
    if starter.is_oracle:
        pytest.skip("not on Triton 2.51: it has no --http-max-input-size")
    models = {"echo_fp32": MODELS["echo_fp32"]}
    directory = write_models(tmp_path_factory.mktemp("models"), models)
    with starter.prepare("limits", directory, [f"--http-max-input-size={LIMIT}"]) as process:
        yield Server(process, starter.is_oracle)


def test_json_body_over_the_limit(small: Server) -> None:
    answer = small.http.post(INFER, b'{"inputs":[' + b" " * LIMIT + b"]}")
    assert answer.status == 400
    assert "--http-max-input-size" in answer.error
    assert is_serving(small.http)


def test_binary_body_over_the_limit(small: Server) -> None:
    head = {"inputs": [tensor("INPUT0", "FP32", [LIMIT], binary_data_size=4 * LIMIT)]}
    answer = small.http.infer_binary("echo_fp32", head, bytes(4 * LIMIT))
    assert answer.status == 400
    assert "--http-max-input-size" in answer.error
    assert is_serving(small.http)


def test_body_within_the_limit(small: Server) -> None:
    count = (LIMIT - 500) // 4
    head = {"inputs": [tensor("INPUT0", "FP32", [count], binary_data_size=4 * count)]}
    assert small.http.infer_binary("echo_fp32", head, bytes(4 * count)).status == 200


def test_announced_size_over_the_limit_is_refused_before_the_body(small: Server) -> None:
    with small.http.connect() as connection:
        connection.sendall(
            f"POST {INFER} HTTP/1.1\r\nHost: t\r\nContent-Length: {10**12}\r\n\r\n".encode()
        )
        assert status_of(connection.recv(65536)) == 400
    assert is_serving(small.http)


def test_endless_chunked_body_is_cut_off(small: Server) -> None:
    before = resident_bytes(small.process.pid)
    chunk = b"1000\r\n" + bytes(0x1000) + b"\r\n"
    with small.http.connect() as connection:
        connection.sendall(
            f"POST {INFER} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        sent = send_until_refused(connection, chunk, 256 * MIB)
        assert sent < 256 * MIB, "the server went on reading"
    assert is_serving(small.http)
    assert resident_bytes(small.process.pid) < before + 64 * MIB


def send_until_refused(connection: socket.socket, piece: bytes, most: int) -> int:
    """Send `piece` again and again until the peer objects; return the bytes sent."""
    sent = 0
    connection.settimeout(10)
    try:
        while sent < most:
            connection.sendall(piece)
            sent += len(piece)
    except OSError:
        pass
    return sent


@pytest.mark.parametrize(
    "request_head",
    [
        f"POST {INFER} HTTP/1.1\r\nHost: t\r\nContent-Length: -5\r\n\r\n",
        f"POST {INFER} HTTP/1.1\r\nHost: t\r\nContent-Length: many\r\n\r\n",
        f"POST {INFER} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        "nonsense\r\n\r\n",
        "GET /v2/health/live HTTP/1.1\r\nHost: t\r\nX: " + "a" * 3_000_000 + "\r\n\r\n",
        "GET /v2/" + "a" * 3_000_000 + " HTTP/1.1\r\nHost: t\r\n\r\n",
        "\0" * 100,
    ],
    ids=["negative", "text", "chunk", "nonsense", "header", "path", "zeroes"],
)
def test_what_is_not_http_is_refused_or_cut(http: HttpDoor, request_head: str) -> None:
    reply = http.exchange(request_head.encode())
    assert not reply or status_of(reply) >= 400
    assert is_serving(http)


def test_tls_is_not_spoken(http: HttpDoor) -> None:
    context = ssl.create_default_context()
    with http.connect() as connection, pytest.raises((ssl.SSLError, ConnectionResetError)):
        context.wrap_socket(connection, server_hostname="localhost")
    assert is_serving(http)


def test_two_thousand_idle_connections(server: Server) -> None:
    before = resident_bytes(server.process.pid)
    # Files of ours and of the server.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(2000, most // 4)
    with contextlib.ExitStack() as connections:
        for _ in range(count):
            connections.enter_context(server.http.connect())
        assert is_serving(server.http)
        grown = resident_bytes(server.process.pid) - before
        assert grown < count * 64 * 1024, f"{grown / count:.0f} bytes each"


def test_body_that_ends_early(http: HttpDoor) -> None:
    reply = http.exchange(
        f"POST {INFER} HTTP/1.1\r\nHost: t\r\nContent-Length: 500\r\n\r\nhalf".encode()
    )
    assert not reply or status_of(reply) >= 400
    assert is_serving(http)


@pytest.mark.ours("2.51 has no limit")
@pytest.mark.parametrize("depth", [102, 1_000_000])
def test_json_nested_too_deep(http: HttpDoor, depth: int) -> None:
    body = b'{"inputs":[],"parameters":' + b"[" * depth + b"]" * depth + b"}"
    answer = http.post(INFER, body)
    assert answer.status == 400
    assert answer.error
    assert is_serving(http)


@pytest.mark.ours("2.51 aborts when the product of the dims is huge")
@pytest.mark.parametrize(
    "shape",
    [[2**63 - 1], [2**62], [2**64 - 1], [10**12], [2**32, 2**32], [2**31, 2**31, 4]],
    ids=str,
)
@pytest.mark.parametrize("kind", ["FP32", "BYTES"])
def test_huge_dims_with_little_data(http: HttpDoor, kind: str, shape: list[int]) -> None:
    data = [1.0] if kind == "FP32" else ["a"]
    model = "two_variable_dims" if len(shape) == 2 else f"echo_{kind.lower()}"
    answer = http.infer(model, [tensor("INPUT0", kind, shape, list(data))])
    assert answer.status in (400, 500)
    assert answer.error
    assert is_serving(http)


@pytest.mark.ours("2.51 aborts when the product of the dims is huge")
@pytest.mark.parametrize("shape", [[2**63 - 1], [2**62], [10**12]], ids=str)
@pytest.mark.parametrize("size", [4, 2**62, 2**64 - 1], ids=str)
def test_huge_dims_with_binary_data(http: HttpDoor, shape: list[int], size: int) -> None:
    head = {"inputs": [tensor("INPUT0", "FP32", shape, binary_data_size=size)]}
    answer = http.infer_binary("echo_fp32", head, bytes(4))
    assert answer.status in (400, 500)
    assert answer.error
    assert is_serving(http)


def test_many_dims(http: HttpDoor) -> None:
    answer = http.infer("echo_fp32", [tensor("INPUT0", "FP32", [1] * 10_000, [1.0])])
    assert answer.status == 400
    assert is_serving(http)


def test_invalid_utf8_in_names_is_no_crash(http: HttpDoor) -> None:
    body = b'{"inputs":[{"name":"\xff\xfe","datatype":"FP32","shape":[1],"data":[1]}]}'
    answer = http.post(INFER, body)
    assert answer.status == 400
    assert is_serving(http)


def refused_requests(door: HttpDoor) -> Iterator[int]:
    """Send one of each kind of refused request and give the statuses."""
    yield door.post(INFER, b"{").status
    yield door.post(INFER, b"[" * 50_000).status
    yield door.infer("echo_fp32", []).status
    yield door.infer("nothing", add_sub_inputs()).status
    yield door.infer("add_sub", add_sub_inputs(shape=[2, 2])).status
    yield door.infer("add_sub", add_sub_inputs(data=[1.0] * 20_000)).status
    yield door.infer("commands", [tensor("COMMAND", "BYTES", [1], ["fail"])]).status
    head = {"inputs": [tensor("INPUT0", "FP32", [4], binary_data_size=2**20)]}
    yield door.infer_binary("echo_fp32", head, bytes(2**20)).status
    yield door.post(INFER, bytes(2**18), {HEADER_LENGTH: "1000000"}).status
    yield door.get("/v2/" + "x" * 500).status


def test_memory_stays_flat_under_refused_requests(server: Server) -> None:
    def rounds(count: int) -> None:
        for _ in range(count):
            assert all(status >= 400 for status in refused_requests(server.http))

    rounds(10)
    before = resident_bytes(server.process.pid)
    rounds(30)
    grown = resident_bytes(server.process.pid) - before
    # A leak of any one of these bodies would show: they add up to 60 MiB.
    assert grown < 24 * MIB, f"grew by {grown / MIB:.1f} MiB"
    assert is_serving(server.http)


def test_clients_that_go_away_leave_nothing_behind(server: Server) -> None:
    body = json.dumps({"inputs": [tensor("INPUT0", "INT32", [1, 4], [1, 2, 3, 4])]}).encode()
    request = b"POST /v2/models/batching/infer HTTP/1.1\r\nHost: t\r\nContent-Length: "
    for _ in range(20):
        with server.http.connect() as connection:
            connection.sendall(request + str(len(body)).encode() + b"\r\n\r\n" + body)
    assert is_serving(server.http)


def test_keep_alive_serves_many_requests_on_one_connection(http: HttpDoor) -> None:
    connection = http.connect()
    body = json.dumps({"inputs": add_sub_inputs()}).encode()
    head = b"POST /v2/models/add_sub/infer HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n"
    with connection:
        for last in (False, False, True):
            closing = b"Connection: close\r\n" if last else b""
            connection.sendall(
                (head % len(body)).replace(b"\r\n\r\n", b"\r\n" + closing + b"\r\n") + body
            )
            response = http_response(connection)
            assert response.status == 200
            assert len(json.loads(response.read())["outputs"]) == 2
        assert read_to_end(connection) == b""


def http_response(connection: socket.socket) -> http.client.HTTPResponse:
    """Read the head of the next response on `connection`."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response
