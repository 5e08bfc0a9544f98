# SPDX-License-Identifier: Apache-2.0
"""Stands in for a worker and breaks the rules that its model's parameter ``kind`` names.

Run by the interpreter that a test makes; it imports nothing of ours.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import struct


def main() -> None:
    """Take the server's order and break the rules."""
    control = socket.socket(fileno=0)
    message, fds, _, _ = socket.recv_fds(control, 1 << 17, 8)
    (order,) = json.loads(message).values()
    config = json.loads(order["source"]["model_config"])
    kind = config["parameters"]["kind"]["string_value"]
    if kind == "instead_of_start":
        control.send(b"\xff\xfe nonsense")
        signal.pause()
    control.send(b'{"Started":{"traits":{"is_concurrent":false,"has_is_ready":false}}}')
    {
        "control": speak_nonsense,
        "attached": promise_too_much,
        "out_of_turn": speak_out_of_turn,
        "ring": write_random_bytes,
        "frames": write_random_frames,
        "silent": say_nothing,
        "hung_up": hang_up,
    }[kind](control, fds)


def speak_nonsense(control: socket.socket, fds: list[int]) -> None:
    control.send(b'{"Nonsense":[1,2,3]}')
    signal.pause()


def promise_too_much(control: socket.socket, fds: list[int]) -> None:
    size = 1 << 60
    socket.send_fds(control, [json.dumps({"Attached": {"byte_size": size}}).encode()], fds[:1])
    signal.pause()


def speak_out_of_turn(control: socket.socket, fds: list[int]) -> None:
    for token in range(1000):
        control.send(b'{"Started":{"traits":{"is_concurrent":false,"has_is_ready":false}}}')
        control.send(json.dumps({"IsCancelled": {"token": token, "batch": 9, "index": 9}}).encode())
    write_random_frames(control, fds)


def say_nothing(control: socket.socket, fds: list[int]) -> None:
    while True:
        signal.pause()


def hang_up(control: socket.socket, fds: list[int]) -> None:
    control.close()
    while True:
        signal.pause()


def write_random_bytes(control: socket.socket, fds: list[int]) -> None:
    """Write anything anywhere in the rings."""
    channel, waker = fds[0], fds[4]
    size = os.fstat(channel).st_size
    while True:
        os.pwrite(channel, random.randbytes(4096), random.randrange(0, size, 64))
        os.write(waker, b"\1")


def write_random_frames(control: socket.socket, fds: list[int]) -> None:
    """Write cells whose numbers are small, so that some mean something."""
    channel, waker = fds[0], fds[4]
    size = os.fstat(channel).st_size
    while True:
        numbers = [random.choice([0, 1, 2, 3, 5, 64, 4096, 1 << 40]) for _ in range(8)]
        cell = struct.pack("<8Q", *numbers)
        os.pwrite(channel, cell * 16, random.randrange(0, size - 1024, 64))
        os.write(waker, b"\1")


if __name__ == "__main__":
    main()
