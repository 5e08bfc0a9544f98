# SPDX-License-Identifier: Apache-2.0
"""Coroutines that log while others do; the text in the input is what to say."""

import asyncio

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.n_inside = 0
        self.is_full = asyncio.Event()

    async def execute(self, requests):
        (request,) = requests
        text = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()[0].decode()
        self.n_inside += 1
        if self.n_inside == 2:
            self.is_full.set()
        await self.is_full.wait()
        pb_utils.Logger.log_info(f"both: {text}")
        if text == "fail":
            raise ValueError(text)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT", np.array([b"x"], object))])]
