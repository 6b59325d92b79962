"""Calls to resolve, and what a database says of people afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from engage_sync.database import locks
from engage_sync.ingest import accept
from engage_sync.ingest.calls import IncomingCall
from engage_sync.profiles import resolver

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def call(type_: str = "track", *, row: int | None = None, source: int = 1, **body: Any) -> IncomingCall:
    """A normalised call that arrived at NOON; a track is "E" unless it says."""
    if type_ == "track":
        body.setdefault("event", "E")
    received = body.pop("received_at", NOON)
    return IncomingCall(source_id=source, received_at=received, body=accept.normalise({"type": type_, **body}), row=row)


def identify(user: str | None = None, traits: Mapping[str, Any] | None = None, **body: Any) -> IncomingCall:
    return call("identify", userId=user, traits=dict(traits or {}), **body)


def resolve(engine: Engine, *calls: IncomingCall, limits: Mapping[str, int] | None = None) -> resolver.Resolved:
    with engine.begin() as connection:
        locks.wait(connection, locks.LockClass.RESOLVER)
        return resolver.resolve(connection, calls, limits or {})


def people(engine: Engine) -> list[dict[str, Any]]:
    """Every profile with its identities, traits, and event names, in an order that doesn't hang on internal ids."""
    with engine.connect() as connection:
        return sorted(
            (
                _person(connection, row.id, row.is_known)
                for row in _all(connection, "SELECT id, is_known FROM profiles")
            ),
            key=lambda person: str(person["identities"]),
        )


def _person(connection: Connection, id_: int, is_known: bool) -> dict[str, Any]:
    identities = _all(connection, "SELECT type, value FROM identities WHERE profile_id = :id ORDER BY id", id=id_)
    traits = _all(connection, "SELECT name, value FROM traits WHERE profile_id = :id ORDER BY name", id=id_)
    events = _all(connection, "SELECT name FROM events WHERE profile_id = :id ORDER BY id", id=id_)
    return {
        "identities": [f"{row.type}:{row.value}" for row in identities],
        "known": is_known,
        "traits": {row.name: row.value for row in traits},
        "events": [row.name for row in events],
    }


def person(identities: Sequence[str], **overrides: Any) -> dict[str, Any]:
    known = any(identity.startswith(("user_id:", "email:")) for identity in identities)
    return {"identities": list(identities), "known": known, "traits": {}, "events": [], **overrides}


def reasons(engine: Engine) -> list[list[str]]:
    """The reasons of all touches so far, in their order."""
    with engine.connect() as connection:
        return [row.reasons for row in _all(connection, "SELECT reasons FROM touches ORDER BY xid, profile_id")]


def rows(engine: Engine, statement: str, **parameters: Any) -> list[Any]:
    with engine.connect() as connection:
        return _all(connection, statement, **parameters)


def _all(connection: Connection, statement: str, **parameters: Any) -> list[Any]:
    return list(connection.execute(text(statement), parameters))
