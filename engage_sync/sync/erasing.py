"""What is stored of people who are to be forgotten goes, table by table, in steps that may be repeated.

Whoever dies in between, the next who asks for it, or the scheduler, goes on: which rows these are is on record until
none is left. A computation that began before may still write about them; so when each definition was free once, the
steps are taken again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from engage_sync.database import channels, locks
from engage_sync.ingest import erasing as calls_erasing
from engage_sync.outbox import erasing as outbox_erasing
from engage_sync.profiles import erasing as profiles_erasing
from engage_sync.profiles import privacy, suppression
from engage_sync.profiles.erasing import Erased
from engage_sync.profiles.identifiers import Identifier
from engage_sync.profiles.privacy import PrivacyRequest
from engage_sync.profiles.suppression import Silence
from engage_sync.snapshots import erasing as snapshots_erasing
from engage_sync.sync import resolving

T = TypeVar("T")
# Somebody at work on them has that long; then it isn't somebody any more.
ABANDONED_AFTER = 60.0
_PATIENCE = text("SET LOCAL lock_timeout = '20s'")
_LOCK_NOT_AVAILABLE = "55P03"


def name(connection: Connection, theirs: Mapping[Identifier, int]) -> None:
    """Delete what only their names find, in the transaction that knows them: `theirs` are identifiers with requests."""
    if not theirs:
        return
    silence = Silence(frozenset(theirs))
    values = sorted({value for _, value in theirs})

    def drops(call: Any) -> int | None:
        found, previous = suppression.of_body(call)
        if silence.heard(found, previous) is not None:
            return None
        named = {*found, *suppression.mentioned(call)} & theirs.keys()
        return theirs[min(named)] if named else None

    def names(call: Any) -> int | None:
        named = set(suppression.mentioned(call)) & theirs.keys()
        return theirs[min(named)] if named else None

    gone = outbox_erasing.mentions(connection, theirs)
    for table, whose in (("inbox", drops), ("rejects", names)):
        for request, number in calls_erasing.calls(connection, table, values, whose).items():
            gone[request][table] += number
    snapshots_erasing.complaints(connection, values)
    privacy.add(connection, gone, {})


def erase(engine: Engine, requests: Sequence[int]) -> list[int]:
    """Take all steps for these requests; returns those of which something may be left, for the scheduler.

    That is where a definition was being computed all the time.
    """
    unfinished = _load(engine, requests)
    if not unfinished:
        return []
    _steps(engine, unfinished, is_first=True)
    with engine.connect() as connection:
        try:
            connection.execute(_PATIENCE)
            locks.pass_all_definitions(connection)
        except OperationalError as failure:
            if getattr(failure.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            return [request.id for request in unfinished]
        finally:
            connection.rollback()
    _steps(engine, unfinished, is_first=False)
    ids = [request.id for request in unfinished]

    def finish(connection: Connection) -> None:
        suppression.unmark(connection, ids)
        privacy.finish(connection, ids)

    _step(engine, finish)
    return []


def resume(engine: Engine) -> int:
    """Go on with what somebody began and left; how many requests there were."""
    with engine.connect() as connection:
        left = privacy.unfinished(connection, older_than=ABANDONED_AFTER)
    erase(engine, left)
    return len(left)


def _steps(engine: Engine, requests: Sequence[PrivacyRequest], *, is_first: bool) -> None:
    owners = {profile: request.id for request in requests for profile in request.profiles}
    profiles = sorted(owners)
    if not profiles:
        return

    def outbox(connection: Connection) -> None:
        _note(connection, owners, outbox_erasing.people(connection, profiles))

    def snapshots(connection: Connection) -> None:
        _note(connection, owners, snapshots_erasing.people(connection, profiles))

    def events(connection: Connection) -> bool:
        erased, has_more = profiles_erasing.events(connection, profiles)
        _note(connection, owners, erased)
        return has_more

    def touches(connection: Connection) -> None:
        _note(connection, owners, profiles_erasing.touches(connection, profiles))

    def people(connection: Connection) -> None:
        # Who shares an account with them is found while nobody joins it.
        locks.wait(connection, locks.LockClass.RESOLVER)
        _note(connection, owners, profiles_erasing.people(connection, profiles))
        channels.notify(connection, channels.TOUCHES)

    _step(engine, outbox)
    _step(engine, snapshots)
    while _step(engine, events):
        pass
    if is_first:
        _step(engine, touches)
    _step(engine, people)


def _step(engine: Engine, step: Callable[[Connection], T]) -> T:
    return resolving.retried(engine, step)


def _note(connection: Connection, owners: Mapping[int, int], erased: Erased) -> None:
    done: dict[int, Counter[str]] = {}
    for profile, rows in erased.items():
        done.setdefault(owners[profile], Counter()).update(rows)
    privacy.add(connection, {request: rows for request, rows in done.items() if rows}, {})


def _load(engine: Engine, requests: Sequence[int]) -> list[PrivacyRequest]:
    with engine.connect() as connection:
        return [each for each in privacy.load(connection, requests) if each.finished_at is None]
