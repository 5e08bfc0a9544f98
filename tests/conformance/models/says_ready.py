# SPDX-License-Identifier: Apache-2.0
"""Model whose readiness a test decides by files: `answer` says what, `asked` counts questions."""

import json
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        self.directory = Path(parameters["directory"]["string_value"])
        self.name = args["model_instance_name"]
        if "is_ready" in parameters:
            # As of a class that has it under its name.
            self.is_ready = getattr(self, parameters["is_ready"]["string_value"], True)
        self.n_inside = 0

    def is_ready(self):
        self.n_inside += 1
        try:
            note(self.directory / "asked", f"{self.name} {self.n_inside}\n")
            while (answer := self.answer()) == "wait":
                time.sleep(0.005)
        finally:
            self.n_inside -= 1
        return obey(answer)

    async def is_ready_later(self):
        note(self.directory / "asked", f"{self.name} 1\n")
        return obey(self.answer())

    def answer(self):
        own = self.directory / f"answer_{self.name}"
        return (own if own.exists() else self.directory / "answer").read_text()

    def execute(self, requests):
        note(self.directory / "entered", "entered\n")
        while (self.directory / "hold").exists():
            time.sleep(0.005)
        return [done() for _ in requests]


def note(path, line):
    with path.open("a") as file:
        file.write(line)


def obey(answer):
    if answer == "raise":
        message = "the database is gone"
        raise ConnectionError(message)
    if answer == "call":
        pb_utils.is_model_ready("nobody")
    return {"yes": True, "no": False, "none": None, "one": np.True_}.get(answer, answer)


def done():
    return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.ones(1, np.float32))])
