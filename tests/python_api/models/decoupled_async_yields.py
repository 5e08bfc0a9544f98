# SPDX-License-Identifier: Apache-2.0
"""Yields its answers asynchronously, as the text in its input says."""

import asyncio

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.barrier = asyncio.Barrier(2)
        self.name = args["model_instance_name"]

    async def execute(self, requests):
        (request,) = requests
        command = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()[0].decode()
        try:
            async for response in getattr(self, command)():
                yield response
        finally:
            print("closed", self.name, command, flush=True)

    async def letters(self):
        yield say("a")
        await asyncio.sleep(0)
        yield [say("b")]
        yield [None]
        yield [say("c")]

    async def take_turns(self):
        for part in "abc":
            yield say(part)
            await self.barrier.wait()

    async def fail(self):
        yield say("a")
        raise ValueError("boom")

    async def wrong(self):
        yield "text"

    async def much(self):
        """More than a client that does not read may hold up."""
        for _ in range(200):
            yield say("x" * 100_000)


def say(value):
    tensor = pb_utils.Tensor("OUTPUT", np.array([value.encode()], dtype=np.object_))
    return pb_utils.InferenceResponse([tensor])
