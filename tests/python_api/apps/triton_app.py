# SPDX-License-Identifier: Apache-2.0
"""A class as in a model.py, in a file of another name."""


class Triton:
    """As in a model.py."""

    @staticmethod
    def auto_complete_config(config):
        config.add_input({"name": "X", "data_type": "TYPE_FP32", "dims": [-1]})
        config.add_output({"name": "Y", "data_type": "TYPE_FP32", "dims": [-1]})
        return config

    def execute(self, requests):
        import triton_python_backend_utils as pb_utils

        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("Y", pb_utils.get_input_tensor_by_name(each, "X").as_numpy() + 1)]
            )
            for each in requests
        ]
