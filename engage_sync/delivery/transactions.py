"""Database work beside the event loop: one function, one transaction, one of our own threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import sqlalchemy.exc
from sqlalchemy import Connection, Engine

from engage_sync import errors
from engage_sync.database import engine as database
from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query

T = TypeVar("T")

# The server is away, restarting, or chose us to resolve a deadlock: the same work may succeed later.
PASSING = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.TimeoutError)

_NOT_DURABLE = Query("SET LOCAL synchronous_commit TO off", {}, pipeline.nothing)


def why(failure: BaseException) -> str:
    """What passes, in one line for the log."""
    if isinstance(failure, errors.EngageSyncError):
        return str(failure)
    if isinstance(failure, sqlalchemy.exc.TimeoutError):
        return "All database connections of this process are busy."
    return str(database.unavailable(failure))


class Transactions:
    """Threads of our own, as the loop's default ones are few and shared with everything else in the process."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="delivery")

    async def run(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """The result of `work`, committed. Cancelling leaves the transaction to end by itself.

        `durable` False doesn't wait for the disk: after a crash of the server itself, the last of them may be undone,
        though never without those after it.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._transaction, work, durable)

    def close(self) -> None:
        self._threads.shutdown(wait=False)

    def _transaction(self, work: Callable[[Connection], T], durable: bool) -> T:
        with self._engine.begin() as connection:
            if durable:
                return work(connection)
            with pipeline.beginning(connection, _NOT_DURABLE):
                return work(connection)
