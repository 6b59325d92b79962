"""The record of who asked to be left alone or forgotten: when, by whom it was entered, and what was done.

Writes `privacy_requests`. Nothing in it tells who it was: that is only known to whoever has the identifier and the key
(profiles/suppression.py), and while something of a person may be left, by the internal ids of their profile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import orjson
from sqlalchemy import Connection, text


class Kind(StrEnum):
    SUPPRESS = "suppress"
    FORGET = "forget"


@dataclass(frozen=True, kw_only=True, slots=True)
class PrivacyRequest:
    """`profiles` are internal ids of which something may be left; `deleted` are rows by table."""

    id: int
    kind: Kind
    asked_at: datetime
    asked_by: str
    was_known: bool
    profiles: tuple[int, ...]
    withdrawn: int
    deleted: dict[str, int]
    finished_at: datetime | None
    undone_at: datetime | None
    undone_by: str | None


_OPEN = text(
    """
    INSERT INTO privacy_requests (kind, asked_by, was_known, profiles, finished_at)
    SELECT :kind, :asked_by, was_known, CAST(profiles AS bigint[]), CASE WHEN :is_done THEN clock_timestamp() END
    FROM unnest(CAST(:known AS boolean[]), CAST(:profiles AS text[])) WITH ORDINALITY
      AS asked (was_known, profiles, place)
    ORDER BY place
    RETURNING id
    """
)
_COLUMNS = """
    SELECT id, kind, asked_at, asked_by, was_known, coalesce(profiles, '{}') AS profiles, withdrawn, deleted,
           finished_at, undone_at, undone_by
    FROM privacy_requests
"""
_LOAD = text(_COLUMNS + "WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id")
_LIST = text(
    _COLUMNS + "WHERE CAST(:ids AS bigint[]) IS NULL OR id = ANY(CAST(:ids AS bigint[])) ORDER BY id DESC LIMIT :limit"
)
_UNFINISHED = text(
    """
    SELECT id FROM privacy_requests
    WHERE finished_at IS NULL AND asked_at < clock_timestamp() - CAST(:seconds AS float8) * interval '1 second'
    ORDER BY id LIMIT :limit
    """
)
_ADD = text(
    """
    UPDATE privacy_requests
    SET withdrawn = privacy_requests.withdrawn + added.withdrawn,
        deleted = (
          SELECT coalesce(jsonb_object_agg(name, rows), '{}') FROM (
            SELECT name, sum(rows::bigint) AS rows FROM (
              SELECT * FROM jsonb_each_text(privacy_requests.deleted)
              UNION ALL SELECT * FROM jsonb_each_text(added.deleted)
            ) AS both_of_them (name, rows) GROUP BY name
          ) AS summed
        )
    FROM unnest(CAST(:ids AS bigint[]), CAST(:withdrawn AS integer[]), CAST(:deleted AS jsonb[]))
      AS added (id, withdrawn, deleted)
    WHERE privacy_requests.id = added.id
    """
)
_FINISH = text(
    """
    UPDATE privacy_requests SET finished_at = clock_timestamp(), profiles = NULL
    WHERE id = ANY(CAST(:ids AS bigint[])) AND finished_at IS NULL
    """
)
_UNDO = text(
    """
    UPDATE privacy_requests SET undone_at = clock_timestamp(), undone_by = :undone_by
    WHERE id = ANY(CAST(:ids AS bigint[])) AND undone_at IS NULL
    """
)


def open_requests(
    connection: Connection, kind: Kind, asked_by: str, people: Sequence[tuple[bool, Sequence[int]]]
) -> list[int]:
    """Put on record what is asked for, of (was known, internal ids) each; returns the ids, in their order.

    What suppresses only is finished with this transaction.
    """
    given = {
        "kind": str(kind),
        "asked_by": asked_by,
        "is_done": kind is Kind.SUPPRESS,
        "known": [known for known, _ in people],
        "profiles": ["{" + ",".join(map(str, profiles)) + "}" for _, profiles in people],
    }
    return sorted(connection.execute(_OPEN, given).scalars())


def load(connection: Connection, ids: Sequence[int]) -> list[PrivacyRequest]:
    return [_request(row._asdict()) for row in connection.execute(_LOAD, {"ids": list(ids)})]


def listing(
    connection: Connection, *, ids: Sequence[int] | None = None, limit: int | None = None
) -> list[PrivacyRequest]:
    """Requests, the newest first; of `ids` only these."""
    given = {"ids": None if ids is None else list(ids), "limit": limit}
    return [_request(row._asdict()) for row in connection.execute(_LIST, given)]


def unfinished(connection: Connection, *, older_than: float = 0.0, limit: int = 1_000) -> list[int]:
    """Requests of which something may be left, that were made `older_than` seconds ago."""
    return list(connection.execute(_UNFINISHED, {"seconds": older_than, "limit": limit}).scalars())


def add(connection: Connection, done: Mapping[int, Mapping[str, int]], withdrawn: Mapping[int, int]) -> None:
    """Add to what was deleted, rows by table, and to how many messages were withdrawn; both by request."""
    ids = sorted({*done, *withdrawn})
    if ids:
        given = {
            "ids": ids,
            "withdrawn": [withdrawn.get(id_, 0) for id_ in ids],
            "deleted": [orjson.dumps(dict(done.get(id_, {}))).decode() for id_ in ids],
        }
        connection.execute(_ADD, given)


def finish(connection: Connection, ids: Sequence[int]) -> None:
    """Nothing is left of these."""
    connection.execute(_FINISH, {"ids": list(ids)})


def undo(connection: Connection, ids: Sequence[int], undone_by: str) -> None:
    connection.execute(_UNDO, {"ids": list(ids), "undone_by": undone_by})


def _request(row: Mapping[str, object]) -> PrivacyRequest:
    given = {**row, "kind": Kind(str(row["kind"])), "profiles": tuple(row["profiles"])}  # type: ignore[arg-type]
    return PrivacyRequest(**given)  # type: ignore[arg-type]
