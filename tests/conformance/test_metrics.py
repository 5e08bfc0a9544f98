# SPDX-License-Identifier: Apache-2.0
"""The Prometheus page (triton.md section 6), read by Prometheus's own parser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.wire import HttpDoor, add_sub_inputs, tensor

if TYPE_CHECKING:
    from prometheus_client import Metric
    from support.servers import Server

COUNTERS = [
    "nv_inference_request_success",
    "nv_inference_request_failure",
    "nv_inference_count",
    "nv_inference_exec_count",
    "nv_inference_request_duration_us",
    "nv_inference_queue_duration_us",
    "nv_inference_compute_input_duration_us",
    "nv_inference_compute_infer_duration_us",
    "nv_inference_compute_output_duration_us",
]
HAS_LOAD_DURATION = pytest.mark.ours("2.51 has no nv_model_load_duration_secs")
GAUGES = [
    "nv_inference_pending_request_count",
    pytest.param("nv_model_load_duration_secs", marks=HAS_LOAD_DURATION),
]


def families(server: Server) -> dict[str, Metric]:
    """Return the metric families by name."""
    text = server.metrics.get("/metrics").text
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(server: Server, name: str, **labels: str) -> float:
    """Return the one sample with these labels."""
    found = [
        sample.value
        for sample in families(server)[name].samples
        if labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, f"{name} {labels}: {found}"
    return float(found[0])


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/metrics?x=1"])
def test_page(server: Server, path: str) -> None:
    answer = server.metrics.get(path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "nv_inference_request_success" in answer.text


@pytest.mark.parametrize("path", ["/", "/other"])
def test_other_paths_are_empty(server: Server, path: str) -> None:
    answer = server.metrics.get(path)
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("name", COUNTERS)
def test_counters_are_there_for_each_version(server: Server, name: str) -> None:
    family = families(server)[name]
    assert family.type == "counter"
    assert family.documentation
    labels = {frozenset(sample.labels) for sample in family.samples}
    extra = {"reason"} if name.endswith("failure") else set()
    assert labels == {frozenset({"model", "version"} | extra)}
    versions = {
        sample.labels["version"]
        for sample in family.samples
        if sample.labels["model"] == "specific_versions"
    }
    assert versions == {"1", "3"}


@pytest.mark.parametrize("name", GAUGES)
def test_gauges_are_there_for_each_version(server: Server, name: str) -> None:
    family = families(server)[name]
    assert family.type == "gauge"
    assert {frozenset(sample.labels) for sample in family.samples} == {
        frozenset({"model", "version"})
    }


def test_every_family_has_help_and_type(server: Server) -> None:
    lines = server.metrics.get("/metrics").text.splitlines()
    names = {line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}
    for name in names:
        assert any(line.startswith(f"# HELP {name} ") for line in lines)
        assert any(line.startswith(f"# TYPE {name} ") for line in lines)


def test_failures_have_a_series_for_each_reason_from_the_start(server: Server) -> None:
    series = {
        sample.labels["reason"]: sample.value
        for sample in families(server)["nv_inference_request_failure"].samples
        if sample.labels["model"] == "decoupled"
    }
    assert series == {"REJECTED": 0, "CANCELED": 0, "BACKEND": 0, "OTHER": 0}


def test_nothing_pends_when_nothing_is_asked(server: Server) -> None:
    assert value(server, "nv_inference_pending_request_count", model="add_sub") == 0


@HAS_LOAD_DURATION
def test_load_duration_is_that_of_a_load(server: Server) -> None:
    assert 0 < value(server, "nv_model_load_duration_secs", model="add_sub") < 60


def test_counters_follow_requests(server: Server) -> None:
    labels = {"model": "echo_int16_batched", "version": "1"}
    before = {name: value(server, name, **labels) for name in COUNTERS if "failure" not in name}
    for rows in (1, 2, 4):
        inputs = [tensor("INPUT0", "INT16", [rows, 1], [1] * rows)]
        assert server.http.infer("echo_int16_batched", inputs).status == 200
    grown = {name: value(server, name, **labels) - count for name, count in before.items()}
    assert grown["nv_inference_request_success"] == 3
    assert grown["nv_inference_count"] == 7
    assert grown["nv_inference_exec_count"] == 3
    assert grown["nv_inference_request_duration_us"] > 0
    assert grown["nv_inference_compute_infer_duration_us"] > 0
    assert (
        grown["nv_inference_request_duration_us"] >= grown["nv_inference_compute_infer_duration_us"]
    )


def test_failure_of_a_model_is_counted_as_the_backends(server: Server) -> None:
    labels = {"model": "commands", "reason": "BACKEND"}
    before = value(server, "nv_inference_request_failure", **labels)
    server.http.infer("commands", [tensor("COMMAND", "BYTES", [1], ["fail"])])
    assert value(server, "nv_inference_request_failure", **labels) == before + 1


def test_metrics_agree_with_statistics(server: Server, http: HttpDoor) -> None:
    http.infer("add_sub", add_sub_inputs())
    stats = http.get("/v2/models/add_sub/stats").json["model_stats"][0]
    inference = stats["inference_stats"]
    assert value(server, "nv_inference_count", model="add_sub") == stats["inference_count"]
    assert value(server, "nv_inference_exec_count", model="add_sub") == stats["execution_count"]
    successes = value(server, "nv_inference_request_success", model="add_sub")
    assert successes == inference["success"]["count"]
    duration_us = value(server, "nv_inference_request_duration_us", model="add_sub")
    # Each request is rounded down to microseconds in the one and counted in full in the other.
    assert abs(duration_us - inference["success"]["ns"] / 1000) <= successes


def test_only_get_is_allowed(server: Server) -> None:
    assert server.metrics.request("POST", "/metrics").status == 405
