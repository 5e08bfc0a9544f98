# SPDX-License-Identifier: Apache-2.0
"""Decoupled model that answers as often as its input says; a negative number is an error."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            self.answer(request)

    def answer(self, request):
        sender = request.get_response_sender()
        tensor = pb_utils.get_input_tensor_by_name(request, "COUNT").as_numpy()
        count = int(tensor.reshape(-1)[0])
        for index in range(min(count, 4)):
            output = pb_utils.Tensor("INDEX", np.array([index], dtype=np.int32))
            sender.send(pb_utils.InferenceResponse([output]))
        if count < 0:
            error = pb_utils.TritonError("told to fail", pb_utils.TritonError.INVALID_ARG)
            sender.send(pb_utils.InferenceResponse([], error))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
