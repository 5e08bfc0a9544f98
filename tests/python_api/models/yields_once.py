# SPDX-License-Identifier: Apache-2.0
"""Yields although a request has one response."""


class TritonPythonModel:
    def execute(self, requests):
        yield []
