# SPDX-License-Identifier: Apache-2.0
"""Answers three times with its input, which it increments in between."""

import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            values = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()
            for flags in (0, 0, FINAL):
                values += 1
                output = pb_utils.Tensor("OUTPUT", values)
                sender.send(pb_utils.InferenceResponse([output]), flags=flags)
