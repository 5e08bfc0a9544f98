# SPDX-License-Identifier: Apache-2.0
"""Does what the text in its input says, and answers with a text."""

import asyncio
import json
import os
import threading

import numpy as np
import triton_python_backend_utils as pb_utils

from . import beside


class Unrelated:
    """Any other class of the file is left alone."""


class TritonPythonModel:
    def initialize(self, args):
        self.args = args

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        command = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()[0].decode()
        return getattr(self, command)(request)

    def ok(self, request):
        return say("ok")

    def arguments(self, request):
        types = {type(value).__name__ for value in self.args.values()}
        config = json.loads(self.args["model_config"])
        return say(json.dumps({**self.args, "model_config": config["name"], "types": list(types)}))

    def request(self, request):
        described = {
            "id": request.request_id(),
            "correlation_id": request.correlation_id(),
            "flags": request.flags(),
            "timeout": request.timeout(),
            "priority": request.priority(),
            "parameters": request.parameters(),
            "outputs": request.requested_output_names(),
            "inputs": [tensor.name() for tensor in request.inputs()],
            "is_cancelled": request.is_cancelled(),
            "trace": request.trace().get_context(),
        }
        return say(json.dumps(described))

    def process_id(self, request):
        return say(str(os.getpid()))

    def where(self, request):
        return say(json.dumps([pb_utils.get_model_dir(), beside.WHERE, __name__]))

    def log(self, request):
        pb_utils.Logger.log_info("an information")
        pb_utils.Logger.log_warn("a warning")
        pb_utils.Logger.log_error("an error")
        pb_utils.Logger.log_verbose("a detail")
        pb_utils.Logger.log("a line", pb_utils.Logger.WARNING)
        return say("ok")

    def raise_value_error(self, request):
        message = "boom"
        raise ValueError(message)

    def raise_own_error(self, request):
        raise pb_utils.TritonModelException("own boom")

    def error(self, request):
        error = pb_utils.TritonError("nothing here", pb_utils.TritonError.NOT_FOUND)
        return pb_utils.InferenceResponse(error=error)

    def wrong_type(self, request):
        return "text"

    def nothing(self, request):
        return None

    def both_outputs(self, request):
        return pb_utils.InferenceResponse([text("OUTPUT", "first"), text("SECOND", "second")])

    def unknown_output(self, request):
        return pb_utils.InferenceResponse([text("OUTPUT", "first"), text("NEITHER", "lost")])

    def str_output(self, request):
        tensor = pb_utils.Tensor("OUTPUT", np.array(["grün", b"x", 7], dtype=np.object_))
        return pb_utils.InferenceResponse([text("SECOND", ""), tensor])

    def parameters(self, request):
        values = {"s": "x", "i": 3, "b": True, "d": 1.5}
        return pb_utils.InferenceResponse([text("OUTPUT", "ok")], parameters=values)

    def sender(self, request):
        request.get_response_sender().send(
            say("sent"), pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        )

    def late_sender(self, request):
        sender = request.get_response_sender()
        threading.Timer(0.05, lambda: sender.send(say("late"), 1)).start()

    def dropped_sender(self, request):
        request.get_response_sender()

    def sender_errors(self, request):
        sender = request.get_response_sender()
        texts = []
        for response, flags in [(None, 0), (None, 7), (None, 1), (say("sent"), 0), (say("x"), 0)]:
            try:
                sender.send(response, flags)
            except pb_utils.TritonModelException as error:
                texts.append(str(error))
        sender.send(flags=1)
        try:
            sender.send(say("y"), 1)
        except pb_utils.TritonModelException as error:
            texts.append(str(error))
        name = self.args["model_instance_name"]
        print(f"sender errors of {name}: {json.dumps(texts)}", flush=True)

    def loop(self, request):
        async def nested():
            await asyncio.sleep(0)
            return "async"

        return say(asyncio.run(nested()))

    def finalize(self):
        print("finalized", self.args["model_instance_name"], flush=True)


def text(name, value):
    return pb_utils.Tensor(name, np.array([value.encode()], dtype=np.object_))


def say(value):
    return pb_utils.InferenceResponse(output_tensors=[text("OUTPUT", value)])
