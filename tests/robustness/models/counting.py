# SPDX-License-Identifier: Apache-2.0
"""Model that adds a byte to a file for each request, then answers with its input."""

import time
from pathlib import Path

import triton_python_backend_utils as pb_utils

# Long enough for requests to queue.
EXECUTION_S = 0.002


class TritonPythonModel:
    def initialize(self, args):
        self.count = Path(args["model_repository"]) / "count"

    def execute(self, requests):
        with self.count.open("ab") as file:
            file.write(b"." * len(requests))
        time.sleep(EXECUTION_S)
        return [pb_utils.InferenceResponse([self.echo(request)]) for request in requests]

    def echo(self, request):
        tensor = pb_utils.get_input_tensor_by_name(request, "INPUT0")
        return pb_utils.Tensor("OUTPUT0", tensor.as_numpy())
