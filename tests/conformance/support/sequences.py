# SPDX-License-Identifier: Apache-2.0
"""Models with sequences, and requests to them."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families
from waiting import wait_until

from support.repository import PythonModel
from support.wire import Answer, tensor

if TYPE_CHECKING:
    from pathlib import Path

    from support.gate import Gate
    from support.servers import Server

WAIT_S = 20
START, END = 1, 2
CORRID = 'control_input {{ name: "CORRID" control {{ kind: CONTROL_SEQUENCE_CORRID {} }} }}'
CONTROLS = "\n".join(
    f'control_input {{ name: "{name}" control {{ kind: CONTROL_SEQUENCE_{name} {values} }} }}'
    for name, values in (
        ("START", "int32_false_true: [ 0, 1 ]"),
        ("END", "fp32_false_true: [ -1, 2 ]"),
        ("READY", "bool_false_true: [ false, true ]"),
    )
)


def sequence_model(
    batching: str, *, batch: int = 4, controls: str = CONTROLS, corrid: str = "UINT64", **more: str
) -> PythonModel:
    """Return a model that adds up the numbers of its sequences."""
    id_control = CORRID.format(f"data_type: TYPE_{corrid}") if corrid else ""
    extra = more.pop("extra", "")
    return PythonModel(
        "sequence",
        {"NUMBER": "TYPE_INT32 [ 1 ]"},
        {"SUM": "TYPE_INT32 [ 1 ]", "SEEN": "TYPE_STRING [ 1 ]"},
        f"max_batch_size: {batch}\n"
        f"sequence_batching {{ {batching} {controls} {id_control} }}\n{extra}",
        parameters=more,
    )


def gated(model: PythonModel, directory: Path) -> PythonModel:
    """Return the model, held by the gate at `directory`."""
    return PythonModel(
        model.code,
        model.inputs,
        model.outputs,
        model.extra,
        parameters={"directory": str(directory)},
    )


@dataclass(frozen=True)
class Sequences:
    """The models of one server, and their requests."""

    server: Server
    gates: dict[str, Gate]
    repository: Path
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(16))

    def ask(
        self, model: str, number: int, sequence: int | str = 0, flags: int = 0, **parameters: object
    ) -> Answer:
        """Send a number."""
        shape = [1] if model == "unbatched" else [1, 1]
        parameters |= {"sequence_start": bool(flags & START), "sequence_end": bool(flags & END)}
        if sequence:
            parameters["sequence_id"] = sequence
        inputs = [tensor("NUMBER", "INT32", shape, [number])]
        return self.server.http.infer(model, inputs, parameters=parameters)

    def later(self, model: str, *arguments: Any, **parameters: object) -> Future[Answer]:
        """Send a number in the background."""
        return self.pool.submit(self.ask, model, *arguments, **parameters)

    def queue(self, length: int, model: str, *arguments: Any, **more: object) -> Future[Answer]:
        """Send a number in the background and wait until `length` requests wait."""
        answer = self.later(model, *arguments, **more)
        wait_until(lambda: self.pending(model) == length, WAIT_S, f"{length} queued requests")
        return answer

    def occupy(self, model: str, *arguments: Any) -> Future[Answer]:
        """Send a number and wait until it executes."""
        answer = self.later(model, *arguments)
        self.gates[model].wait_for_execution()
        return answer

    def pending(self, model: str) -> int:
        """Return how many requests wait, by the server's own word."""
        return int(self.metric("nv_inference_pending_request_count", model=model))

    def metric(self, name: str, **labels: str) -> float:
        """Return one sample of the metrics page."""
        families = text_string_to_metric_families(self.server.metrics.get("/metrics").text)
        return next(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name in (name, f"{name}_total") and labels.items() <= sample.labels.items()
        )

    def counts(self, model: str) -> tuple[int, int, dict[int, int]]:
        """Return inferences, executions, and executions by batch size."""
        stats = self.server.http.get(f"/v2/models/{model}/stats").json["model_stats"][0]
        sizes = {
            each["batch_size"]: each["compute_infer"]["count"] for each in stats["batch_stats"]
        }
        return stats["inference_count"], stats["execution_count"], sizes


def sum_of(answer: Answer) -> int:
    """Return the sum that the sequence has come to."""
    return int(output(answer, "SUM"))


def seen_by(answer: Answer) -> dict[str, Any]:
    """Return what the model saw."""
    seen = json.loads(output(answer, "SEEN"))
    assert isinstance(seen, dict)
    return seen


def output(answer: Answer, name: str) -> Any:
    """Return the one element of an output."""
    assert answer.status == 200, answer.text
    (value,) = next(each["data"] for each in answer.json["outputs"] if each["name"] == name)
    return value
