"""Rows in the binary format of COPY, for the hot paths: no escaping; JSON goes through as the bytes it is."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from engage_sync.database import pipeline

HEADER = b"PGCOPY\n\xff\r\n\x00" + b"\x00" * 8
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"

# Large enough that the calls to libpq don't count, small enough to keep the memory flat.
_CHUNK = 512

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def copy(connection: Connection, statement: str, rows: Iterable[bytes]) -> None:
    """Send rows (each with its field count in front) through `COPY … FROM STDIN (FORMAT binary)`."""
    with pipeline.past_sqlalchemy(connection, statement) as driver, driver.cursor().copy(statement) as sink:
        sink.write(HEADER)
        chunk: list[bytes] = []
        for row in rows:
            chunk.append(row)
            if len(chunk) == _CHUNK:
                sink.write(b"".join(chunk))
                chunk.clear()
        chunk.append(TRAILER)
        sink.write(b"".join(chunk))


def microseconds(instant: datetime) -> int:
    """An aware datetime as Postgres counts: microseconds since 2000-01-01."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(microseconds: int) -> datetime:
    """The reverse of `microseconds`, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)
