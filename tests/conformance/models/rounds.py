# SPDX-License-Identifier: Apache-2.0
"""Model that asks for a request again until it has seen it as often as the request says.

What it may be told in place of a number of rounds:
``-1`` answer, and let those end that were told 0; ``0`` go on until then; ``-2`` answer, and ask
for the request again all the same; ``-3`` two rounds, the first of which answers in the second.
"""

import json
import threading

import numpy as np
import triton_python_backend_utils as pb_utils

AGAIN = pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE
FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.is_decoupled = config.get("model_transaction_policy", {}).get("decoupled", False)
        self.rounds = {}
        self.is_over = False
        self.late = None
        self.second_round = threading.Event()

    def execute(self, requests):
        responses = [self.round(request) for request in requests]
        return None if self.is_decoupled else responses

    def round(self, request):
        """Note a round; the last answers with what all of them saw, others only if decoupled."""
        wanted = pb_utils.get_input_tensor_by_name(request, "ROUNDS").as_numpy()
        data = pb_utils.get_input_tensor_by_name(request, "DATA")
        start = pb_utils.get_input_tensor_by_name(request, "START").as_numpy()
        key = request.correlation_id()
        if key == 0:  # fills an empty slot of the batch
            return respond(wanted, [])
        if start.reshape(-1)[0]:
            self.rounds[key] = []
        seen = self.rounds[key]
        total = float(data.as_numpy().sum()) if data else 0.0
        seen.append([int(start.reshape(-1)[0]), request.flags(), total])
        if wanted.reshape(-1)[0] == -3:
            return self.round_that_answers_late(request, respond(wanted, seen))
        is_last = self.is_last(int(wanted.reshape(-1)[0]), len(seen))
        if not is_last:
            request.set_release_flags(AGAIN)
        if self.is_decoupled:
            request.get_response_sender().send(respond(wanted, seen), FINAL if is_last else 0)
            return None
        if is_last or wanted.reshape(-1)[0] == -2:
            return respond(wanted, seen)
        return None

    def round_that_answers_late(self, request, response):
        sender = request.get_response_sender()
        if self.late is None:
            request.set_release_flags(AGAIN)
            self.late = threading.Thread(target=self.answer_late, args=(sender, response))
            self.late.start()
        else:
            self.second_round.set()
            self.late.join()
            sender.send(response, FINAL)

    def answer_late(self, sender, response):
        self.second_round.wait()
        sender.send(response)

    def is_last(self, wanted, count):
        if wanted == -1:
            self.is_over = True
        if wanted == 0:
            return self.is_over
        return wanted != -2 and count >= wanted


def respond(wanted, seen):
    text = np.full(wanted.shape, json.dumps(seen).encode(), dtype=object)
    return pb_utils.InferenceResponse([pb_utils.Tensor("SEEN", text)])
