# SPDX-License-Identifier: Apache-2.0
"""What options add to the metrics or take away (triton.md X016-X026, X037-X041)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.repository import echo, write_models
from support.servers import Server
from support.wire import tensor
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric
    from support.servers import ServerStarter

SUMMARIES = [
    "nv_inference_request_summary_us",
    "nv_inference_queue_summary_us",
    "nv_inference_compute_input_summary_us",
    "nv_inference_compute_infer_summary_us",
    "nv_inference_compute_output_summary_us",
]
HISTOGRAM = "nv_inference_first_response_histogram_ms"
NO_HISTOGRAM = "2.51 has no histogram"
OWN_BUCKETS = f"""model_metrics {{ metric_control {{
  metric_identifier {{ family: "{HISTOGRAM}" }} histogram_options {{ buckets: [ 1, 2.5, 60000 ] }}
}} }}"""
REQUESTS = 5
WAIT_S = 20


def start(
    starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory, name: str, options: list[str]
) -> Iterator[Server]:
    models = {"plain": echo("TYPE_FP32 [ -1 ]")}
    if not starter.is_oracle:
        models["own_buckets"] = echo("TYPE_FP32 [ -1 ]", extra=OWN_BUCKETS)
    directory = write_models(tmp_path_factory.mktemp(name), models)
    process = starter.prepare(name, directory, options)
    with process:
        server = Server(process, starter.is_oracle)
        for model in models:
            for _ in range(REQUESTS):
                given = tensor("INPUT0", "FP32", [1], [1.0])
                assert server.http.infer(model, [given]).status == 200
        yield server


@pytest.fixture(scope="module")
def detailed(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = ["summary_latencies=true", "histogram_latencies=true"]
    settings += ["summary_quantiles=0.5:0.05,0.9:0.01"]
    options = [f"--metrics-config={setting}" for setting in settings]
    options += ["--pinned-memory-pool-byte-size=1048576"]
    yield from start(starter, tmp_path_factory, "detailed", options)


@pytest.fixture(scope="module")
def reduced(starter: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = ["--metrics-config=counter_latencies=false", "--allow-cpu-metrics=false"]
    yield from start(starter, tmp_path_factory, "reduced", options)


def families(server: Server) -> dict[str, Metric]:
    text = server.metrics.get("/metrics").text
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples(family: Metric, model: str) -> dict[str, float]:
    """Return the samples of a model by their name's end and what is special in their labels."""
    return {
        sample.name.removeprefix(family.name)
        + sample.labels.get("quantile", sample.labels.get("le", "")): sample.value
        for sample in family.samples
        if sample.labels["model"] == model
    }


@pytest.mark.parametrize("name", SUMMARIES)
def test_summaries_answer_their_quantiles(detailed: Server, name: str) -> None:
    family = families(detailed)[name]
    assert family.type == "summary"
    found = samples(family, "plain")
    assert found.keys() == {"_count", "_sum", "0.5", "0.9"}
    assert found["_count"] == REQUESTS
    assert 0 <= found["0.5"] <= found["0.9"] <= found["_sum"]


def test_summary_and_counter_agree(detailed: Server) -> None:
    found = families(detailed)
    summed = samples(found["nv_inference_request_summary_us"], "plain")["_sum"]
    (counted,) = samples(found["nv_inference_request_duration_us"], "plain").values()
    # Each request is cut to whole microseconds before it is added.
    assert counted - REQUESTS <= summed <= counted


@pytest.mark.ours(NO_HISTOGRAM)
def test_histogram_has_tritons_buckets(detailed: Server) -> None:
    family = families(detailed)[HISTOGRAM]
    assert family.type == "histogram"
    found = samples(family, "plain")
    buckets = ["_bucket100", "_bucket500", "_bucket2000", "_bucket5000", "_bucket+Inf"]
    assert found.keys() == {"_count", "_sum", *buckets}
    counts = [found[bucket] for bucket in buckets]
    assert counts == sorted(counts)
    assert counts[-1] == found["_count"] == REQUESTS


@pytest.mark.ours(NO_HISTOGRAM)
def test_a_model_may_have_its_own_buckets(detailed: Server) -> None:
    found = samples(families(detailed)[HISTOGRAM], "own_buckets")
    buckets = {name for name in found if name.startswith("_bucket")}
    assert buckets == {"_bucket1", "_bucket2.5", "_bucket60000", "_bucket+Inf"}
    assert found["_bucket60000"] == REQUESTS


@pytest.mark.ours("2.51 has no pinned memory where there is no GPU")
def test_pinned_pool_has_the_size_asked_for(detailed: Server) -> None:
    found = families(detailed)
    values = {
        name: [sample.value for sample in found[f"nv_pinned_memory_pool_{name}_bytes"].samples]
        for name in ("total", "used")
    }
    assert values == {"total": [1048576.0], "used": [0.0]}


def test_host_is_told(detailed: Server) -> None:
    def is_measured() -> bool:
        return families(detailed)["nv_cpu_memory_used_bytes"].samples[0].value > 0

    # 2.51 measures for the first time after an interval.
    wait_until(is_measured, WAIT_S, "the first measurement")
    found = families(detailed)
    (utilization,) = found["nv_cpu_utilization"].samples
    assert 0 <= utilization.value <= 1
    (total,) = found["nv_cpu_memory_total_bytes"].samples
    (used,) = found["nv_cpu_memory_used_bytes"].samples
    assert 0 < used.value <= total.value


def test_distributions_are_off_by_default(server: Server) -> None:
    found = families(server)
    assert not {*SUMMARIES, HISTOGRAM} & found.keys()


def test_counters_stand_still_without_latencies(reduced: Server) -> None:
    found = families(reduced)
    assert not [name for name in found if name.endswith("duration_us")]
    for name in ("request_success", "request_failure", "count", "exec_count"):
        counted = [sample.value for sample in found[f"nv_inference_{name}"].samples]
        assert counted, name
        assert set(counted) == {0.0}, name
    statistics = reduced.http.request("GET", "/v2/models/plain/stats").json
    assert statistics["model_stats"][0]["inference_count"] == REQUESTS


def test_host_is_not_told_when_not_wanted(reduced: Server) -> None:
    assert not [name for name in families(reduced) if name.startswith("nv_cpu")]
