# SPDX-License-Identifier: Apache-2.0
"""Batching model: doubles each input that is given and takes a moment over each execution.

It refuses an execution whose requests could not be one batch: of other inputs or other shapes.
"""

import time

import triton_python_backend_utils as pb_utils

# Long enough that requests queue up behind an execution, so that batches form.
EXECUTION_S = 0.004


class TritonPythonModel:
    def execute(self, requests):
        time.sleep(EXECUTION_S)
        signatures = {signature(request) for request in requests}
        if len(signatures) > 1:
            raise ValueError(f"requests that do not belong together: {signatures}")
        return [pb_utils.InferenceResponse(double_all(request)) for request in requests]


def signature(request):
    """Return the names and the shapes, without the batch dimension, of a request's inputs."""
    tensors = request.inputs()
    return tuple(sorted((tensor.name(), tensor.as_numpy().shape[1:]) for tensor in tensors))


def double_all(request):
    return [
        pb_utils.Tensor(tensor.name().replace("INPUT", "OUTPUT"), tensor.as_numpy() * 2)
        for tensor in request.inputs()
    ]
