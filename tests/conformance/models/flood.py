# SPDX-License-Identifier: Apache-2.0
"""Decoupled model that sends large responses as fast as it may, and notes how many it has sent."""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

BYTE_SIZE = 1 << 20


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            progress = Path(json.loads(request.parameters())["path"])
            count = pb_utils.get_input_tensor_by_name(request, "COUNT").as_numpy()[0]
            sender = request.get_response_sender()
            for sent in range(count):
                tensor = pb_utils.Tensor("OUT", np.full([BYTE_SIZE], sent, np.uint8))
                sender.send(pb_utils.InferenceResponse([tensor]))
                progress.write_text(str(sent + 1))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
