# SPDX-License-Identifier: Apache-2.0
"""Model that notes when an execution begins and ends; it ends once a gate is open."""

import json
import time
from pathlib import Path

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        directory = Path(parameters["directory"]["string_value"])
        self.name = args["model_name"]
        self.record = directory / "record"
        self.gate = directory / f"open-{self.name}"

    def note(self, what):
        with self.record.open("a") as record:
            record.write(f"{what} {self.name}\n")

    def execute(self, requests):
        self.note("+")
        # Long enough for others to begin meanwhile, if nothing keeps them.
        time.sleep(0.005)
        while not self.gate.exists():
            time.sleep(0.005)
        self.note("-")
        return [pb_utils.InferenceResponse([]) for _ in requests]
