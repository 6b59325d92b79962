"""Group commits: requests that come within milliseconds of each other share one transaction.

Writes the inbox (through ingest/inbox). Guarantees that `submit` returns only after the commit of its calls, and that
either all of them are stored or none. After an error a request's calls may still have been stored (a lost answer to
COMMIT); sending them again with the same message ids counts them once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg
import sqlalchemy.exc
import structlog
from sqlalchemy import Connection, Engine

from engage_sync import errors
from engage_sync.api.answers import InboxFull
from engage_sync.api.backlog import Backlog
from engage_sync.api.metrics import AcceptMetrics
from engage_sync.database.engine import unavailable
from engage_sync.ingest import inbox

log = structlog.get_logger(__name__)

# One COPY of this many calls takes some 20 ms; more would only make everyone in it wait longer.
MAX_CALLS = 5_000
MAX_BYTES = 16_000_000
# While one transaction waits for the disk, the next is being written; a third has nothing to gain.
COMMITS_IN_FLIGHT = 2
# What may wait in memory for a slow database, before requests are turned away.
MAX_WAITING_BYTES = 64_000_000
# A request gets an answer within this, whatever the database does; clients give up soon after.
SECONDS_TO_COMMIT = 10.0

# Up to so many calls and bytes one statement, in one round trip, is cheaper than a transaction with a COPY.
FEW_CALLS = 100
FEW_BYTES = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """One request's calls, and where to tell that they are stored."""

    source_id: int
    calls: list[bytes]
    size: int
    stored: asyncio.Future[None]


class GroupCommitter:
    """`submit` from any number of requests of one event loop; `run` does the work until it is stopped."""

    def __init__(
        self,
        engine: Engine,
        *,
        wait: float,
        backlog: Backlog,
        metrics: AcceptMetrics,
        max_calls: int = MAX_CALLS,
        seconds_to_commit: float = SECONDS_TO_COMMIT,
    ) -> None:
        self._engine = engine
        self._wait = wait
        self._backlog = backlog
        self._metrics = metrics
        self._max_calls = max_calls
        self._seconds_to_commit = seconds_to_commit
        self._queue: list[_Waiting] = []
        self._queued_calls = 0
        self._queued_bytes = 0
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._stopped = False

    def require_room(self) -> None:
        """Raise InboxFull where more waits to be resolved than the inbox may hold."""
        if self._backlog.is_full:
            raise InboxFull("Too many calls wait to be processed. Send it again later.")

    async def submit(self, source_id: int, calls: list[bytes]) -> None:
        """Return when the calls (normalised, as JSON) are committed.

        Raises errors.DatabaseUnavailable if they could not be stored, errors.CallInvalid if Postgres refuses them.
        """
        if not calls:
            return
        size = sum(map(len, calls))
        if self._stopped or self._queued_bytes + size > MAX_WAITING_BYTES:
            raise errors.DatabaseUnavailable("Too much waits for the database, or the server is stopping.")
        stored = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(source_id, calls, size, stored))
        self._queued_calls += len(calls)
        self._queued_bytes += size
        self._arrived.set()
        if self._queued_calls >= self._max_calls:
            self._full.set()
        try:
            async with asyncio.timeout(self._seconds_to_commit):
                await stored
        except TimeoutError:
            raise errors.DatabaseUnavailable("Postgres didn't commit in time.") from None
        self._backlog.add(len(calls))

    async def run(self, stop: asyncio.Event) -> None:
        """Commit what comes until `stop` is set, then what still waits. Stop the HTTP server first."""
        slots = asyncio.Semaphore(COMMITS_IN_FLIGHT)
        stopping = asyncio.create_task(self._stop_after(stop), name="stop of the group committer")
        try:
            with ThreadPoolExecutor(COMMITS_IN_FLIGHT, thread_name_prefix="commit") as threads:
                async with asyncio.TaskGroup() as commits:
                    while await self._gather():
                        await slots.acquire()
                        commits.create_task(self._commit(self._take(), threads, slots), name="group commit")
        finally:
            self._stopped = True
            stopping.cancel()
            self._refuse(self._queue)

    async def _stop_after(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stopped = True
        self._arrived.set()
        self._full.set()

    async def _gather(self) -> bool:
        """Wait until there is something to commit, and others had their chance to join. False: nothing will come."""
        await self._arrived.wait()
        if self._wait and not self._full.is_set():
            try:
                async with asyncio.timeout(self._wait):
                    await self._full.wait()
            except TimeoutError:
                pass
        return bool(self._queue) or not self._stopped

    def _take(self) -> list[_Waiting]:
        """Whole requests from the head of the queue, up to the size of one commit; nobody who left already."""
        taken: list[_Waiting] = []
        calls = size = 0
        for waiting in self._queue:
            if taken and (calls + len(waiting.calls) > self._max_calls or size + waiting.size > MAX_BYTES):
                break
            taken.append(waiting)
            calls += len(waiting.calls)
            size += waiting.size
        del self._queue[: len(taken)]
        self._queued_calls -= calls
        self._queued_bytes -= size
        if not self._stopped:
            if not self._queue:
                self._arrived.clear()
            if self._queued_calls < self._max_calls:
                self._full.clear()
        return [waiting for waiting in taken if not waiting.stored.done()]

    async def _commit(self, batch: list[_Waiting], threads: ThreadPoolExecutor, slots: asyncio.Semaphore) -> None:
        loop = asyncio.get_running_loop()
        try:
            refused = await loop.run_in_executor(threads, self._write, batch)
        except Exception as failure:
            # Whatever happened to this batch, the next may succeed; all who wait hear of it.
            log.warning("inbox_commit_failed", requests=len(batch), reason=_reason(failure))
            self._metrics.failed_commits.inc()
            self._refuse(batch)
        else:
            for waiting in batch:
                if waiting.stored.done():
                    continue
                if waiting in refused:
                    waiting.stored.set_exception(errors.CallInvalid("call: the database can't hold it"))
                else:
                    waiting.stored.set_result(None)
        finally:
            slots.release()

    def _write(self, batch: Sequence[_Waiting]) -> list[_Waiting]:
        """Store the batch; return the requests that Postgres refuses, found by halving, and store the others."""
        if not batch:
            return []
        try:
            self._write_together(batch)
        except (psycopg.DataError, sqlalchemy.exc.DataError):  # COPY goes past SQLAlchemy
            if len(batch) == 1:
                return list(batch)
            half = len(batch) // 2
            return self._write(batch[:half]) + self._write(batch[half:])
        return []

    def _write_together(self, batch: Sequence[_Waiting]) -> None:
        began = time.perf_counter()
        number = sum(len(waiting.calls) for waiting in batch)
        if number <= FEW_CALLS and sum(waiting.size for waiting in batch) <= FEW_BYTES:
            with self._engine.connect() as connection:
                inbox.store_few(
                    connection.execution_options(isolation_level="AUTOCOMMIT"),
                    [(waiting.source_id, call) for waiting in batch for call in waiting.calls],
                )
        else:
            with self._engine.begin() as connection:
                _store(connection, batch)
        self._metrics.commit_seconds.observe(time.perf_counter() - began)
        self._metrics.commit_calls.observe(number)

    @staticmethod
    def _refuse(batch: Sequence[_Waiting]) -> None:
        for waiting in batch:
            if not waiting.stored.done():
                waiting.stored.set_exception(errors.DatabaseUnavailable("Postgres could not store the calls."))


def _store(connection: Connection, batch: Sequence[_Waiting]) -> None:
    inbox.promise_durability(connection)
    inbox.store_many(connection, ((waiting.source_id, call) for waiting in batch for call in waiting.calls))


def _reason(failure: Exception) -> str:
    is_driver = isinstance(failure, (psycopg.Error, sqlalchemy.exc.DBAPIError))
    return str(unavailable(failure)) if is_driver else type(failure).__name__
