"""Asking a destination what it holds, within a rate of its own that all processes share."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import Connection, Engine

from engage_sync import errors
from engage_sync.delivery.cleaning import Cleaning
from engage_sync.delivery.pacer import LATEST
from engage_sync.delivery.transactions import Transactions
from engage_sync.delivery.transport import NoAnswer, Transport
from engage_sync.destinations.protocol import Answer, Holds, Readable, Rejected, Request, Retry, Unauthorized
from engage_sync.outbox import budget
from engage_sync.settings import Settings

_ATTEMPTS = 5
_FIRST_DELAY, _LONGEST_DELAY = 1.0, 60.0
_LONGEST_LEAD = 1.0
# So many in a row that can't be read are no longer about single people.
_FAILURES_BEFORE_END = 20


@dataclass(frozen=True, slots=True)
class Unread:
    """Nobody can tell what the destination holds of somebody."""

    reason: str


Reading: TypeAlias = Holds | Unread


class Reader:
    """Reads from one destination. Nothing of it writes, there or here, but the rate's budget."""

    def __init__(self, engine: Engine, destination: Readable, destination_id: int, settings: Settings) -> None:
        self._engine = engine
        self._destination = destination
        self._destination_id = destination_id
        self._settings = settings
        self._cleaning = Cleaning(destination.secrets)
        self._failures = 0

    async def read(self, lookups: Sequence[Request], done: Callable[[], None] | None = None) -> list[Reading]:
        """What each lookup says, in their order; `done` is called after each.

        Raises errors.DestinationUnavailable where the key isn't taken, and where nothing is answered any more.
        """
        transport, transactions = Transport(), Transactions(self._engine, 2)
        gate = asyncio.Semaphore(self._settings.max_in_flight)

        async def one(lookup: Request) -> Reading:
            async with gate:
                reading = await self._read(lookup, transport, transactions)
            if done is not None:
                done()
            return reading

        try:
            async with asyncio.TaskGroup() as tasks:
                asking = [tasks.create_task(one(lookup)) for lookup in lookups]
        except* errors.DestinationUnavailable as failed:
            raise failed.exceptions[0] from None
        finally:
            await transport.close()
            transactions.close()
        return [each.result() for each in asking]

    async def _read(self, lookup: Request, transport: Transport, transactions: Transactions) -> Reading:
        reason = ""
        for attempt in range(_ATTEMPTS):
            await self._slot(lookup, transactions)
            answer = await transport.send(self._destination, lookup, b"", self._settings.request_timeout)
            match self._destination.held(answer if isinstance(answer, Answer) else None):
                case Holds() as holds:
                    self._failures = 0
                    return holds
                case Unauthorized(reason=why):
                    raise errors.DestinationUnavailable(
                        f"{self._destination.slug} doesn't take the key for reading users: {self._cleaning.text(why)}."
                    )
                case Rejected(reason=why):
                    return self._failed(why)
                case Retry(reason=why, after=after, is_throttled=is_throttled):
                    if is_throttled:
                        await transactions.run(
                            lambda connection: budget.lower(connection, self._destination_id, lookup.budget)
                        )
                    reason = answer.reason if isinstance(answer, NoAnswer) else why
                    delay = _FIRST_DELAY * 2**attempt * (0.5 + 0.5 * random.random())
                    if attempt + 1 < _ATTEMPTS:
                        await asyncio.sleep(min(max(delay, after or 0.0), _LONGEST_DELAY))
        return self._failed(reason)

    async def _slot(self, lookup: Request, transactions: Transactions) -> None:
        """Wait for a slot of the lookup's budget."""
        rate = self._destination.budgets[lookup.budget]
        lead = 0.0

        def reserve(connection: Connection) -> float:
            """The instant of a slot on the monotonic clock, read beside the database's: the way back takes time."""
            reservation = budget.reserve(connection, self._destination_id, lookup.budget, rate, 1, lead=lead)
            return time.monotonic() + reservation.start

        while True:
            slot = await transactions.run(reserve, durable=False)
            await asyncio.sleep(max(0.0, slot - time.monotonic()))
            late = time.monotonic() - slot
            if late <= LATEST:
                return
            # Used late, it would crowd into the slots of others. The next one is asked for no earlier than it can be.
            lead = min(lead + late, _LONGEST_LEAD)

    def _failed(self, reason: str) -> Unread:
        cleaned = self._cleaning.text(reason)
        self._failures += 1
        if self._failures >= _FAILURES_BEFORE_END:
            raise errors.DestinationUnavailable(
                f"{self._destination.slug} can't be read: {self._failures} users in a row failed, the last one with:"
                f" {cleaned}"
            )
        return Unread(cleaned)
