# SPDX-License-Identifier: Apache-2.0
"""Yields its answers, as the text in its input says."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        yield from self.answer(requests)

    def answer(self, requests):
        (request,) = requests
        command = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()[0].decode()
        if command == "letters":
            yield say("a")
            yield [say("b")]
            yield [None]
            yield [say("c")]
        elif command == "fail":
            yield say("a")
            raise ValueError("boom")
        elif command == "wrong":
            yield "text"
        elif command == "ends_early":
            request.get_response_sender().send(say("a"), flags=1)


def say(value):
    tensor = pb_utils.Tensor("OUTPUT", np.array([value.encode()], dtype=np.object_))
    return pb_utils.InferenceResponse([tensor])
