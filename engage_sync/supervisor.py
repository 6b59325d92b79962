"""Roles as processes of their own under `up`: started, started again when they die, and stopped with it.

Each role is busy in Python; in one process they would wait for each other's turn at the interpreter
(docs/decisions/0013-processes.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import structlog

from engage_sync import waiting

log = structlog.get_logger(__name__)

# In a role's environment: the process whose end is its own, and where it says that it works.
_PARENT = "ENGAGE_SYNC_PARENT_PROCESS"
_STARTED = "ENGAGE_SYNC_STARTED_FD"
_ASK_FOR_PARENT = 0.5
_FIRST_RETRY, _LAST_RETRY = 1.0, 30.0
# A role that lived this long died of something new.
_LIVED = 60.0
# A role stops within 18 seconds by itself; `up` is gone within 20.
_PATIENCE_AT_STOP = 18.0


async def keep_running(role: str, workspace: Path, started: asyncio.Event, stop: asyncio.Event) -> None:
    """Run `engage-sync ROLE` until `stop`; whenever it dies, again, a little later each time in a row.

    `started` is set when it works for the first time.
    """
    loop = asyncio.get_running_loop()
    retry = _FIRST_RETRY
    while not stop.is_set():
        began = loop.time()
        process = await _start(role, workspace, started)
        code = await _until_end(process, stop)
        if stop.is_set():
            return
        if loop.time() - began > _LIVED:
            retry = _FIRST_RETRY
        log.error("role_died", role=role, code=code, again_in=retry)
        await waiting.first(stop, seconds=retry)
        retry = min(2 * retry, _LAST_RETRY)


async def end_with_parent(stop: asyncio.Event) -> None:
    """In a role that `up` started: set `stop` when `up` is gone, however it went; elsewhere, do nothing."""
    parent = os.environ.get(_PARENT)
    while parent and not stop.is_set():
        if os.getppid() != int(parent):
            log.warning("parent_is_gone")
            stop.set()
        await waiting.first(stop, seconds=_ASK_FOR_PARENT)


def say_started() -> None:
    """In a role that `up` started: tell it that this one works; elsewhere, do nothing."""
    place = os.environ.pop(_STARTED, None)
    if place is not None:
        with contextlib.suppress(OSError):
            os.write(int(place), b"!")
            os.close(int(place))


async def _start(role: str, workspace: Path, started: asyncio.Event) -> asyncio.subprocess.Process:
    ours, theirs = os.pipe()
    try:
        # In a session of its own: Ctrl+C reaches `up` alone, which stops its roles in order.
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "engage_sync",
            "-C",
            str(workspace),
            role,
            env={**os.environ, _PARENT: str(os.getpid()), _STARTED: str(theirs)},
            pass_fds=(theirs,),
            start_new_session=True,
        )
    finally:
        os.close(theirs)
    loop = asyncio.get_running_loop()

    def hear() -> None:
        loop.remove_reader(ours)
        # Nothing but the end of the pipe comes from one that died before.
        if os.read(ours, 1):
            started.set()
        os.close(ours)

    loop.add_reader(ours, hear)
    return process


async def _until_end(process: asyncio.subprocess.Process, stop: asyncio.Event) -> int:
    """The code with which it ended; after `stop` it is asked to end, and then made to."""
    stopping, ended = asyncio.create_task(stop.wait()), asyncio.create_task(process.wait())
    try:
        await asyncio.wait({stopping, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            _signal(process.terminate)
            await asyncio.wait({ended}, timeout=_PATIENCE_AT_STOP)
        if not ended.done():
            _signal(process.kill)
        return await ended
    finally:
        stopping.cancel()
        # Also where we are cancelled ourselves: nothing of ours stays behind.
        if process.returncode is None:
            _signal(process.terminate)


def _signal(send: Callable[[], None]) -> None:
    with contextlib.suppress(ProcessLookupError):
        send()
