# SPDX-License-Identifier: Apache-2.0
"""``execute`` that yields: each yield is a part of the answer."""

from __future__ import annotations

import contextlib
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from python_api_support import Server

UNPACKED = "Failed to process the request(s) for model '{model}_0', message: "


@pytest.fixture(params=["decoupled_yields", "decoupled_async_yields"])
def model(request: pytest.FixtureRequest, host: str) -> str:
    """A model with a plain generator, and one with an asynchronous one, under both hosts."""
    return f"{request.param}_{host}"


def test_each_yield_is_a_part_of_the_answer(server: Server, model: str) -> None:
    assert server.stream(model, "letters") == ["a", "b", "c"]


def test_what_a_generator_raises_ends_its_request(server: Server, model: str) -> None:
    first, last = server.stream(model, "fail")
    assert first == "a"
    assert last.startswith(f"error: {UNPACKED.format(model=model)}ValueError: boom\n")
    assert server.stream(model, "letters") == ["a", "b", "c"]


def test_what_is_no_response_is_refused(server: Server, model: str) -> None:
    (answer,) = server.stream(model, "wrong")
    text = (
        f"error: {UNPACKED.format(model=model)}TypeError: execute must yield a list of 1 elements, "
        "an InferenceResponse or None for each request, found 'text'"
    )
    assert answer == text


def test_a_request_may_end_before_its_generator(server: Server, host: str) -> None:
    assert server.stream(f"decoupled_yields_{host}", "ends_early") == ["a"]


def test_asynchronous_generators_take_turns(server: Server, host: str) -> None:
    model = f"decoupled_async_yields_{host}"
    with ThreadPoolExecutor(2) as pool:
        streams = list(pool.map(lambda _: server.stream(model, "take_turns"), range(2)))
    assert streams == [["a", "b", "c"]] * 2


def test_a_client_that_does_not_read_holds_up_its_own_request_only(
    server: Server, host: str
) -> None:
    model = f"decoupled_async_yields_{host}"
    address, port = server.url.removeprefix("http://").split(":")
    body = json.dumps({"INPUT": "much"}).encode()
    head = f"POST /v2/models/{model}/generate_stream HTTP/1.1\r\nHost: x\r\n"
    with contextlib.closing(socket.create_connection((address, int(port)))) as lazy:
        lazy.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        for _ in range(3):
            assert server.stream(model, "letters") == ["a", "b", "c"]
        assert f"closed {model}_0 much" not in server.log
    server.wait_for_log(f"closed {model}_0 much")


def test_a_model_that_yields_must_be_decoupled(server: Server, host: str) -> None:
    assert server.get(f"/v2/models/yields_once_{host}/ready").status == 400
    server.wait_for_log(r"`execute` of Python model \S+ yields, which needs the decoupled")
