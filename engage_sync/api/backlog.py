"""How much waits in the inbox, asked once a second, so that requests need not ask."""

from __future__ import annotations

import asyncio
import random

import sqlalchemy.exc
import structlog
from sqlalchemy import Connection, Engine, text

from engage_sync import waiting

log = structlog.get_logger(__name__)

# The ids of waiting calls are nearly without gaps, and their ends are one look at the index.
_SPAN = text("SELECT coalesce(max(id) - min(id) + 1, 0) FROM inbox")
_COUNT = text("SELECT count(*) FROM (SELECT FROM inbox LIMIT :limit) AS counted")

_SECONDS_BETWEEN = 1.0


class Backlog:
    """Whether the inbox holds more than `limit` calls; also counts what was accepted since the last look."""

    def __init__(self, engine: Engine, *, limit: int) -> None:
        self._engine = engine
        self._limit = limit
        self.waiting = 0

    @property
    def is_full(self) -> bool:
        return self.waiting > self._limit

    def add(self, calls: int) -> None:
        """Calls that were accepted just now, so that a burst between two looks is noticed."""
        self.waiting += calls

    async def run(self, stop: asyncio.Event) -> None:
        """Look again and again until stopped."""
        while not stop.is_set():
            await self.run_once()
            await waiting.first(stop, seconds=_SECONDS_BETWEEN * random.uniform(0.8, 1.2))

    async def run_once(self) -> None:
        """Look once. A database that is away changes nothing here: storing a call will tell."""
        try:
            self.waiting = await asyncio.to_thread(self._look)
        except (sqlalchemy.exc.DBAPIError, sqlalchemy.exc.TimeoutError) as failure:
            log.warning("backlog_unknown", error=type(failure).__name__)

    def _look(self) -> int:
        with self._engine.connect() as connection:
            return count(connection, self._limit)


def count(connection: Connection, limit: int) -> int:
    """How many calls wait: a cheap upper bound, counted out (up to just above `limit`) where that is above `limit`."""
    span = int(connection.execute(_SPAN).scalar_one())
    return span if span <= limit else int(connection.execute(_COUNT, {"limit": limit + 1}).scalar_one())
