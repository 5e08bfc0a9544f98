# SPDX-License-Identifier: Apache-2.0
"""Model that does what the text in its input tells it; parameters by default."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils

CODES = ["UNKNOWN", "INTERNAL", "NOT_FOUND", "INVALID_ARG", "UNAVAILABLE", "UNSUPPORTED"]
CODES += ["ALREADY_EXISTS", "CANCELLED"]


class TritonPythonModel:
    def execute(self, requests):
        return [self.respond(request) for request in requests]

    def respond(self, request):
        tensor = pb_utils.get_input_tensor_by_name(request, "COMMAND").as_numpy()
        command = tensor.reshape(-1)[0].decode(errors="replace")
        if command in CODES:
            code = getattr(pb_utils.TritonError, command)
            return pb_utils.InferenceResponse(error=pb_utils.TritonError("told to fail", code))
        if command == "nothing":
            return pb_utils.InferenceResponse([])
        parameters = json.loads(request.parameters())
        answer = json.dumps(parameters, sort_keys=True).encode()
        output = pb_utils.Tensor("ANSWER", np.array([answer], dtype=np.object_))
        return pb_utils.InferenceResponse([output])
