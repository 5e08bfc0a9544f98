# SPDX-License-Identifier: Apache-2.0
"""Tells where its input lies: whether in memory that requests are received into, and the offset
from the beginning of a page."""

from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        address = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy().ctypes.data
        is_received = any(address in places for places in received_ranges())
        place = np.array([is_received, address % 4096], np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT", place)])


def received_ranges():
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "memfd:tritongw-inputs" in line:
            start, end = line.split(" ", 1)[0].split("-")
            yield range(int(start, 16), int(end, 16))
