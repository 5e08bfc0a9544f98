# SPDX-License-Identifier: Apache-2.0
"""Batching model: doubles each input that is given and takes a moment over each execution."""

import time

import triton_python_backend_utils as pb_utils

# Long enough that requests queue up behind an execution, so that batches form.
EXECUTION_S = 0.004


class TritonPythonModel:
    def execute(self, requests):
        time.sleep(EXECUTION_S)
        return [pb_utils.InferenceResponse(double_all(request)) for request in requests]


def double_all(request):
    return [
        pb_utils.Tensor(tensor.name().replace("INPUT", "OUTPUT"), tensor.as_numpy() * 2)
        for tensor in request.inputs()
    ]
