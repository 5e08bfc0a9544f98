# SPDX-License-Identifier: Apache-2.0
"""Brings its own configuration; what the class remembers does not outlive that."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    was_asked = False

    @staticmethod
    def auto_complete_config(auto_complete_model_config):
        TritonPythonModel.was_asked = True
        tensor = {"name": "INPUT", "data_type": "TYPE_STRING", "dims": [1]}
        auto_complete_model_config.add_input(tensor)
        auto_complete_model_config.add_output({**tensor, "name": "OUTPUT"})
        auto_complete_model_config.set_max_batch_size(4)
        auto_complete_model_config.set_dynamic_batching()
        return auto_complete_model_config

    def execute(self, requests):
        answer = str(self.was_asked).encode()
        tensor = pb_utils.Tensor("OUTPUT", np.array([[answer]], dtype=np.object_))
        return [pb_utils.InferenceResponse([tensor]) for _ in requests]
