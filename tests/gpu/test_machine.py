# SPDX-License-Identifier: Apache-2.0
"""Instances on the GPUs of this machine, and what the GPUs report (M049, Y002, X020-X023)."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.calling import Caller

if TYPE_CHECKING:
    from support.servers import Server

pytestmark = pytest.mark.gpu

MIB = 1 << 20


def ask_driver(*names: str) -> list[list[str]]:
    """Return what ``nvidia-smi`` says, a row for each GPU."""
    command = ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]


def families(server: Server) -> dict[str, Any]:
    text = server.metrics.get("/metrics").text
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_models_are_put_on_every_gpu(server: Server, host: str) -> None:
    config = server.http.get(f"/v2/models/told_{host}/config").json
    (group,) = config["instance_group"]
    gpus = list(range(len(ask_driver("uuid"))))
    assert (group["kind"], group["count"], group["gpus"]) == ("KIND_GPU", 1, gpus)
    kind, gpu = Caller(server.http, f"told_{host}").hears("placed")
    assert kind == "GPU"
    assert int(gpu) in gpus


def test_gpus_report_what_nvidia_smi_says(server: Server) -> None:
    found = families(server)
    values = {
        name: {each.labels["gpu_uuid"]: each.value for each in family.samples}
        for name, family in found.items()
        if name.startswith(("nv_gpu_", "nv_energy"))
    }
    for uuid, total, limit in ask_driver("uuid", "memory.total", "power.limit"):
        # nvidia-smi counts in whole MiB.
        assert abs(values["nv_gpu_memory_total_bytes"][uuid] - float(total) * MIB) <= MIB
        assert values["nv_gpu_power_limit"][uuid] == float(limit)
        assert 0 <= values["nv_gpu_utilization"][uuid] <= 1
        assert 0 < values["nv_gpu_memory_used_bytes"][uuid] < float(total) * MIB
        assert 0 < values["nv_gpu_power_usage"][uuid] <= float(limit) * 1.2
        assert 0 <= values["nv_energy_consumption"][uuid] < 10_000_000
