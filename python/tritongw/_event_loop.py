# SPDX-License-Identifier: Apache-2.0
"""Runs the coroutines of a model whose ``execute`` is an ``async def``: many batches at once.

The loop sleeps on a descriptor that the server makes readable, next to whatever the model's own
coroutines wait for. How many batches are under way is the server's to decide.
"""

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

from tritongw._core import Execution, Inbox, Logger

# Batches taken before other callbacks of the loop get their turn.
_TAKEN_IN_A_ROW = 64
# More than there are batches under way at once.
_MAX_WAITING = 1024
# How long coroutines that are cancelled may take to end.
_GRACE_S = 10.0


class EventLoop:
    """The loop of one model, on the thread that calls :meth:`serve`.

    Parameters
    ----------
    is_yielding : bool
        Whether ``execute`` is an asynchronous generator.
    """

    _inbox: Inbox
    _execute: Callable[[list[Any]], Any]

    def __init__(self, *, is_yielding: bool) -> None:
        self._is_yielding = is_yielding
        # Threads that wait for clients which read slowly; made when there are such.
        self._waiting = ThreadPoolExecutor(_MAX_WAITING, "tritongw-room")
        self._loop = asyncio.new_event_loop()
        self._underway: dict[asyncio.Task[None], Execution] = {}
        self._is_flush_planned = False
        self._is_stopping = False
        self._failure: BaseException | None = None
        # What other threads wait for; None when the loop is closed.
        self._awaited: set[Future[Any]] | None = set()
        self._awaited_lock = threading.Lock()

    def use(self) -> None:
        """Make this the loop that the calling thread finds by ``asyncio.get_event_loop``."""
        asyncio.set_event_loop(self._loop)

    def leave(self) -> None:
        """Take back :meth:`use`."""
        asyncio.set_event_loop(None)

    def serve(self, execute: Callable[[list[Any]], Any], inbox: Inbox) -> None:
        """Execute what comes in until the server wants no more, then end what is under way.

        Parameters
        ----------
        execute : callable
            The model's coroutine function or asynchronous generator function.
        inbox : Inbox
            Where batches come from.

        Raises
        ------
        OSError
            If the server cannot be understood, or is gone.
        """
        self._execute = execute
        self._inbox = inbox
        self.use()
        self._loop.add_reader(inbox.fileno(), self._wake)
        self._loop.call_soon(self._take)
        while not self._is_stopping:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # A task of the model raised it; a worker ends when its server says so.
                Logger.log_error(f"a task of the model raised {type(error).__name__}, ignored")
        self._loop.remove_reader(inbox.fileno())
        self._loop.run_until_complete(self._end_underway())
        if self._failure is not None:
            raise self._failure

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run one coroutine to its end, where there is no server to serve.

        Parameters
        ----------
        coroutine : Coroutine
            What a coroutine function of the model returned.

        Returns
        -------
        Any
            Its result.
        """
        self.use()
        try:
            return self._loop.run_until_complete(coroutine)
        finally:
            self.leave()

    def run_beside(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run one coroutine on the loop that serves, and wait for it: from another thread.

        Parameters
        ----------
        coroutine : Coroutine
            What is to run.

        Returns
        -------
        Any
            Its result.

        Raises
        ------
        CancelledError
            If the loop ends first.
        """
        with self._awaited_lock:
            if self._awaited is None:
                coroutine.close()
                raise asyncio.CancelledError
            awaited = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            self._awaited.add(awaited)
        try:
            error = awaited.exception()
            if error is not None:
                # Not raised by `result`, whose frames would be in between.
                raise error
            return awaited.result()
        finally:
            with self._awaited_lock:
                if self._awaited is not None:
                    self._awaited.discard(awaited)

    def close(self) -> None:
        """Cancel the tasks that the model left, and close the loop."""
        with self._awaited_lock:
            awaited, self._awaited = self._awaited or set(), None
        for each in awaited:
            each.cancel()
        if awaited:
            # What has not begun becomes a task, which is cancelled like all others.
            self._loop.run_until_complete(asyncio.sleep(0))
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=_GRACE_S))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self.leave()
        self._loop.close()
        self._waiting.shutdown(wait=False)
        # It refers to the model, which refers to this.
        self.__dict__.pop("_inbox", None)

    def _wake(self) -> None:
        self._guard(self._inbox.note_call)
        self._take()

    def _take(self) -> None:
        self._guard(self._take_batches)

    def _guard(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self._stop(error)

    def _take_batches(self) -> None:
        for _ in range(_TAKEN_IN_A_ROW):
            execution = self._inbox.take()
            if execution is not None:
                task = self._loop.create_task(self._run(execution))
                self._underway[task] = execution
                task.add_done_callback(self._note_end)
            elif self._inbox.is_stopped():
                self._stop(None)
                return
            elif self._inbox.prepare_sleep():
                return
        self._loop.call_soon(self._take)

    async def _run(self, execution: Execution) -> None:
        try:
            begun = self._execute(execution.take_requests())
            if self._is_yielding:
                await self._send_parts(begun, execution)
                returned = None
            else:
                returned = await begun
        except BaseException as error:
            execution.fail(error)
        else:
            execution.finish(returned)
        if not self._is_flush_planned:
            # One wake-up of the server for all that end in this turn of the loop.
            self._is_flush_planned = True
            self._loop.call_soon(self._flush)

    async def _send_parts(self, parts: AsyncGenerator[object, None], execution: Execution) -> None:
        async with aclosing(parts):
            async for part in parts:
                if not execution.send_part(part):
                    await self._loop.run_in_executor(self._waiting, execution.wait_for_room)
        execution.end_parts()

    def _flush(self) -> None:
        self._is_flush_planned = False
        self._inbox.flush()

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self._underway.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            self._stop(task.exception())

    def _stop(self, failure: BaseException | None) -> None:
        self._failure = self._failure or failure
        self._is_stopping = True
        self._loop.stop()

    async def _end_underway(self) -> None:
        if not self._underway:
            return
        for task in self._underway:
            task.cancel()
        _, pending = await asyncio.wait(list(self._underway), timeout=_GRACE_S)
        for task in pending:
            execution = self._underway[task]
            Logger.log_warn("a coroutine of the model goes on although it was cancelled")
            execution.fail(asyncio.CancelledError("the model is unloaded"))
        self._inbox.flush()


async def result_of(function: Callable[[], object]) -> object:
    """Call a function, plain or a coroutine function, and return its result.

    Parameters
    ----------
    function : callable
        The function.

    Returns
    -------
    object
        What it returned, awaited.
    """
    returned = function()
    return await returned if inspect.isawaitable(returned) else returned
