"""One batch of facts into the database, with what hangs on its merges, and without the calls that Postgres refuses."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from engage_sync.ingest.calls import IncomingCall
from engage_sync.outbox import merges as outbox_merges
from engage_sync.profiles import resolver, suppression
from engage_sync.profiles.facts import Facts
from engage_sync.profiles.resolver import Resolved
from engage_sync.snapshots import merges as snapshot_merges
from engage_sync.sync import forwarding
from engage_sync.sync.forwarding import NOWHERE, Routes

# SQLSTATE classes that a call's own contents can cause: bad data, a broken constraint, a limit of Postgres.
_CONTENTS = ("22", "23", "54")
# Deadlock and serialization failure: the same transaction may succeed a moment later.
_TRANSIENT = ("40",)
# A batch in which more calls than this fail alone isn't a batch with poison in it, but a fault of ours: stop loudly.
_MAX_ALONE = 100

# A merge may meet a computation in a deadlock; Postgres ends one of them, and trying again is all there is to do.
_ATTEMPTS = 5
T = TypeVar("T")

_Failure = (DBAPIError, psycopg.Error, ValueError, TypeError, struct.error)


@dataclass(kw_only=True, slots=True)
class Totals:
    """What became of a batch; `refused` are (position of the call, reason)."""

    stored: int = 0
    duplicates: int = 0
    suppressed: int = 0
    adjusted_timestamps: int = 0
    touched: int = 0
    created: int = 0
    merges: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)

    def add(self, resolved: Resolved) -> None:
        self.stored += resolved.stored
        self.duplicates += resolved.duplicates
        self.suppressed += resolved.suppressed
        self.adjusted_timestamps += resolved.adjusted_timestamps
        self.touched += resolved.touched
        self.created += resolved.created
        self.merges += len(resolved.merges)


def resolve(
    connection: Connection,
    facts: Sequence[Facts],
    limits: Mapping[str, int],
    routes: Routes = NOWHERE,
    calls: Sequence[IncomingCall] = (),
    *,
    privacy_key: bytes = b"",
) -> Totals:
    """Resolve facts in the caller's transaction, which holds the lock RESOLVER, and move what merges concern.

    `calls`, of which the facts were read, are passed on as the routes say; those of files aren't given.
    A batch that fails is halved until the call that can't be stored stands alone; the others are stored.
    Calls of suppressed people are dropped; `privacy_key` is the half of the key that the environment keeps.
    """
    batch = _Batch(connection=connection, limits=limits, routes=routes, calls=calls, privacy_key=privacy_key)
    batch.resolve(facts)
    suppression.count(connection, batch.totals.suppressed)
    return batch.totals


def retried(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Do it in a transaction of its own, again where that met another one's in a deadlock."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with engine.begin() as connection:
                return work(connection)
        except DBAPIError as failure:
            if attempt == _ATTEMPTS or not is_transient(failure):
                raise
    raise AssertionError("unreachable")


def is_transient(failure: BaseException) -> bool:
    """Whether the same transaction may succeed if it is tried again."""
    return _sqlstate(failure).startswith(_TRANSIENT)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Batch:
    connection: Connection
    limits: Mapping[str, int]
    routes: Routes
    calls: Sequence[IncomingCall]
    privacy_key: bytes = field(repr=False)
    totals: Totals = field(default_factory=Totals)

    def resolve(self, facts: Sequence[Facts]) -> None:
        if not facts:
            return
        try:
            with self.connection.begin_nested():
                resolved = resolver.resolve_facts(self.connection, facts, self.limits, [], privacy_key=self.privacy_key)
                snapshot_merges.move(self.connection, resolved.merges)
                outbox_merges.move(self.connection, resolved.merges)
                forwarding.pass_on(self.connection, self.routes, resolved, self.calls, privacy_key=self.privacy_key)
        except _Failure as failure:
            if not _may_be_a_call(failure):
                raise
            if len(facts) == 1:
                if len(self.totals.refused) >= _MAX_ALONE:
                    raise
                self.totals.refused.append((facts[0].position, _reason(failure)))
                return
            middle = len(facts) // 2
            self.resolve(facts[:middle])
            self.resolve(facts[middle:])
            return
        self.totals.add(resolved)


def _may_be_a_call(failure: BaseException) -> bool:
    if isinstance(failure, (DBAPIError, psycopg.Error)):
        return _sqlstate(failure).startswith(_CONTENTS)
    return True


def _sqlstate(failure: BaseException) -> str:
    found = failure.orig if isinstance(failure, DBAPIError) else failure
    return (found.sqlstate or "") if isinstance(found, psycopg.Error) else ""


def _reason(failure: BaseException) -> str:
    found = failure.orig if isinstance(failure, DBAPIError) else failure
    if isinstance(found, psycopg.Error):
        # The first line only: the rest may quote the contents.
        return f"Postgres can't store it: {found.diag.message_primary or type(found).__name__}"
    return f"it can't be stored: {type(failure).__name__}"
