"""Writing down how attempts ended and giving lanes back, many in one transaction."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from engage_sync.delivery.transactions import PASSING, Transactions, why
from engage_sync.delivery.work import Lane
from engage_sync.outbox import lanes, settle
from engage_sync.outbox.lanes import Leaving, Released
from engage_sync.outbox.settle import Failed, Settled, Settlement

log = structlog.get_logger(__name__)

# What ends within this time shares a transaction.
_GATHER = 0.02
# Computations hold what they enqueue until they commit; looking again this often costs them nothing.
_HELD_RETRY = 0.05
_DATABASE_RETRY = 0.5
_BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Flushed:
    """`done` is settled. `ended` are the ids of messages with nothing left to write: those too that weren't ours.

    `released` are the lanes that are no longer ours; something waits in those of the `waiting` profiles.
    """

    done: list[Settlement]
    ended: set[int]
    released: list[Lane]
    waiting: set[int]


@dataclass(frozen=True, slots=True)
class _Written:
    settled: Settled
    released: Released
    given_back: list[Lane]


class Settler:
    """Settles for one worker and destination, in the order in which it is told; calls `flushed` after each commit."""

    def __init__(
        self,
        worker_id: int,
        destination_id: int,
        slug: str,
        request_timeout: float,
        transactions: Transactions,
        flushed: Callable[[Flushed], None],
    ) -> None:
        self._worker_id = worker_id
        self._destination_id = destination_id
        self._slug = slug
        self._request_timeout = request_timeout
        self._transactions = transactions
        self._flushed = flushed
        self._settlements: list[Settlement] = []
        self._leaving: list[Lane] = []
        self._also: list[Callable[[Connection], object]] = []
        self._work = asyncio.Event()

    def settle(self, settlement: Settlement) -> None:
        self._settlements.append(settlement)
        self._work.set()

    def leave(self, lane: Lane) -> None:
        """Give the lane back, once what was settled in it before is written."""
        self._leaving.append(lane)
        self._work.set()

    def also(self, write: Callable[[Connection], object]) -> None:
        """Write this too, in the same transaction as what made it necessary, behind it."""
        self._also.append(write)
        self._work.set()

    async def run(self) -> None:
        """Until cancelled. What can't be written now is kept and tried again."""
        while True:
            await self._work.wait()
            await asyncio.sleep(_GATHER)
            self._work.clear()
            try:
                held = await self._flush()
            except PASSING as failure:
                log.warning("settling_failed", destination=self._slug, reason=why(failure))
                self._work.set()
                await asyncio.sleep(_DATABASE_RETRY * (0.5 + random.random()))
                continue
            if held:
                asyncio.get_running_loop().call_later(_HELD_RETRY, self._work.set)

    async def _flush(self) -> bool:
        """Write a batch; say whether something of it is held by somebody else."""
        settlements, leaving, also = self._settlements[:_BATCH], self._leaving[:_BATCH], self._also[:]
        later = {each.message.profile_id for each in self._settlements[_BATCH:]}
        # Shielded: once it runs, its outcome must be known, also when the process is about to stop. Not durable: if the
        # server crashes, what was settled last is sent again under the same id, and nothing of it after a later start.
        written = await asyncio.shield(
            self._transactions.run(
                lambda connection: self._write(connection, settlements, leaving, later, also), durable=False
            )
        )
        busy = [each for each in settlements if each.message.id in written.settled.busy]
        gone = {id(lane) for lane in written.given_back if lane.profile_id not in written.released.held}
        held = [lane for lane in leaving if id(lane) not in gone]
        # What was added in the meantime stands behind what was taken.
        self._settlements[: len(settlements)] = busy
        self._leaving[: len(leaving)] = held
        del self._also[: len(also)]
        if len(self._settlements) > len(busy) or len(self._leaving) > len(held):
            self._work.set()
        done = [each for each in settlements if each.message.id in written.settled.done]
        self._log(done, len(written.settled.stale))
        released = [lane for lane in leaving if id(lane) in gone]
        ended = written.settled.done | written.settled.stale
        self._flushed(Flushed(done, ended, released, written.released.waiting))
        return bool(busy or held)

    def _write(
        self,
        connection: Connection,
        settlements: list[Settlement],
        leaving: list[Lane],
        later: set[int],
        also: list[Callable[[Connection], object]],
    ) -> _Written:
        # Locked first, whatever of them is given back in the end.
        locking = lanes.locking(self._destination_id, self._worker_id, [lane.profile_id for lane in leaving])
        beside = [locking] if leaving else []
        settled = Settled(set(), set(), set())
        if settlements:
            settled = settle.settle(connection, self._worker_id, settlements, beside=beside)
        # A lane whose last message isn't settled would be given back with that message waiting in it.
        unsettled = {each.message.profile_id for each in settlements if each.message.id in settled.busy}
        unsettled |= later
        giving = [lane for lane in leaving if lane.profile_id not in unsettled]
        released = Released(set(), set(), set())
        if giving:
            now = time.monotonic()
            leases = [
                Leaving(
                    lane.profile_id, lane.due_at, rest=0.0 if lane.wake_at is None else max(0.0, lane.wake_at - now)
                )
                for lane in giving
            ]
            released = lanes.release(
                connection,
                self._destination_id,
                self._worker_id,
                leases,
                self._request_timeout,
                locked=settled.beside[0] if settlements else None,
            )
        for write in also:
            write(connection)
        return _Written(settled, released, giving)

    def _log(self, done: list[Settlement], stale: int) -> None:
        failed = sum(1 for each in done if isinstance(each, Failed))
        if failed:
            log.warning("dead_letters", destination=self._slug, messages=failed)
        if stale:
            log.warning("settled_elsewhere", destination=self._slug, messages=stale)
