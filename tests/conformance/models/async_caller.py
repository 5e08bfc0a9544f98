# SPDX-License-Identifier: Apache-2.0
"""Model whose ``execute`` is a coroutine function that awaits other models."""

import asyncio
import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    async def execute(self, requests):
        return [await self.obey(request) for request in requests]

    async def obey(self, asked):
        command = pb_utils.get_input_tensor_by_name(asked, "COMMAND").as_numpy().reshape(-1)[0]
        name, *arguments = json.loads(command)
        try:
            heard = await getattr(self, name)(*arguments)
        except Exception as error:
            heard = f"{type(error).__name__}: {error}"
        text = np.array([json.dumps(heard).encode()], dtype=np.object_)
        return pb_utils.InferenceResponse([pb_utils.Tensor("ANSWER", text)])

    async def gather(self, count):
        calls = [request(value=float(index)).async_exec() for index in range(count)]
        return [value(response) for response in await asyncio.gather(*calls)]

    async def kinds(self):
        future = request().async_exec()
        is_awaitable = asyncio.isfuture(future)
        responses = await repeat(2).async_exec(decoupled=True)
        return [is_awaitable, value(await future), type(responses).__name__]

    async def stream(self, count):
        responses = await repeat(count).async_exec(decoupled=True)
        return [value(response) for response in responses]

    async def stream_async(self, count):
        responses = await repeat(count).async_exec(decoupled=True)
        return [value(response) async for response in responses]

    async def streams_at_once(self, count):
        async def one():
            responses = await repeat(count).async_exec(decoupled=True)
            return [value(response) async for response in responses]

        return await asyncio.gather(one(), one())

    async def nobody(self):
        return value(await request("nobody").async_exec())

    async def blocking(self):
        return value(request().exec())

    async def cancelled(self):
        responses = await repeat(-1).async_exec(decoupled=True)
        responses.cancel()
        return [value(response) async for response in responses][-1]


def request(model="increment", value=1.0):
    return pb_utils.InferenceRequest(
        model_name=model,
        requested_output_names=["OUT"],
        inputs=[pb_utils.Tensor("IN", np.array([value], np.float32))],
    )


def repeat(count):
    inputs = [
        pb_utils.Tensor("COUNT", np.array([count], np.int32)),
        pb_utils.Tensor("SIZE", np.array([1], np.int32)),
    ]
    return pb_utils.InferenceRequest(
        model_name="repeat", requested_output_names=["OUT"], inputs=inputs
    )


def value(response):
    if response.has_error():
        return response.error().message()
    outputs = response.output_tensors()
    return outputs[0].as_numpy().tolist() if outputs else None
