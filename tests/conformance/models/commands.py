# SPDX-License-Identifier: Apache-2.0
"""Model that does what the text in its input tells it, most of it wrong."""

import os
import signal

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = [self.obey(request) for request in requests]
        return [response for response in responses if response is not None]

    def obey(self, request):
        tensor = pb_utils.get_input_tensor_by_name(request, "COMMAND").as_numpy()
        command = tensor.reshape(-1)[0].decode()
        return getattr(self, command)(request)

    def ok(self, request):
        return answer("ok")

    def parameters(self, request):
        return answer(request.parameters())

    def nothing(self, request):
        return pb_utils.InferenceResponse([])

    def fail(self, request):
        raise ValueError("told to fail")

    def omit_response(self, request):
        return None

    def error(self, request):
        return pb_utils.InferenceResponse(error=pb_utils.TritonError("told to refuse"))

    def not_found(self, request):
        error = pb_utils.TritonError("told to miss", pb_utils.TritonError.NOT_FOUND)
        return pb_utils.InferenceResponse(error=error)

    def process_id(self, request):
        return answer(str(os.getpid()))

    def die(self, request):
        os.kill(os.getpid(), signal.SIGKILL)

    def exit(self, request):
        os._exit(1)


def answer(text):
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor("ANSWER", np.array([text.encode()], dtype=np.object_))]
    )
