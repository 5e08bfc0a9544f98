# SPDX-License-Identifier: Apache-2.0
"""Raises while it is initialised."""


class TritonPythonModel:
    def initialize(self, args):
        self.read()

    def read(self):
        raise RuntimeError("no weights")

    def execute(self, requests):
        return []
