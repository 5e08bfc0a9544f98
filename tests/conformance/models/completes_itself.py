# SPDX-License-Identifier: Apache-2.0
"""Adds and subtracts, and says what it takes by itself: there is no word of it in config.pbtxt."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(auto_complete_model_config):
        for name in ("INPUT0", "INPUT1"):
            auto_complete_model_config.add_input(described(name))
        for name in ("OUTPUT0", "OUTPUT1"):
            auto_complete_model_config.add_output(described(name))
        auto_complete_model_config.set_max_batch_size(4)
        auto_complete_model_config.set_dynamic_batching()
        return auto_complete_model_config

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        left, right = (
            pb_utils.get_input_tensor_by_name(request, name).as_numpy()
            for name in ("INPUT0", "INPUT1")
        )
        outputs = {"OUTPUT0": left + right, "OUTPUT1": left - right}
        return pb_utils.InferenceResponse(
            output_tensors=[pb_utils.Tensor(name, value) for name, value in outputs.items()]
        )


def described(name):
    return {"name": name, "data_type": "TYPE_FP32", "dims": [4]}
