# SPDX-License-Identifier: Apache-2.0
"""Compressed bodies in both directions (triton.md P104, P105, P107)."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
import tritonclient.http
import tritonclient.http.aio
from support.wire import add_sub_inputs

if TYPE_CHECKING:
    from support.servers import Server
    from support.wire import HttpDoor

INFER = "/v2/models/add_sub/infer"
BODY = json.dumps({"inputs": add_sub_inputs()}).encode()
SUM = [5.0, 5.0, 5.0, 5.0]
CODINGS: tuple[Literal["gzip"], Literal["deflate"]] = ("gzip", "deflate")


def pack(coding: str, data: bytes) -> bytes:
    return gzip.compress(data) if coding == "gzip" else zlib.compress(data)


def unpack(coding: str, data: bytes) -> bytes:
    return gzip.decompress(data) if coding == "gzip" else zlib.decompress(data)


@pytest.mark.parametrize("coding", CODINGS)
def test_compressed_request(http: HttpDoor, coding: str) -> None:
    answer = http.post(INFER, pack(coding, BODY), {"Content-Encoding": coding})
    assert answer.status == 200
    assert answer.json["outputs"][0]["data"] == SUM


def test_identity_is_no_compression(http: HttpDoor) -> None:
    assert http.post(INFER, BODY, {"Content-Encoding": "identity"}).status == 200


@pytest.mark.parametrize("coding", ["br", "", "gzip, deflate"])
def test_other_codings_are_refused(http: HttpDoor, coding: str) -> None:
    answer = http.post(INFER, BODY, {"Content-Encoding": coding})
    assert answer.status == 501
    assert answer.error == "Unsupported compression type"
    assert answer.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate", "gzip"),
        ("deflate, gzip", "deflate"),
        ("gzip;q=0.5, deflate;q=0.8", "deflate"),
        ("identity;q=0.5, gzip", "gzip"),
        ("*;q=0, gzip", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=abc", None),
        ("*", None),
        ("identity, gzip", None),
        ("br", None),
    ],
)
def test_client_chooses_the_response_coding(
    http: HttpDoor, accepted: str, coding: str | None
) -> None:
    plain = http.post(INFER, BODY)
    answer = http.post(INFER, BODY, {"Accept-Encoding": accepted})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers.get("content-encoding") == coding
    body = answer.body if coding is None else unpack(coding, answer.body)
    assert body == plain.body


@pytest.mark.ours("2.51 takes whatever comes out, however broken")
@pytest.mark.parametrize("coding", CODINGS)
def test_broken_bodies_are_refused(http: HttpDoor, coding: str) -> None:
    good = pack(coding, BODY)
    for broken in (BODY, good[:-5], good + b"junk", zlib.compress(BODY)[2:-4], b""):
        answer = http.post(INFER, broken, {"Content-Encoding": coding})
        assert answer.status == 400, broken
        assert answer.error


@pytest.mark.ours("2.51 has no limit")
def test_bomb_stops_at_the_limit(http: HttpDoor) -> None:
    bomb = gzip.compress(bytes(65 << 20))
    answer = http.post(INFER, bomb, {"Content-Encoding": "gzip"})
    assert answer.status == 400
    assert "--http-max-input-size" in answer.error


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("is_binary", [False, True], ids=["json", "binary"])
def test_tritonclient(
    server: Server, coding: Literal["gzip", "deflate"], *, is_binary: bool
) -> None:
    data = np.arange(100_000, dtype=np.float32)
    tensor = tritonclient.http.InferInput("INPUT0", [len(data)], "FP32")
    tensor.set_data_from_numpy(data, binary_data=is_binary)
    output = tritonclient.http.InferRequestedOutput("OUTPUT0", binary_data=is_binary)
    with tritonclient.http.InferenceServerClient(server.process.endpoints.http) as client:
        result = client.infer(
            "echo_fp32",
            [tensor],
            outputs=[output],
            request_compression_algorithm=coding,
            response_compression_algorithm=coding,
        )
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), data)


@pytest.mark.parametrize("coding", CODINGS)
def test_asynchronous_tritonclient(server: Server, coding: Literal["gzip", "deflate"]) -> None:
    data = np.arange(1000, dtype=np.float32)

    async def infer() -> np.ndarray:
        tensor = tritonclient.http.aio.InferInput("INPUT0", [len(data)], "FP32")
        tensor.set_data_from_numpy(data)
        address = server.process.endpoints.http
        async with tritonclient.http.aio.InferenceServerClient(address) as client:
            result = await client.infer(
                "echo_fp32",
                [tensor],
                request_compression_algorithm=coding,
                response_compression_algorithm=coding,
            )
        return result.as_numpy("OUTPUT0")

    np.testing.assert_array_equal(asyncio.run(infer()), data)
