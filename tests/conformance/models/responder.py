# SPDX-License-Identifier: Apache-2.0
"""Decoupled model that answers as often and in the way that its request's parameter says."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            parameters = json.loads(request.parameters())
            values = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            answer = getattr(self, parameters.get("mode", "plain"))
            answer(request.get_response_sender(), values.tolist(), parameters)

    def plain(self, sender, values, _):
        for value in values:
            sender.send(response(value))
        sender.send(flags=FINAL)

    def joined(self, sender, values, _):
        for value in values[:-1]:
            sender.send(response(value))
        sender.send(response(values[-1]), flags=FINAL)

    def late(self, sender, values, parameters):
        def answer():
            wait_for(parameters["path"])
            self.plain(sender, values, parameters)

        threading.Thread(target=answer).start()

    def errors(self, sender, values, _):
        for value in values:
            error = pb_utils.TritonError(f"told to fail {value}", pb_utils.TritonError.NOT_FOUND)
            sender.send(pb_utils.InferenceResponse(error=error))
        sender.send(flags=FINAL)

    def raises(self, sender, values, _):
        raise ValueError("told to raise")

    def until_cancelled(self, sender, values, parameters):
        Path(parameters["path"]).with_suffix(".running").touch()
        while not sender.is_cancelled():
            time.sleep(0.01)
        Path(parameters["path"]).touch()
        sender.send(flags=FINAL)


def response(value):
    return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([value], np.int32))])


def wait_for(path):
    while not Path(path).exists():
        time.sleep(0.01)
