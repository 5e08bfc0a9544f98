# SPDX-License-Identifier: Apache-2.0
"""Instances of a model as its code sees them (S091)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.repository import PythonModel, write_models
from support.wire import HttpDoor, tensor

if TYPE_CHECKING:
    from pathlib import Path

    from support.servers import ServerStarter


def test_instances_are_made_at_once(starter: ServerStarter, tmp_path: Path) -> None:
    """Each waits for the others; one after another, none would ever be ready."""
    place = tmp_path / "place"
    place.mkdir()
    meets = PythonModel(
        "meets",
        {"INPUT0": "TYPE_FP32 [ 1 ]"},
        {"OUTPUT0": "TYPE_FP32 [ 1 ]"},
        "instance_group [ { kind: KIND_CPU count: 3 } ]",
        parameters={"place": str(place)},
    )
    models = write_models(tmp_path / "models", {"meets": meets})
    with starter.prepare("instances", models) as process:
        http = HttpDoor(process.endpoints.http)
        answer = http.infer("meets", [tensor("INPUT0", "FP32", [1], [2.0])])
        assert answer.json["outputs"][0]["data"] == [2.0]
    assert len(list(place.iterdir())) == 3
