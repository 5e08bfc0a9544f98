# SPDX-License-Identifier: Apache-2.0
"""Model that tells by a file that it is executing, and goes on when another file appears."""

import json
import os
import time
from pathlib import Path

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        self.directory = Path(parameters["directory"]["string_value"])

    def execute(self, requests):
        tensors = [request.inputs()[0].as_numpy() for request in requests]
        with (self.directory / "order").open("a") as order:
            order.writelines(f"{int(tensor.reshape(-1)[0])}\n" for tensor in tensors)
        (self.directory / "entered").write_text(f"{os.getpid()}\n")
        while not (self.directory / "open").exists():
            time.sleep(0.005)
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", tensor)]) for tensor in tensors
        ]
