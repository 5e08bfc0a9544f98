# SPDX-License-Identifier: Apache-2.0
"""Model that notes in a file what each execution was given; may fail on purpose."""

import json
from pathlib import Path

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.instance = args["model_instance_name"]
        self.is_decoupled = config.get("model_transaction_policy", {}).get("decoupled", False)
        parameters = {name: each["string_value"] for name, each in config["parameters"].items()}
        self.record = Path(parameters["record"])
        # Raises, or answers with an error.
        self.failure = parameters.get("failure", "")

    def execute(self, requests):
        with self.record.open("a") as record:
            record.write(json.dumps([self.instance, [describe(each) for each in requests]]) + "\n")
        if self.failure == "raise":
            message = "the model is out of order"
            raise RuntimeError(message)
        if self.is_decoupled:
            for request in requests:
                sender = request.get_response_sender()
                sender.send(self.answer())
                sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            return None
        return [self.answer() for _ in requests]

    def answer(self):
        if self.failure == "answer":
            return pb_utils.InferenceResponse([], pb_utils.TritonError("not this one"))
        return pb_utils.InferenceResponse([])


def describe(request):
    """Return what the request holds, as JSON can."""
    tensors = {}
    for tensor in request.inputs():
        array = tensor.as_numpy()
        is_text = array.dtype == object
        values = [each.decode() for each in array.reshape(-1)] if is_text else array.tolist()
        tensors[tensor.name()] = [list(array.shape), values]
    return {
        "id": request.request_id(),
        "correlation_id": request.correlation_id(),
        "inputs": tensors,
    }
