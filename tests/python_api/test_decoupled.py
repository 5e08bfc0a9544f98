# SPDX-License-Identifier: Apache-2.0
"""Decoupled models: senders in other threads, cancellation, and what ``execute`` returns."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from python_api_support import Server


def test_execute_of_a_decoupled_model_must_return_none(server: Server, host: str) -> None:
    model = f"decoupled_commands_{host}"
    assert server.stream(model, "return_a_list") == [
        f"error: Failed to process the request(s) for model '{model}_0', message: Python model "
        f"'{model}_0' is using the decoupled mode and the execute function must return None.\n"
    ]


def test_any_thread_may_send(server: Server, host: str) -> None:
    assert server.stream(f"decoupled_commands_{host}", "threads") == ["d", "c", "b", "a"]


def test_a_sender_tells_of_cancellation(server: Server, host: str) -> None:
    model = f"decoupled_commands_{host}"
    address, port = server.url.removeprefix("http://").split(":")
    body = json.dumps({"INPUT": "until_cancelled"}).encode()
    head = f"POST /v2/models/{model}/generate_stream HTTP/1.1\r\nHost: x\r\n"
    with contextlib.closing(socket.create_connection((address, int(port)), timeout=30)) as client:
        client.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        received = b""
        while b'"a"' not in received:
            received += client.recv(65536)
        assert f"cancelled {model}_0" not in server.log
    server.wait_for_log(f"cancelled {model}_0")
