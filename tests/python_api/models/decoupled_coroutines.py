# SPDX-License-Identifier: Apache-2.0
"""Answers any number of times from coroutines, and lives on after the last answer if told to."""

import asyncio

import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    def initialize(self, args):
        self.name = args["model_instance_name"]
        self.barrier = asyncio.Barrier(2)

    async def execute(self, requests):
        for request in requests:
            tensor = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()
            await getattr(self, tensor[0].decode())(request.get_response_sender())

    async def take_turns(self, sender):
        """Send a part, then wait until another request has sent one as well, three times."""
        for part in "abc":
            sender.send(say(part))
            await self.barrier.wait()
        sender.send(flags=FINAL)

    async def fail_after_one(self, sender):
        sender.send(say("a"))
        await asyncio.sleep(0)
        raise ValueError("boom")

    async def live_on(self, sender):
        sender.send(say("a"), FINAL)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("cancelled", self.name, flush=True)
            raise

    def finalize(self):
        print("finalized", self.name, flush=True)


def say(value):
    tensor = pb_utils.Tensor("OUTPUT", np.array([value.encode()], dtype=np.object_))
    return pb_utils.InferenceResponse([tensor])
