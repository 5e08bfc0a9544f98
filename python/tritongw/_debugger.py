# SPDX-License-Identifier: Apache-2.0
"""Debuggers for models: debugpy for editors, or pdb over a socket where nothing is installed.

A model's process has no terminal. It listens on 127.0.0.1 only, and only if it is told to: whoever
connects can run any code.
"""

import contextlib
import io
import pdb
import re
import socket
import sys
from typing import Any, TextIO, cast

import triton_python_backend_utils as pb_utils

ADDRESS = "127.0.0.1"

_SETTING = re.compile(r"(?:(?P<kind>pdb|debugpy):)?(?P<port>\d{1,5})")
# How many ports are tried: other instances have those before.
_TRIES = 64

# The instance for which debugpy listens in this process, and where.
_listening: list[str] = []


def start(setting: str, instance_name: str) -> None:
    """Make the process ready for a debugger.

    Parameters
    ----------
    setting : str
        ``PORT`` or ``debugpy:PORT``: wait for an editor. ``pdb:PORT``: let ``breakpoint()`` wait
        for a connection. If the port is taken, the next free one is used.
    instance_name : str
        The instance, for messages.

    Raises
    ------
    ValueError
        If the setting is none of these.
    ImportError
        If debugpy is asked for and not installed.
    """
    found = _SETTING.fullmatch(setting)
    if found is None or int(found["port"]) > 65535:
        message = f"TRITONGW_PYTHON_DEBUG must be PORT or pdb:PORT, found '{setting}'"
        raise ValueError(message)
    port = int(found["port"])
    if found["kind"] == "pdb":
        sys.breakpointhook = _Breakpoints(_listen(port), instance_name).stop
    else:
        _wait_for_editor(port, instance_name)


def _wait_for_editor(port: int, instance_name: str) -> None:
    try:
        import debugpy
    except ImportError as error:
        message = (
            "TRITONGW_PYTHON_DEBUG needs debugpy, which is not installed: `pip install debugpy`, "
            "or use Python's own debugger, TRITONGW_PYTHON_DEBUG=pdb:PORT"
        )
        raise ImportError(message) from error
    if not _listening:
        # Its own socket takes no other port; another process may be faster, which is an error.
        with _listen(port) as free:
            free_port = free.getsockname()[1]
        _, chosen = debugpy.listen((ADDRESS, free_port))
        _listening.append(f"{ADDRESS}:{chosen}")
    pb_utils.Logger.log_warn(f"'{instance_name}' waits for a debugger at {_listening[0]}")
    debugpy.wait_for_client()


def _listen(port: int) -> socket.socket:
    """Return a socket that listens on the port, or the next free one."""
    for candidate in range(port, port + _TRIES if port else 1):
        try:
            return socket.create_server((ADDRESS, candidate))
        except OSError:
            continue
    message = f"no port for a debugger is free from {port} on"
    raise OSError(message)


class _Breakpoints:
    """What ``breakpoint()`` calls: a conversation with whoever connects first."""

    def __init__(self, listener: socket.socket, instance_name: str) -> None:
        self._listener = listener
        self._instance_name = instance_name
        self._debugger: _SocketPdb | None = None
        where = f"{ADDRESS}:{listener.getsockname()[1]}"
        self._where = where
        pb_utils.Logger.log_warn(f"breakpoints of '{instance_name}' wait at {where}")

    def stop(self, *arguments: Any, **keywords: Any) -> None:
        """Stop in the frame that called ``breakpoint()``."""
        if self._debugger is None or self._debugger.is_over:
            pb_utils.Logger.log_warn(
                f"'{self._instance_name}' is at a breakpoint: connect to {self._where}, for "
                f"instance by `nc {self._where.replace(':', ' ')}`"
            )
            connection, _ = self._listener.accept()
            self._debugger = _SocketPdb(connection)
        self._debugger.set_trace(sys._getframe(1))


class _SocketPdb(pdb.Pdb):
    """Python's debugger at a socket; the model goes on when the other side leaves."""

    def __init__(self, connection: socket.socket) -> None:
        reader = cast("TextIO", connection.makefile("r", encoding="utf-8"))
        self._writer = _Writer(connection)
        super().__init__(stdin=reader, stdout=cast("TextIO", self._writer), nosigint=True)
        self.use_rawinput = False
        self.is_over = False
        self._connection = connection

    def do_EOF(self, arg: str) -> bool | None:
        """Go on without a debugger."""
        return self.do_quit(arg)

    def do_quit(self, arg: str) -> bool | None:
        """Go on without a debugger: quitting must not end a server's process."""
        self.is_over = True
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        self.clear_all_breaks()
        self.set_continue()
        return True

    do_q = do_exit = do_quit


class _Writer(io.TextIOBase):
    """Sends each text at once; what cannot be sent any more is dropped."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._connection.sendall(text.encode())
        return len(text)
