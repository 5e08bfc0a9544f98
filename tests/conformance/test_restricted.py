# SPDX-License-Identifier: Apache-2.0
"""Restricted APIs of both doors, through real clients (triton.md C044, C065, P037)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import tritonclient.grpc
import tritonclient.http
from support.repository import MODELS, write_models
from support.servers import Server, ServerStarter

if TYPE_CHECKING:
    from collections.abc import Iterator

HTTP_TEXT = "This API is restricted, expecting header 'my-key'"
GRPC_TEXT = "This protocol is restricted, expecting header 'triton-grpc-protocol-my-key'"


@pytest.fixture(scope="module")
def restricted(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server whose metadata and statistics need one key, model configurations another."""
    models = {"echo_fp32": MODELS["echo_fp32"]}
    directory = write_models(tmp_path_factory.mktemp("models"), models)
    options = [
        f"--{option}={restriction}"
        for option in ("http-restricted-api", "grpc-restricted-protocol")
        for restriction in ("metadata,statistics:my-key=open", "model-config:my-key=other")
    ]
    with starter.prepare("restricted", directory, options) as process:
        yield Server(process, starter.is_oracle)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/v2", "open"),
        ("/v2/models/echo_fp32", "open"),
        ("/v2/models/stats", "open"),
        ("/v2/models/echo_fp32/stats", "open"),
        ("/v2/models/echo_fp32/config", "other"),
    ],
)
def test_http_routes(restricted: Server, path: str, key: str) -> None:
    wrong = "other" if key == "open" else "open"
    for headers in ({}, {"my-key": wrong}, {"my-key": ""}, {"other-key": key}):
        answer = restricted.http.request("GET", path, b"", headers)
        assert (answer.status, answer.error) == (403, HTTP_TEXT)
    assert restricted.http.request("GET", path, b"", {"MY-KEY": key}).status == 200
    assert restricted.http.get("/v2/models/echo_fp32/ready").status == 200
    assert restricted.http.get("/v2/health/ready").status == 200


def test_http_client(restricted: Server) -> None:
    with tritonclient.http.InferenceServerClient(restricted.process.endpoints.http) as client:
        assert client.is_server_ready()
        with pytest.raises(tritonclient.http.InferenceServerException, match=HTTP_TEXT):
            client.get_server_metadata()
        assert client.get_server_metadata(headers={"my-key": "open"})["name"] == "triton"


def test_grpc_client(restricted: Server) -> None:
    key = "triton-grpc-protocol-my-key"
    with tritonclient.grpc.InferenceServerClient(restricted.grpc_address) as client:
        assert client.is_server_ready()
        for headers in (None, {key: "other"}, {"my-key": "open"}):
            with pytest.raises(tritonclient.grpc.InferenceServerException) as caught:
                client.get_server_metadata(headers=headers)
            assert caught.value.status() == "StatusCode.UNAVAILABLE"
            assert caught.value.message() == GRPC_TEXT
        assert client.get_server_metadata(headers={key: "open"}).name == "triton"
        assert client.get_model_config("echo_fp32", headers={key: "other"}).config.name
        statistics = client.get_inference_statistics(headers={key: "open"})
        assert statistics.model_stats[0].name == "echo_fp32"
