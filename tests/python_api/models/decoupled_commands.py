# SPDX-License-Identifier: Apache-2.0
"""Does what the text in its input says, any number of answers at a time, from any thread."""

import threading

import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    def initialize(self, args):
        self.name = args["model_instance_name"]

    def execute(self, requests):
        (request,) = requests
        command = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()[0].decode()
        return getattr(self, command)(request.get_response_sender())

    def return_a_list(self, sender):
        return [say("a")]

    def threads(self, sender):
        """Four threads send, one after another; the last one ends the request."""
        left = iter("dcba")

        def send_next():
            part = next(left, None)
            if part is None:
                sender.send(flags=FINAL)
                return
            sender.send(say(part))
            threading.Thread(target=send_next).start()

        threading.Thread(target=send_next).start()

    def until_cancelled(self, sender):
        sender.send(say("a"))

        def wait():
            ticks = threading.Event()
            while not sender.is_cancelled():
                ticks.wait(0.01)
            print("cancelled", self.name, flush=True)
            sender.send(flags=FINAL)

        threading.Thread(target=wait).start()


def say(value):
    tensor = pb_utils.Tensor("OUTPUT", np.array([value.encode()], dtype=np.object_))
    return pb_utils.InferenceResponse([tensor])
