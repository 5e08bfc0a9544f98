# SPDX-License-Identifier: Apache-2.0
"""Decoupled: answers each element of its input by itself, with its place."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        if not pb_utils.using_decoupled_model_transaction_policy(config):
            raise pb_utils.TritonModelException("this model answers any number of times")
        output = pb_utils.get_output_config_by_name(config, "OUT")
        self.data_type = pb_utils.triton_string_to_numpy(output["data_type"])

    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            values = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            for index, value in enumerate(values):
                if not sender.is_cancelled():
                    sender.send(self.response(index, value))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def response(self, index, value):
        return pb_utils.InferenceResponse(
            output_tensors=[
                pb_utils.Tensor("OUT", np.array([value], dtype=self.data_type)),
                pb_utils.Tensor("INDEX", np.array([index], dtype=np.uint32)),
            ]
        )
