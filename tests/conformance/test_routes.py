# SPDX-License-Identifier: Apache-2.0
"""Paths, verbs and models that do not exist (triton.md sections 4.1 and 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.wire import tensor

if TYPE_CHECKING:
    from support.wire import HttpDoor


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v2/",
        "/v2/models",
        "/v2/models/",
        "/v2/models/add_sub/",
        "/v2/models/add_sub/nothing",
        "/v2/models/add_sub/versions/one",
        "/v2/models/add_sub/versions/",
        "/v2/health",
        "/v2/health/live/",
        "/metrics",
        "//v2",
        "/%76%32",
    ],
)
def test_unknown_path(http: HttpDoor, path: str) -> None:
    answer = http.get(path)
    assert answer.status == 404
    assert answer.text == '{"error":"Not Found"}'


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/models/add_sub/infer"),
        ("PUT", "/v2/models/add_sub/infer"),
        ("POST", "/v2"),
        ("DELETE", "/v2/models/add_sub"),
        ("POST", "/v2/health/live"),
        ("POST", "/v2/health/ready"),
        ("POST", "/v2/models/add_sub"),
        ("POST", "/v2/models/add_sub/ready"),
        ("POST", "/v2/models/add_sub/config"),
        ("POST", "/v2/models/add_sub/stats"),
        ("POST", "/v2/models/stats"),
    ],
)
def test_wrong_verb(http: HttpDoor, method: str, path: str) -> None:
    answer = http.request(method, path)
    assert answer.status == 405
    assert answer.text == '{"error":"Method Not Allowed"}'


UNKNOWN_MODEL = "Request for unknown model: 'nothing' is not found"
UNKNOWN_VERSION = "Request for unknown model: 'add_sub' version 9 is not found"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/v2/models/nothing", 404, UNKNOWN_MODEL),
        ("/v2/models/nothing/config", 404, UNKNOWN_MODEL),
        ("/v2/models/nothing/stats", 400, "requested model 'nothing' is not available"),
        ("/v2/models/add_sub/versions/9", 404, UNKNOWN_VERSION),
        ("/v2/models/add_sub/versions/9/config", 404, UNKNOWN_VERSION),
        (
            "/v2/models/add_sub/versions/9/stats",
            400,
            "requested model version is not available for model 'add_sub'",
        ),
        (
            "/v2/models/specific_versions/versions/2",
            404,
            "Request for unknown model: 'specific_versions' version 2 is not found",
        ),
        (
            "/v2/models/add_sub/versions/0",
            404,
            "Request for unknown model: 'add_sub' version 0 is not found",
        ),
        (
            "/v2/models/add_sub/versions/99999999999999999999",
            400,
            "failed to get model version from specified version string '99999999999999999999' "
            "(details: stol), version should be an integral value > 0",
        ),
    ],
)
def test_unknown_model_or_version(http: HttpDoor, path: str, status: int, text: str) -> None:
    answer = http.get(path)
    assert (answer.status, answer.error) == (status, text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/v2/models/nothing/infer", UNKNOWN_MODEL),
        ("/v2/models/add_sub/versions/9/infer", UNKNOWN_VERSION),
    ],
)
@pytest.mark.parametrize("body", [b"not json", b'{"inputs":[]}'])
def test_infer_on_an_unknown_model(http: HttpDoor, path: str, text: str, body: bytes) -> None:
    answer = http.post(path, body)
    assert (answer.status, answer.error) == (404, text)


def test_decoupled_model(http: HttpDoor) -> None:
    answer = http.infer("decoupled", [tensor("INPUT0", "FP32", [1], [1.0])])
    assert answer.status == 501
    assert answer.error == (
        "HTTP end point doesn't support models with decoupled transaction policy"
    )
