# SPDX-License-Identifier: Apache-2.0
"""HTTP headers that become request parameters (triton.md P057)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.repository import COMMANDS, write_models
from support.servers import Server, ServerStarter
from support.wire import tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = {"inputs": [tensor("COMMAND", "BYTES", [1], ["parameters"])]}
PATH = "/v2/models/commands/infer"


@pytest.fixture(scope="module")
def own_server(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    directory = write_models(tmp_path_factory.mktemp("models"), {"commands": COMMANDS})
    options = ["--http-header-forward-pattern=(my-.*|priority)"]
    with starter.prepare("header_forward", directory, options) as process:
        yield Server(process, starter.is_oracle)


def seen_by_the_model(server: Server, headers: dict[str, str]) -> dict[str, object]:
    answer = server.http.post(PATH, BODY, headers)
    assert answer.status == 200, answer.text
    found: dict[str, object] = json.loads(answer.json["outputs"][0]["data"][0])
    return found


def test_matching_headers_reach_the_model(own_server: Server) -> None:
    headers = {"my-tenant": "blue", "My-Other": "2", "other": "x"}
    # Ours gives names in lower case: HTTP gives their case no meaning.
    other = "My-Other" if own_server.is_oracle else "my-other"
    assert seen_by_the_model(own_server, headers) == {"my-tenant": "blue", other: "2"}


@pytest.mark.ours("2.51 looks for the pattern anywhere in the name")
def test_pattern_must_match_the_whole_name(own_server: Server) -> None:
    assert seen_by_the_model(own_server, {"not-my-own": "x"}) == {}


def test_no_headers_no_parameters(own_server: Server) -> None:
    assert seen_by_the_model(own_server, {}) == {}


@pytest.mark.ours("2.51 takes any header that matches")
def test_header_with_a_reserved_name_is_refused(own_server: Server) -> None:
    answer = own_server.http.post(PATH, BODY, {"priority": "1"})
    assert answer.status == 400
    assert answer.error.startswith("Header 'priority' is reserved")
