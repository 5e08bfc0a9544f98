# SPDX-License-Identifier: Apache-2.0
"""Metrics that Python models define (triton.md Y085, Y086, X035)."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.repository import PythonModel, write_models
from support.servers import Server, ServerStarter
from support.wire import tensor
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.ours("the oracle's Python backend is built without metrics")

WAIT_S = 20
DELETED = (
    "Invalid metric operation as the corresponding 'MetricFamily' has been deleted. The "
    "'MetricFamily' object should be deleted AFTER its corresponding 'Metric' objects have been "
    "deleted."
)


def measured(host: str, extra: str = "") -> PythonModel:
    """Return a model with metrics of its own."""
    return PythonModel(
        "custom_metrics",
        {"COMMAND": "TYPE_STRING [ 1 ]"},
        {"ANSWER": "TYPE_STRING [ 1 ]"},
        extra,
        parameters={"TRITONGW_PYTHON_HOST": host},
    )


@pytest.fixture(scope="module")
def measured_server(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    models = {
        "worker": measured("worker"),
        "in_process": measured("in_process"),
        "two": measured("worker", "instance_group [ { kind: KIND_CPU count: 2 } ]"),
        "restarted": measured("worker"),
        "unloaded": measured("worker"),
    }
    directory = write_models(tmp_path_factory.mktemp("models"), models)
    options = ["--model-control-mode=explicit", "--load-model=*"]
    with starter.prepare("custom_metrics", directory, options) as process:
        yield Server(process, starter.is_oracle)


@pytest.fixture(params=["worker", "in_process"])
def model(request: pytest.FixtureRequest) -> str:
    """A model, under one host or the other."""
    return str(request.param)


def command(server: Server, model: str, text: str) -> Any:
    """Let a model do something and return its answer."""
    answer = server.http.infer(model, [tensor("COMMAND", "BYTES", [1], [text])])
    assert answer.status == 200, answer.text
    return json.loads(answer.json["outputs"][0]["data"][0])


def lines(server: Server, name: str) -> list[str]:
    """Return the lines about one metric, which Prometheus's own parser understands."""
    text = server.metrics.get("/metrics").text
    assert list(text_string_to_metric_families(text))
    return [line for line in text.splitlines() if line.split(" ")[0].split("{")[0] == name]


def test_a_counter_counts(measured_server: Server, model: str) -> None:
    before = command(measured_server, model, "count")
    assert command(measured_server, model, "count") == before + 1
    text = measured_server.metrics.get("/metrics").text
    name = f"{model}_requests_total"
    assert f"# HELP {name} Requests that were answered\n# TYPE {name} counter\n" in text
    labels = f'{{model="{model}",version="1"}}'
    assert lines(measured_server, name) == [f"{name}{labels} {before + 2:g}"]


def test_a_gauge_goes_up_and_down_and_is_set(measured_server: Server, model: str) -> None:
    assert command(measured_server, model, "gauge") == [0.0, 2023.0, 1999.5, 999.9]
    assert lines(measured_server, f"{model}_gauge") == [f'{model}_gauge{{a="1",b="2"}} 999.9']


def test_a_histogram_has_buckets(measured_server: Server, model: str) -> None:
    command(measured_server, model, "histogram")
    name = f"{model}_histogram"
    assert lines(measured_server, f"{name}_count") == [f'{name}_count{{x="y"}} 3']
    assert lines(measured_server, f"{name}_sum") == [f'{name}_sum{{x="y"}} 7.55']
    assert lines(measured_server, f"{name}_bucket") == [
        f'{name}_bucket{{x="y",le="{bound}"}} {count}'
        for bound, count in [("0.1", 1), ("1", 1), ("2.5", 2), ("+Inf", 3)]
    ]


def test_families_and_metrics_of_one_name_are_one(measured_server: Server, model: str) -> None:
    assert command(measured_server, model, "shared") == 8.5
    text = measured_server.metrics.get("/metrics").text
    assert f"# HELP {model}_shared a\n" in text
    assert lines(measured_server, f"{model}_shared") == [f'{model}_shared{{k="v"}} 8.5']


def test_refusals_have_tritons_words(measured_server: Server, model: str) -> None:
    counter, gauge, histogram = (
        f"TRITONSERVER_METRIC_KIND_{kind}" for kind in ("COUNTER", "GAUGE", "HISTOGRAM")
    )
    increment, set_, observe, value = (
        f"Failed to {what} metric value: " for what in ("increment", "set", "observe", "get")
    )
    falls = " can only be incremented monotonically by non-negative values."
    assert command(measured_server, model, "refusals") == [
        f"{increment}{counter}{falls}",
        f"{set_}{counter} does not support Set",
        f"{observe}{counter} does not support Observe",
        f"{observe}{gauge} does not support Observe",
        f"{increment}{histogram} does not support Increment",
        f"{set_}{histogram} does not support Set",
        f"{value}{histogram} does not support Value",
        "Error when creating MetricFamily: Family name already exists with different type",
        "Error when creating Metric: Bucket boundaries not found in Metric args.",
        "Error when creating Metric: Bucket Boundaries must be strictly sorted",
        "Error when creating Metric: Unexpected args found in counter Metric constructor.",
    ]


def test_a_metric_does_not_outlive_its_family(measured_server: Server, model: str) -> None:
    assert command(measured_server, model, "outlived") == [DELETED] * 3
    assert lines(measured_server, f"{model}_outlived") == []


def test_what_nobody_holds_is_not_told(measured_server: Server, model: str) -> None:
    command(measured_server, model, "gauge")
    command(measured_server, model, "let_go")
    assert lines(measured_server, f"{model}_gauge") == []


def test_instances_share_their_metrics(measured_server: Server) -> None:
    seen = [command(measured_server, "two", "count") for _ in range(6)]
    assert seen == [float(count) for count in range(6)]
    assert len(lines(measured_server, "two_requests_total")) == 1


def test_a_counter_goes_on_after_a_restart(measured_server: Server) -> None:
    server = measured_server
    before = [command(server, "restarted", "count") for _ in range(3)][-1] + 1
    command(server, "restarted", "gauge")
    os.kill(command(server, "restarted", "process_id"), signal.SIGKILL)
    path = "/v2/models/restarted/ready"
    wait_until(lambda: server.http.get(path).status == 400, WAIT_S, "the end of the worker")
    wait_until(lambda: server.http.get(path).status == 200, WAIT_S, "the next worker")
    assert command(server, "restarted", "count") >= before + 1
    assert len(lines(server, "restarted_requests_total")) == 1
    assert lines(server, "restarted_gauge") == [], "nobody holds it any more"


def test_an_unloaded_model_takes_its_metrics_along(measured_server: Server) -> None:
    server = measured_server
    command(server, "unloaded", "gauge")
    assert lines(server, "unloaded_gauge") != []
    assert server.http.post("/v2/repository/models/unloaded/unload", {}).status == 200
    wait_until(lambda: lines(server, "unloaded_gauge") == [], WAIT_S, "the end of its metrics")
    assert lines(server, "unloaded_requests_total") == []
