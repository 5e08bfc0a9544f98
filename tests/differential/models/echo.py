# SPDX-License-Identifier: Apache-2.0
"""Model that returns each input as the output of the same position."""

import json

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        names = [entry["name"] for entry in config["input"]]
        self.outputs = dict(zip(names, config["output"], strict=True))

    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [self.echo(tensor) for tensor in sorted(request.inputs(), key=lambda t: t.name())]
            )
            for request in requests
        ]

    def echo(self, tensor):
        output = self.outputs[tensor.name()]
        if output["data_type"] == "TYPE_BF16":
            # numpy has no such type.
            return pb_utils.Tensor.from_dlpack(output["name"], tensor.to_dlpack())
        return pb_utils.Tensor(output["name"], tensor.as_numpy())
