"""The end of a run: until nothing waits any more, and what is computed is true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import psycopg

from tests.chaos import ledger
from tests.chaos.ground import Ground
from tests.chaos.people import Person
from tests.chaos.postgres import Database
from tests.chaos.worlds import KEYS, LOOKBACK_KEYS

Also = Callable[[Database, Sequence[Person]], list[str]]


class Waiting:
    def __init__(self, ground: Ground, people: Sequence[Person], patience: float) -> None:
        self._ground, self._people, self._patience = ground, people, patience

    async def until_nothing_waits(self, also: Also | None = None) -> None:
        """Until nothing waits, twice in a row. `also` says what else is to be waited for."""
        until, calm = time.monotonic() + self._patience, 0
        while calm < 2:
            try:
                waiting = await asyncio.to_thread(self._what_waits, also)
            except psycopg.OperationalError as failed:
                waiting = [f"Postgres: {failed}"]
            calm = 0 if waiting else calm + 1
            if waiting and time.monotonic() > until:
                raise AssertionError(f"after {self._patience:.0f} seconds: {'; '.join(waiting[:20])}")
            for role in self._ground.roles.values():
                role.start()
            await asyncio.sleep(0.5)

    def _what_waits(self, also: Also | None) -> list[str]:
        with self._ground.postgres.connect() as connection:
            row = connection.execute(
                "SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM messages), (SELECT count(*) FROM lanes),"
                " (SELECT count(*) FROM told WHERE enqueued IS NOT NULL),"
                " (SELECT count(*) FROM snapshots JOIN definitions ON definitions.id = definition_id"
                "  WHERE key = ANY(%s) AND snapshots.value = 'true')",
                (list(LOOKBACK_KEYS),),
            ).fetchone()
            assert row is not None
            names = ("calls in the inbox", "messages", "lanes", "told that wait", "still active")
            waiting = [f"{count} {name}" for name, count in zip(names, row, strict=True) if count]
            waiting = waiting or ledger.untrue(connection, self._people, KEYS)
            return waiting or (also(connection, self._people) if also is not None else [])
