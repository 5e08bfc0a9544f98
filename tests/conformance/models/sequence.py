# SPDX-License-Identifier: Apache-2.0
"""Model that adds up the numbers of each sequence and tells what it was given with them."""

import json
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        directory = parameters.get("directory", {}).get("string_value")
        self.directory = Path(directory) if directory else None
        self.instance = args["model_instance_name"]
        self.turn = 0
        self.sums = {}

    def execute(self, requests):
        if self.directory:
            self.wait_at_gate()
        self.turn += 1
        batch = [describe(request) for request in requests]
        told = {"turn": self.turn, "instance": self.instance, "batch": batch}
        return [
            self.answer(request, {**mine, **told})
            for request, mine in zip(requests, batch)  # noqa: B905
        ]

    def wait_at_gate(self):
        (self.directory / "entered").write_text("0\n")
        while not (self.directory / "open").exists():
            time.sleep(0.005)

    def answer(self, request, seen):
        number = pb_utils.get_input_tensor_by_name(request, "NUMBER").as_numpy()
        key = request.correlation_id()
        if request.flags() & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START:
            self.sums[key] = 0
        self.sums[key] = self.sums.get(key, 0) + int(number.reshape(-1)[0])
        total = np.full(number.shape, self.sums[key] % 2**31, dtype=np.int32)
        text = np.full(number.shape, json.dumps(seen).encode(), dtype=object)
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("SUM", total), pb_utils.Tensor("SEEN", text)]
        )


def describe(request):
    """Return a request's id, flags and control tensors: data type, shape and values by name."""
    controls = {}
    for tensor in request.inputs():
        if tensor.name() != "NUMBER":
            array = tensor.as_numpy()
            texts = [each.decode() if isinstance(each, bytes) else each for each in array.flat]
            values = [each if isinstance(each, str) else each.item() for each in texts]
            controls[tensor.name()] = [array.dtype.name, list(array.shape), values]
    return {"id": request.correlation_id(), "flags": request.flags(), "controls": controls}
