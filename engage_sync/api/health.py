"""Whether this process lives, and whether it can take calls: the database answers with the schema that we need."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from types import MappingProxyType

import sqlalchemy.exc
from sqlalchemy import Engine

from engage_sync import errors
from engage_sync.database import migrate

# Asked by anybody, without a key: the database is asked at most this often.
_SECONDS_REMEMBERED = 1.0
_SECONDS_TO_ANSWER = 5.0


class Readiness:
    """Asks the database, and remembers the answer for a second. `starting`: roles of `up` that must work first."""

    def __init__(self, engine: Engine, starting: Mapping[str, asyncio.Event] = MappingProxyType({})) -> None:
        self._engine = engine
        self._starting = starting
        self._asked_at = float("-inf")
        self._problem: str | None = None
        self._asking = asyncio.Lock()

    async def problem(self) -> str | None:
        """What is missing, in words that anybody may read; None when ready."""
        for role, started in self._starting.items():
            if not started.is_set():
                return f"{role} is starting."
        async with self._asking:
            if time.monotonic() - self._asked_at > _SECONDS_REMEMBERED:
                try:
                    async with asyncio.timeout(_SECONDS_TO_ANSWER):
                        self._problem = await asyncio.to_thread(self._ask)
                except TimeoutError:
                    self._problem = "The database does not answer in time."
                self._asked_at = time.monotonic()
        return self._problem

    def _ask(self) -> str | None:
        try:
            with self._engine.connect() as connection:
                migrate.require_compatible(connection)
        except sqlalchemy.exc.DBAPIError:
            return "The database does not answer."
        except sqlalchemy.exc.SQLAlchemyError:
            return "The database has no free connection."
        except (errors.DatabaseUnavailable, errors.SchemaTooNew) as failure:
            return str(failure)
        return None
