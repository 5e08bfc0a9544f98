# SPDX-License-Identifier: Apache-2.0
"""Model that does the harm its input asks for, or its configuration for one of its callbacks."""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import triton_python_backend_utils as pb_utils

_kept = []


def harm(kind):
    if kind == "raise":
        raise ValueError("told to raise")
    if kind == "exit":
        os._exit(7)
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "segfault":
        ctypes.string_at(0)
    if kind == "loop":
        while True:
            pass


def harm_in(callback, config):
    wanted = json.loads(config)["parameters"].get(callback)
    if wanted is not None:
        harm(wanted["string_value"])


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        harm_in("auto_complete_config", json.dumps(config.as_dict()))
        return config

    def initialize(self, args):
        self.config = args["model_config"]
        harm_in("initialize", self.config)

    def execute(self, requests):
        return [self.obey(request) for request in requests]

    def obey(self, request):
        tensor = pb_utils.get_input_tensor_by_name(request, "COMMAND").as_numpy()
        command, _, argument = tensor.reshape(-1)[0].decode().partition(" ")
        answer = getattr(self, command)(argument)
        data = np.array([str(answer).encode()], dtype=np.object_)
        return pb_utils.InferenceResponse([pb_utils.Tensor("ANSWER", data)])

    def finalize(self):
        harm_in("finalize", self.config)

    def __del__(self):
        harm_in("__del__", self.config)

    def ok(self, argument):
        return argument

    def harm(self, argument):
        harm(argument)

    def process_id(self, argument):
        return os.getpid()

    def child(self, argument):
        """Start a process that outlives its parent unless somebody sees to it."""
        return subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]).pid

    def forked_child(self, argument):
        child = os.fork()
        if child == 0:
            signal.pause()
        return child

    def flood(self, argument):
        """Write that many MiB to both standard streams."""
        line = "x" * 1023 + "\n"
        for _ in range(int(argument) << 10):
            sys.stdout.write(line)
            sys.stderr.write(line)
        return "done"

    def allocate(self, argument):
        """Take that many MiB."""
        _kept.append(np.ones(int(argument) << 20, dtype=np.uint8))
        return "done"

    def open_files(self, argument):
        """Open that many files."""
        _kept.append([os.open("/dev/null", os.O_RDONLY) for _ in range(int(argument))])
        return "done"

    def cores(self, argument):
        return len(os.sched_getaffinity(0))

    def file_limit(self, argument):
        return resource.getrlimit(resource.RLIMIT_NOFILE)[1]
