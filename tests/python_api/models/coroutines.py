# SPDX-License-Identifier: Apache-2.0
"""Does what the text in its input says, in coroutines that run side by side."""

import asyncio
import os
import sys

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.name = args["model_instance_name"]
        self.loop = asyncio.get_event_loop()
        self.barriers = {}
        self.events = {}

    async def execute(self, requests):
        assert asyncio.get_running_loop() is self.loop
        (request,) = requests
        return [await self.answer(request)]

    async def answer(self, request):
        tensor = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()
        command, *arguments = tensor[0].decode().split()
        return say(await getattr(self, command)(*arguments))

    async def ok(self):
        return "ok"

    async def meet(self, place, count):
        """Wait until `count` coroutines are here."""
        barrier = self.barriers.setdefault(place, asyncio.Barrier(int(count)))
        await barrier.wait()
        return str(os.getpid())

    async def wait(self, name):
        """Wait for :meth:`set` with this name."""
        await self.event(name).wait()
        return name

    async def wait_aloud(self, name):
        # One write: both hosts share the server's output.
        sys.stdout.write(f"waiting {self.name} {name}\n")
        sys.stdout.flush()
        return await self.wait(name)

    async def set(self, name):
        self.event(name).set()
        return name

    async def fail(self):
        raise ValueError("boom")

    async def cancel_itself(self):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async def exit(self):
        raise SystemExit(3)

    async def task_exits(self):
        async def leave():
            raise SystemExit(3)

        self.task = asyncio.create_task(leave())
        await asyncio.wait([self.task])
        return "still here"

    async def die(self):
        os.abort()

    def event(self, name):
        return self.events.setdefault(name, asyncio.Event())

    def finalize(self):
        print("finalized", self.name, flush=True)


def say(value):
    tensor = pb_utils.Tensor("OUTPUT", np.array([value.encode()], dtype=np.object_))
    return pb_utils.InferenceResponse([tensor])
