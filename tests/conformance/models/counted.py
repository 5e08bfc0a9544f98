# SPDX-License-Identifier: Apache-2.0
"""Decoupled model that answers as often as it is asked, or until it is cancelled."""

import time

import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            count = int(pb_utils.get_input_tensor_by_name(request, "COUNT").as_numpy()[0])
            size = int(pb_utils.get_input_tensor_by_name(request, "SIZE").as_numpy()[0])
            sender = request.get_response_sender()
            if count < 0:
                self.until_cancelled(sender)
                continue
            for index in range(count):
                sender.send(response(np.full(size, index, np.int32)))
            sender.send(flags=FINAL)

    def until_cancelled(self, sender):
        sender.send(response(np.array([0], np.int32)))
        while not sender.is_cancelled():
            time.sleep(0.005)
        error = pb_utils.TritonError("given up", pb_utils.TritonError.CANCELLED)
        sender.send(pb_utils.InferenceResponse(error=error), flags=FINAL)


def response(values):
    return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", values)])
