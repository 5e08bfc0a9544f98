# SPDX-License-Identifier: Apache-2.0
"""Decoupled model that answers each letter of its text by itself; `!` is an error."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            text = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()
            for letter in text.reshape(-1)[0].decode():
                sender.send(respond(letter))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def respond(letter):
    if letter == "!":
        error = pb_utils.TritonError("told to refuse", pb_utils.TritonError.UNAVAILABLE)
        return pb_utils.InferenceResponse([], error=error)
    tensor = pb_utils.Tensor("LETTER", np.array([letter.encode()], dtype=np.object_))
    return pb_utils.InferenceResponse([tensor])
