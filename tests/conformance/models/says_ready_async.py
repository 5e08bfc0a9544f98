# SPDX-License-Identifier: Apache-2.0
"""As `says_ready`, with an event loop."""

import asyncio
import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        self.directory = Path(parameters["directory"]["string_value"])
        self.name = args["model_instance_name"]
        self.loop = asyncio.get_event_loop()
        self.n_inside = 0

    async def is_ready(self):
        if asyncio.get_running_loop() is not self.loop:
            message = "asked on a loop that is not the model's"
            raise RuntimeError(message)
        self.n_inside += 1
        note(self.directory / "asked", f"{self.name} {self.n_inside}\n")
        while (answer := (self.directory / "answer").read_text()) == "wait":
            await asyncio.sleep(0.005)
        self.n_inside -= 1
        if answer == "raise":
            message = "the database is gone"
            raise ConnectionError(message)
        if answer == "call":
            pb_utils.is_model_ready("nobody")
        return {"yes": True, "no": False, "none": None, "one": np.True_}.get(answer, answer)

    async def execute(self, requests):
        note(self.directory / "entered", "entered\n")
        while (self.directory / "hold").exists():
            await asyncio.sleep(0.005)
        tensor = pb_utils.Tensor("OUT", np.ones(1, np.float32))
        return [pb_utils.InferenceResponse([tensor]) for _ in requests]


def note(path, line):
    with path.open("a") as file:
        file.write(line)
