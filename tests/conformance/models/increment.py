# SPDX-License-Identifier: Apache-2.0
"""Model that adds one, and refuses, raises or tells of its request if the number asks for it."""

import json
import os
import signal

import numpy as np
import triton_python_backend_utils as pb_utils

REFUSE, RAISE, DIE, TELL = -1.0, -2.0, -3.0, -4.0


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        values = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
        first = float(values.reshape(-1)[0]) if values.size else 0.0
        if first == REFUSE:
            error = pb_utils.TritonError("told to refuse", pb_utils.TritonError.NOT_FOUND)
            return pb_utils.InferenceResponse(error=error)
        if first == RAISE:
            raise ValueError("told to raise")
        if first == DIE:
            os.kill(os.getpid(), signal.SIGKILL)
        outputs = [pb_utils.Tensor("OUT", values + 1)]
        if first == TELL:
            outputs.append(pb_utils.Tensor("TOLD", np.array([told(request)], np.object_)))
        return pb_utils.InferenceResponse(outputs)


def told(request):
    seen = {
        "id": request.request_id(),
        "correlation_id": request.correlation_id(),
        "flags": request.flags(),
        "timeout": request.timeout(),
        "parameters": json.loads(request.parameters()),
        "outputs": sorted(request.requested_output_names()),
    }
    return json.dumps(seen).encode()
