# SPDX-License-Identifier: Apache-2.0
"""Answers in coroutines; in a decoupled model one request may need another to end."""

import asyncio

import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    def initialize(self, args):
        self.is_decoupled = '"decoupled":true' in args["model_config"].replace(" ", "")
        self.waiting = []

    async def execute(self, requests):
        if self.is_decoupled:
            await self.answer_in_pairs(requests)
            return None
        await asyncio.gather(*(asyncio.sleep(0) for _ in requests))
        return [answer(request) for request in requests]

    async def answer_in_pairs(self, requests):
        mine = asyncio.get_running_loop().create_future()
        self.waiting.append(mine)
        if len(self.waiting) == 2:
            for future in self.waiting:
                future.set_result(None)
        await mine
        for request in requests:
            request.get_response_sender().send(answer(request), FINAL)


def answer(request):
    tensor = pb_utils.get_input_tensor_by_name(request, "IN")
    return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", tensor.as_numpy() * 2)])
