# SPDX-License-Identifier: Apache-2.0
"""Clients that a server must survive, each a context: while it lasts, they are at it.

As a program, ``burdens.py <name> <HTTP address> <gRPC address> <count>`` says ``ready`` and is at
it until it is killed, at the lowest priority: real ones have machines of their own.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Burden: TypeAlias = "Callable[[Target, int], contextlib.AbstractContextManager[object]]"

INFER = "/v2/models/identity/infer"
MIB = 1 << 20
# The model takes rows of 16 numbers.
_ROW = 16
_PAUSE_S = 0.02
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# A record of 512 bytes that begins as a ClientHello does.
_TLS_BEGINNING = bytes.fromhex("1603010200 010001fc 0303")


@dataclass(frozen=True)
class Target:
    """Addresses of a server, and the certificate it has at the gRPC port, if any."""

    http: str
    grpc: str
    certificate: bytes | None = None


def connect(address: str) -> socket.socket:
    """Return a connection."""
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=30)


@contextlib.contextmanager
def held(address: str, count: int, first_words: bytes) -> Iterator[list[socket.socket]]:
    """Hold `count` connections on which something was said and nothing follows."""
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = stack.enter_context(connect(address))
            if first_words:
                connection.sendall(first_words)
            connections.append(connection)
        yield connections


@contextlib.contextmanager
def repeated(action: Callable[[], None]) -> Iterator[None]:
    """Do `action` again and again in the background; a connection that is lost is no news."""
    is_over = threading.Event()

    def run() -> None:
        while not is_over.is_set():
            with contextlib.suppress(OSError):
                action()
            is_over.wait(_PAUSE_S)

    threading.Thread(target=run, daemon=True).start()
    yield
    is_over.set()


def idle(target: Target, count: int) -> contextlib.AbstractContextManager[object]:
    """Connections that never say a word."""
    return held(target.http, count, b"")


def idle_grpc(target: Target, count: int) -> contextlib.AbstractContextManager[object]:
    """Connections to the gRPC port that never say a word."""
    return held(target.grpc, count, b"")


def stalled_handshake(target: Target, count: int) -> contextlib.AbstractContextManager[object]:
    """gRPC connections that stop in the middle of the handshake."""
    return held(target.grpc, count, _HTTP2_PREFACE[:10])


def stalled_tls(target: Target, count: int) -> contextlib.AbstractContextManager[object]:
    """gRPC connections that stop in the middle of the TLS handshake."""
    return held(target.grpc, count, _TLS_BEGINNING)


def stalled_head(target: Target, count: int) -> contextlib.AbstractContextManager[object]:
    """Requests whose head does not end."""
    return held(target.http, count, f"POST {INFER} HTTP/1.1\r\nHost: t\r\nX-Slow: ".encode())


def stalled_body(target: Target, count: int) -> contextlib.AbstractContextManager[object]:
    """Requests that announce a large body and send its beginning."""
    head = f"POST {INFER} HTTP/1.1\r\nHost: t\r\nContent-Length: {32 * MIB}\r\n\r\n"
    return held(target.http, count, head.encode() + b'{"inputs":[')


@contextlib.contextmanager
def dripping_body(target: Target, count: int) -> Iterator[None]:
    """Requests whose bodies come byte by byte."""
    with stalled_body(target, count) as connections:

        def drip() -> None:
            for connection in connections:  # type: ignore[attr-defined]
                connection.sendall(b" ")

        with repeated(drip):
            yield


@contextlib.contextmanager
def unread_responses(target: Target, count: int) -> Iterator[None]:
    """Clients that ask for megabytes, again and again, and read none of them."""
    rows = MIB // (4 * _ROW)
    head = (
        f'{{"inputs":[{{"name":"INPUT0","datatype":"FP32","shape":[{rows},{_ROW}],'
        f'"parameters":{{"binary_data_size":{MIB}}}}}],'
        '"parameters":{"binary_data_output":true}}'
    ).encode()
    request = (
        f"POST {INFER} HTTP/1.1\r\nHost: t\r\nInference-Header-Content-Length: {len(head)}\r\n"
        f"Content-Length: {len(head) + MIB}\r\n\r\n"
    ).encode()
    request += head + bytes(MIB)
    with held(target.http, count, b"") as connections:
        for connection in connections:
            # A client that does not read either blocks in the end: that is the server's right.
            connection.settimeout(1)
            with contextlib.suppress(TimeoutError):
                for _ in range(8):
                    connection.sendall(request)
        yield


def flood_heads(target: Target, count: int) -> None:
    """Send heads of two megabytes, or until the server objects."""
    line = b"X-Flood: " + b"a" * 1000 + b"\r\n"
    with held(target.http, count, b"GET /v2 HTTP/1.1\r\nHost: t\r\n") as connections:
        for connection in connections:
            with contextlib.suppress(OSError):
                for _ in range(2000):
                    connection.sendall(line)


def send_many_headers(target: Target, count: int) -> None:
    """Send heads of thousands of short lines."""
    head = b"GET /v2/health/live HTTP/1.1\r\nHost: t\r\n" + b"a: b\r\n" * 5000 + b"\r\n"
    with held(target.http, count, head) as connections:
        for connection in connections:
            connection.recv(4096)


def send_endless_bodies(target: Target, count: int) -> None:
    """Send chunked bodies until the server objects, as it must before 125 MiB."""
    head = f"POST {INFER} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with held(target.http, count, head) as connections:
        for connection in connections:
            with contextlib.suppress(OSError):
                for _ in range(2000):
                    connection.sendall(chunk)


def tear_connections(target: Target, count: int) -> None:
    """Hang up in the middle of a body."""
    with stalled_body(target, count):
        pass


def repeating(action: Callable[[Target, int], None]) -> Burden:
    """Return the burden of an action that is done again and again."""
    return lambda target, count: repeated(lambda: action(target, count))


# What is over when it is done.
ACTIONS: dict[str, Callable[[Target, int], None]] = {
    "header_flood": flood_heads,
    "many_headers": send_many_headers,
    "endless_body": send_endless_bodies,
    "torn_connections": tear_connections,
}
BURDENS: dict[str, Burden] = {
    "idle": idle,
    "idle_grpc": idle_grpc,
    "stalled_handshake": stalled_handshake,
    "stalled_head": stalled_head,
    "stalled_body": stalled_body,
    "dripping_body": dripping_body,
    "unread_responses": unread_responses,
    **{name: repeating(action) for name, action in ACTIONS.items()},
}
# Of a server whose gRPC port speaks TLS.
TLS_BURDENS: dict[str, Burden] = {"idle_grpc": idle_grpc, "stalled_tls": stalled_tls}


@contextlib.contextmanager
def beside(name: str, target: Target, count: int) -> Iterator[None]:
    """Put a burden on a server from a process of its own."""
    command = [sys.executable, __file__, name, target.http, target.grpc, str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            yield
        finally:
            child.kill()


def main() -> None:
    """Do what the command line says."""
    name, http, grpc, count = sys.argv[1:]
    os.nice(19)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with {**BURDENS, **TLS_BURDENS}[name](Target(http, grpc), int(count)):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()
