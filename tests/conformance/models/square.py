# SPDX-License-Identifier: Apache-2.0
"""Decoupled: answers the number n n times, from a thread that outlives ``execute``."""

import threading

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.underway = 0
        self.lock = threading.Lock()

    def execute(self, requests):
        for request in requests:
            number = int(pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()[0])
            with self.lock:
                self.underway += 1
            arguments = (request.get_response_sender(), number)
            threading.Thread(target=self.answer, args=arguments, daemon=True).start()

    def answer(self, sender, number):
        for _ in range(number):
            tensor = pb_utils.Tensor("OUT", np.array([number], dtype=np.int32))
            sender.send(pb_utils.InferenceResponse(output_tensors=[tensor]))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        with self.lock:
            self.underway -= 1

    def finalize(self):
        assert self.underway == 0
