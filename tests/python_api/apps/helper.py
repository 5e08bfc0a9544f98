# SPDX-License-Identifier: Apache-2.0
"""Beside the file that is served, as a user has it."""

FACTOR = 2
