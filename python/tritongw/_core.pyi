# SPDX-License-Identifier: Apache-2.0
"""The Rust core of tritongw; import what you need from ``tritongw`` instead."""

def main(argv: list[str]) -> int:
    """Run a command line and return the exit status of the process."""
