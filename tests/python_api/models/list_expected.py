# SPDX-License-Identifier: Apache-2.0
"""Returns from ``execute`` what no model should."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        command = pb_utils.get_input_tensor_by_name(requests[0], "INPUT").as_numpy()[0]
        return {b"none": None, b"short": [], b"tuple": (1,)}[command]
