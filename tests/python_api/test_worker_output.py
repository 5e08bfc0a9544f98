# SPDX-License-Identifier: Apache-2.0
"""What a worker writes to its standard streams is in the server's log, with whose it is."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from python_api_support import wait_until

if TYPE_CHECKING:
    from python_api_support import Server

MODEL = "output_worker"
OWNER = rf"\[{MODEL}_0\]"


@pytest.mark.parametrize(
    ("command", "level", "stream"),
    [("printed", "I", "stdout"), ("complained", "W", "stderr"), ("written", "I", "stdout")],
)
def test_a_line_is_logged_with_its_instance(
    server: Server, command: str, level: str, stream: str
) -> None:
    server.command(MODEL, f"{command} this by {command}")
    server.wait_for_log(rf'(?m)^{level}\d{{4}} .* {stream}:0\] "{OWNER} this by {command}"$')


def test_a_model_in_process_writes_to_the_servers_streams(server: Server) -> None:
    server.command("output_in_process", "flushed plainly")
    server.wait_for_log(r"(?m)^plainly$")


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_no_line_looks_like_the_servers(server: Server, end: str) -> None:
    name = end.encode().hex()
    server.command(MODEL, f'printed before {name}{end}E0101 forged {name} "\x1b[1m')
    server.wait_for_log(rf'(?m)^I.* stdout:0\] "{OWNER} before {name}"$')
    server.wait_for_log(
        rf'(?m)^I.* stdout:0\] "{OWNER} E0101 forged {name} \\"\\u001b\[1m"$',
    )
    assert not re.search(r"(?m)^E0101 forged", server.log)


def test_what_is_no_text_is_replaced(server: Server) -> None:
    server.command(MODEL, "written broken \xff here")
    server.wait_for_log(rf'(?m)"{OWNER} broken \ufffd here"$')


def test_a_long_line_is_cut_to_pieces(server: Server) -> None:
    server.command(MODEL, f"printed {'long' * 5_000}")
    server.wait_for_log(rf'(?m)"{OWNER} (?:long){{904}}"$')
    assert len(re.findall(rf'(?m)"{OWNER} (?:long){{2048}}"$', server.log)) == 2


def test_last_words_are_logged_before_the_end(server: Server) -> None:
    answer = server.command(MODEL, "die last words")
    assert answer.error == f"Stub process '{MODEL}_0' is not healthy."
    server.wait_for_log(rf"\"{OWNER} last words\"\n(?:.*\n)*.*the worker of '{MODEL}_0' ended")
    wait_until(lambda: server.command(MODEL, "printed again").status == 200, "another worker")


def test_a_flood_is_limited_and_counted(server: Server) -> None:
    n_lines = 200_000

    def n_told() -> int:
        log = server.log
        dropped = re.findall(rf'"{OWNER} dropped (\d+) lines of output: ', log)
        return sum(map(int, dropped)) + len(re.findall(rf'"{OWNER} flood \d+"\n', log))

    with ThreadPoolExecutor(1) as pool:
        flood = pool.submit(server.command, MODEL, f"flood {n_lines}")
        for _ in range(20):
            assert server.command("commands_worker", "ok").status == 200
        assert flood.result().data() == ["done"]
    wait_until(lambda: n_told() == n_lines, "all lines to be logged or counted")
    assert len(re.findall(rf'"{OWNER} flood \d+"\n', server.log)) < n_lines
    assert server.command(MODEL, "printed after the flood").status == 200
    server.wait_for_log(rf'(?m)"{OWNER} after the flood"$')
