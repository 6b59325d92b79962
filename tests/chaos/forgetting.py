"""People who are forgotten in the middle of it all, and what may be left of them: nothing."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import httpx
import orjson
from psycopg import sql

from tests.chaos import record
from tests.chaos.ground import Ground
from tests.chaos.people import Person
from tests.chaos.postgres import Database
from tests.chaos.record import Record
from tests.chaos.worlds import World

_ATTEMPTS: Final = 100
# Tracking APIs take no deletions.
_FORGETS: Final = ("iterable", "webhook")


class Forgetting:
    """Forgets up to `most` people, in the background; the command is killed in the middle the first time."""

    def __init__(
        self,
        ground: Ground,
        people: Sequence[Person],
        dice: random.Random,
        most: int,
        say: Callable[[str, str], None],
    ) -> None:
        self._ground, self._people, self._dice, self._most, self._say = ground, people, dice, most, say
        self._under_way: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        known = [each for each in self._people if each.accepted and not each.is_split and not each.is_forgotten]
        if len(self._under_way) < self._most and known:
            person = self._dice.choice(known)
            # From here on they say nothing of themselves but by the user id.
            person.is_forgotten = True
            lives = self._dice.uniform(0.5, 5.0)
            self._under_way.append(asyncio.create_task(self._forget(person, lives)))

    async def end(self) -> None:
        await asyncio.gather(*self._under_way)

    async def _forget(self, person: Person, lives: float) -> None:
        self._say("forget", person.user_id)
        names = [f"user_id:{person.user_id}", *(f"email:{email}" for email in person.named)]
        for attempt in range(_ATTEMPTS):
            code, _, complained = await asyncio.to_thread(
                self._ground.try_, "forget", *names, "--yes", "--json", seconds=lives if attempt == 0 else float("inf")
            )
            if code == 0:
                return
            await asyncio.sleep(0.5)
        raise AssertionError(f"{person.user_id} can't be forgotten: {complained}")


def remains(connection: Database, people: Iterable[Person]) -> list[str]:
    """The tables that still name somebody who is forgotten."""
    names = [name for person in people if person.is_forgotten for name in person.identities()]
    if not names:
        return []
    plain = "|".join(re.escape(name) for name in names)
    hidden = "|".join(name.encode().hex() for name in names if "@" in name)
    pattern = f"(^|[^a-z0-9])({plain})($|[^a-z0-9])|{hidden}"
    found = []
    tables = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname"
    ).fetchall()
    for (table,) in tables:
        statement = sql.SQL("SELECT count(*) FROM {table} AS line WHERE line::text ~ %s").format(
            table=sql.Identifier(table)
        )
        row = connection.execute(statement, (pattern,)).fetchone()
        if row is not None and row[0]:
            found.append(f"{row[0]} rows of {table} name somebody who is forgotten")
    return found


def complaints(people: Iterable[Person], records: Mapping[str, Record], ground: Ground) -> list[str]:
    """Which destinations weren't asked to forget somebody, hold them still, or heard of them afterwards."""
    forgotten = [person for person in people if person.is_forgotten]
    found: list[str] = []
    for slug in _asked(ground.world):
        held = _users(ground.witnesses[slug])
        for person in forgotten:
            # A command names them by what they had said that they are.
            for identity in (person.user_id, *person.named):
                found += (f"{slug}: {sentence}" for sentence in _of_one(identity, records[slug].requests))
            found += (f"{slug}: still holds {identity}" for identity in sorted(person.identities() & held))
    return found


def _asked(world: World) -> list[str]:
    return [slug for slug in world.destinations if world.type_of(slug) in _FORGETS]


def _of_one(identity: str, requests: Sequence[Mapping[str, Any]]) -> list[str]:
    about = [request for request in requests if identity in set(_named(request))]
    asked = [request for request in about if record.is_forgetting(request)]
    taken = [request for request in asked if request["acted"]]
    if not taken:
        return [f"was never made to forget {identity}"]
    first, turn = taken[0]["sequence"], min(request["turn"] for request in taken)
    late = [
        request
        for request in about
        if request not in asked and (request["sequence"] > first or (request["acted"] and request["turn"] > turn))
    ]
    return [f"{identity} was forgotten, and then came {request}" for request in late[:3]]


def _named(request: Mapping[str, Any]) -> Iterable[str]:
    for part in record.parts(request):
        for holder in (part, part.get("user"), part.get("traits"), (part.get("context") or {}).get("traits")):
            if isinstance(holder, dict):
                yield from (holder[name] for name in ("email", "userId", "currentEmail", "newEmail") if name in holder)


def _users(url: str) -> set[str]:
    """Everybody whom a sandbox knows."""
    users = orjson.loads(httpx.get(f"{url}/sandbox/users", timeout=60.0).content)["users"]
    return {value for user in users for value in (user["email"], user["userId"]) if value}
