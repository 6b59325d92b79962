"""The inbox: calls that were answered with 200 and not resolved yet.

Writes `inbox` and `rejects`. A stored call has the database's clock at its insert as `received_at`, whatever clock the
host that took it has. Calls leave in the order of their ids; the one resolver removes them in the transaction that
stores what they said.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.database import binary, channels, pipeline
from engage_sync.database.pipeline import Query
from engage_sync.ingest import accept

_COPY = "COPY inbox (source_id, call) FROM STDIN (FORMAT binary)"
_ROW = struct.Struct(">hihiB")
_JSONB_VERSION = 1

# A role or database may have turned durability off; an answer with 200 promises it.
_PROMISE_DURABILITY = """
    SELECT set_config('synchronous_commit',
                      CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
                      ELSE current_setting('synchronous_commit') END, true),
           pg_notify({channel}, '')
"""
_PROMISE = text(_PROMISE_DURABILITY.replace("{channel}", ":channel"))
_STORE_FEW = """
WITH promise AS MATERIALIZED ({promise})
INSERT INTO inbox (source_id, call)
SELECT call.source_id, call.body
FROM promise, unnest(%(sources)s::smallint[], %(calls)s::text[]::jsonb[]) AS call (source_id, body)
""".replace("{promise}", _PROMISE_DURABILITY.replace("{channel}", "%(channel)s"))
_TAKE = text("SELECT id, source_id, received_at, call::text AS call FROM inbox ORDER BY id LIMIT :limit")
_REMOVE = text("DELETE FROM inbox WHERE id = ANY(CAST(:ids AS bigint[]))")
_REJECT = text(
    """
    INSERT INTO rejects (source_id, received_at, call, reason)
    SELECT * FROM unnest(
        CAST(:sources AS smallint[]), CAST(:received AS timestamptz[]), CAST(:calls AS text[]), CAST(:reasons AS text[])
    )
    """
)
# Exact while it matters; above it nobody needs the last digit, and counting millions each few seconds costs.
_COUNTED = 100_000
_WAITING = text("SELECT count(*) FROM (SELECT FROM inbox LIMIT :limit) AS counted")


@dataclass(frozen=True, kw_only=True, slots=True)
class InboxRow:
    """One waiting call, as the JSON text that Postgres gives."""

    id: int
    source_id: int
    received_at: datetime
    call: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """A call that could not be resolved, and why, for a person."""

    source_id: int
    received_at: datetime
    call: str
    reason: str


def store(connection: Connection, source_id: int, calls: Sequence[bytes | dict[str, Any]]) -> None:
    """Append normalised calls (or their JSON, see accept.encode) of one source. Durable with the caller's commit."""
    store_many(connection, [(source_id, call) for call in calls])


def store_many(connection: Connection, calls: Iterable[tuple[int, bytes | dict[str, Any]]]) -> None:
    """Append calls of many sources, as (source id, call), in one COPY: a group commit."""
    binary.copy(connection, _COPY, _encode(calls))


def store_few(connection: Connection, calls: Sequence[tuple[int, bytes]]) -> None:
    """Append encoded calls and wake the resolver, in one durable statement: all of a group commit, in autocommit."""
    sources, bodies = [source_id for source_id, _ in calls], [call.decode() for _, call in calls]
    connection.exec_driver_sql(_STORE_FEW, {"sources": sources, "calls": bodies, "channel": channels.INBOX})


def promise_durability(connection: Connection) -> None:
    """Wake the resolver, and make this transaction's commit durable."""
    connection.execute(_PROMISE, {"channel": channels.INBOX})


def take(connection: Connection, limit: int) -> list[InboxRow]:
    """The oldest calls, left in place: whoever resolved them removes them in the same transaction."""
    rows = pipeline.rows(connection, _TAKE, {"limit": limit})
    return [
        InboxRow(id=id_, source_id=source_id, received_at=received_at, call=call)
        for id_, source_id, received_at, call in rows
    ]


def removing(ids: Sequence[int]) -> Query[None]:
    """Removes calls that are resolved."""
    return Query(_REMOVE, {"ids": list(ids)}, pipeline.nothing)


def reject(connection: Connection, rejected: Sequence[Rejected]) -> None:
    """Keep calls that can't be resolved where a person finds them."""
    if rejected:
        connection.execute(
            _REJECT,
            {
                "sources": [row.source_id for row in rejected],
                "received": [row.received_at for row in rejected],
                "calls": [row.call for row in rejected],
                "reasons": [row.reason for row in rejected],
            },
        )


def waiting(connection: Connection) -> int:
    """How many calls wait; 100,000 stands for that many or more."""
    return int(connection.execute(_WAITING, {"limit": _COUNTED}).scalar_one())


def _encode(calls: Iterable[tuple[int, bytes | dict[str, Any]]]) -> Iterator[bytes]:
    for source_id, call in calls:
        body = call if isinstance(call, bytes) else accept.encode(call)
        yield _ROW.pack(2, 2, source_id, len(body) + 1, _JSONB_VERSION) + body
