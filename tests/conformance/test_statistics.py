# SPDX-License-Identifier: Apache-2.0
"""Statistics over both protocols agree with what was sent (triton.md section 7.1)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from support.wire import HttpDoor, add_sub_inputs, tensor
from tritonclient.grpc import service_pb2 as pb

if TYPE_CHECKING:
    from support.grpc_door import GrpcDoor

DURATIONS = ["success", "fail", "queue", "compute_input", "compute_infer", "compute_output"]


def stats_of(http: HttpDoor, model: str) -> dict[str, Any]:
    stats = http.get(f"/v2/models/{model}/stats").json["model_stats"]
    assert len(stats) == 1
    found: dict[str, Any] = stats[0]
    return found


def grown(before: dict[str, Any], after: dict[str, Any]) -> dict[str, int]:
    """Return by how much each count grew."""
    counts = {
        name: after["inference_stats"][name]["count"] - before["inference_stats"][name]["count"]
        for name in DURATIONS
    }
    for name in ("inference_count", "execution_count"):
        counts[name] = after[name] - before[name]
    return counts


def test_untouched_model(http: HttpDoor) -> None:
    answer = http.get("/v2/models/decoupled/stats")
    zero = '{"count":0,"ns":0}'
    durations = ",".join(f'"{name}":{zero}' for name in [*DURATIONS, "cache_hit", "cache_miss"])
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == (
        '{"model_stats":[{"name":"decoupled","version":"1","last_inference":0,'
        '"inference_count":0,"execution_count":0,"inference_stats":{' + durations + "},"
        '"response_stats":{},"batch_stats":[],"memory_usage":[]}]}'
    )


def test_successes_are_counted(http: HttpDoor) -> None:
    before, begin = stats_of(http, "add_sub"), time.time()
    for _ in range(5):
        assert http.infer("add_sub", add_sub_inputs()).status == 200
    after = stats_of(http, "add_sub")
    assert grown(before, after) == {
        "success": 5,
        "fail": 0,
        "queue": 5,
        "compute_input": 5,
        "compute_infer": 5,
        "compute_output": 5,
        "inference_count": 5,
        "execution_count": 5,
    }
    assert begin - 1 <= after["last_inference"] / 1000 <= time.time() + 1


def test_durations_add_up(http: HttpDoor) -> None:
    before = stats_of(http, "batching")["inference_stats"]
    http.infer("batching", [tensor("INPUT0", "INT32", [1, 1], [1])])
    after = stats_of(http, "batching")["inference_stats"]
    took = {name: after[name]["ns"] - before[name]["ns"] for name in DURATIONS}
    # The model sleeps four milliseconds.
    assert took["compute_infer"] > 3_000_000
    parts = ["queue", "compute_input", "compute_infer", "compute_output"]
    assert took["success"] >= sum(took[part] for part in parts)
    assert took["fail"] == 0


def test_batch_items_are_counted_by_size(http: HttpDoor) -> None:
    before = stats_of(http, "echo_int32_batched")
    data = list(range(12))
    answer = http.infer("echo_int32_batched", [tensor("INPUT0", "INT32", [6, 2], data)])
    assert answer.status == 200
    after = stats_of(http, "echo_int32_batched")
    assert after["inference_count"] - before["inference_count"] == 6
    assert after["execution_count"] - before["execution_count"] == 1
    of_six = [each for each in after["batch_stats"] if each["batch_size"] == 6]
    assert list(of_six[0]) == ["batch_size", "compute_input", "compute_infer", "compute_output"]
    assert of_six[0]["compute_infer"]["count"] >= 1


def test_failures_are_counted(http: HttpDoor) -> None:
    before = stats_of(http, "commands")
    answer = http.infer("commands", [tensor("COMMAND", "BYTES", [1], ["fail"])])
    assert answer.status == 500
    counts = grown(before, stats_of(http, "commands"))
    assert (counts["success"], counts["fail"], counts["inference_count"]) == (0, 1, 0)


def test_refused_requests_are_not_executions(http: HttpDoor) -> None:
    before = stats_of(http, "add_sub")
    assert http.infer("add_sub", add_sub_inputs(shape=[2, 2])).status == 400
    counts = grown(before, stats_of(http, "add_sub"))
    assert (counts["success"], counts["execution_count"]) == (0, 0)


def test_all_models_are_listed(http: HttpDoor) -> None:
    stats = http.get("/v2/models/stats").json["model_stats"]
    listed = {(each["name"], each["version"]) for each in stats}
    assert {("add_sub", "1"), ("specific_versions", "1"), ("specific_versions", "3")} <= listed
    assert ("specific_versions", "2") not in listed


@pytest.mark.parametrize(("path", "versions"), [("", ["1", "3"]), ("/versions/3", ["3"])])
def test_versions(http: HttpDoor, path: str, versions: list[str]) -> None:
    stats = http.get(f"/v2/models/specific_versions{path}/stats").json["model_stats"]
    assert [each["version"] for each in stats] == versions


def test_grpc_shows_the_same(http: HttpDoor, grpc_door: GrpcDoor) -> None:
    http.infer("add_sub", add_sub_inputs())
    over_http = http.get("/v2/models/add_sub/stats").body
    reply = grpc_door.call("ModelStatistics", pb.ModelStatisticsRequest(name="add_sub"))
    assert json_format.Parse(over_http, pb.ModelStatisticsResponse()) == reply


def test_grpc_lists_all_models_without_a_name(grpc_door: GrpcDoor) -> None:
    reply = grpc_door.call("ModelStatistics", pb.ModelStatisticsRequest())
    assert {"add_sub", "pair"} <= {each.name for each in reply.model_stats}


@pytest.mark.parametrize(
    ("name", "version", "text"),
    [
        ("nothing", "", "requested model 'nothing' is not available"),
        ("add_sub", "9", "requested model version is not available for model 'add_sub'"),
    ],
)
def test_grpc_refusals(grpc_door: GrpcDoor, name: str, version: str, text: str) -> None:
    message = pb.ModelStatisticsRequest(name=name, version=version)
    assert grpc_door.refusal("ModelStatistics", message) == ("INVALID_ARGUMENT", text)
