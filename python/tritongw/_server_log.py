# SPDX-License-Identifier: Apache-2.0
"""Brings the records of Python's ``logging`` to the server's log, at their level."""

import logging

from tritongw import _core


class ServerLogHandler(logging.Handler):
    """Writes records to the server's log, with their file and line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless a handler of the model has it."""
        if _has_handler(record.name):
            return
        try:
            message = self.format(record)
            has_traceback = bool(record.exc_info or record.stack_info)
            _core.log_line(record.levelno, record.filename, record.lineno, message, has_traceback)
        except Exception:
            self.handleError(record)


def take_what_nobody_takes() -> None:
    """Take records for which there is no handler: before a model may configure its own."""
    logging.lastResort = ServerLogHandler(logging.WARNING)


def install() -> None:
    """Take all records, if the model has configured no handler for them by now."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(ServerLogHandler())


def _has_handler(name: str) -> bool:
    """Return whether a logger below the root has a handler of its own for a record."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None and logger.parent is not None:
        if any(not isinstance(each, logging.NullHandler) for each in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False
