"""What an SQL trait says of a person: the row that its last reading brought to them, and how it was brought."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.definitions.language import tree
from engage_sync.sync.explaining.recorded import recorded
from engage_sync.sync.explaining.subject import Asked

# A resync reads nothing. `is_past`: the last one as of an instant that was asked for, and not under way then.
_LAST = text(
    """
    SELECT id AS run_id, version, as_of, started_at FROM runs
    WHERE definition_id = :definition AND status = 'done' AND cause <> 'resync'
      AND (NOT :is_past OR as_of <= :as_of AND (finished_at <= :as_of OR started_at > :as_of))
    ORDER BY as_of DESC, id DESC LIMIT 1
    """
)
_FIRST = text("SELECT min(as_of) FROM runs WHERE definition_id = :definition AND status = 'done' AND cause <> 'resync'")
_MATCHED = text("SELECT matched_by FROM snapshots WHERE profile_id = :profile AND definition_id = :definition")
# Whether the value came with another profile that was merged in, rather than from a reading.
_MERGED = text(
    """
    SELECT run_id = 0 FROM changes
    WHERE profile_id = :profile AND definition_id = :definition AND (NOT :is_past OR as_of <= :as_of)
    ORDER BY as_of DESC, recorded_at DESC LIMIT 1
    """
)
_LEARNT = text(
    """
    SELECT type, value FROM identities
    WHERE profile_id = :profile AND type IN ('user_id', 'email') AND created_at > :started_at ORDER BY id
    """
)
_LOST_SINCE = text("SELECT EXISTS (SELECT FROM lost_profiles WHERE profile_id = :profile AND lost_at > :as_of)")


def explain(connection: Connection, asked: Asked, rows: tree.SqlRows) -> dict[str, Any]:
    """What is known of a person's row, now or at a past instant; "reading" has what an evaluation has elsewhere.

    `{"last", "error", "row", "matched_by", "is_merged", "learnt_since", "columns", "gone", "notes", "cadence", "known",
    "unknown"}`. Nothing is evaluated: what the tables hold by now, only the next reading says.
    """
    row = recorded(connection, asked)
    value, since = (None, None) if row is None else (row.value, row.since)
    given = {**asked.ids, "as_of": asked.as_of, "is_past": asked.is_past}
    last = connection.execute(_LAST, given).one_or_none()
    merged = since is not None and connection.execute(_MERGED, given).scalar()
    # What was read since knows of the merge.
    merged = merged and last is not None and last.as_of < since
    return {
        "value": value,
        "expression": None,
        "accounts": None,
        "reading": {
            "last": None if last is None else dict(last._mapping),
            "error": None if asked.is_past else asked.state.error,
            "row": value,
            "matched_by": None if asked.is_past or value is None else _identifier(connection, asked),
            "is_merged": bool(merged),
            "learnt_since": [] if asked.is_past or last is None else _learnt_since(connection, asked, last.started_at),
            "columns": list(rows.columns),
            "gone": list(rows.gone),
            "notes": [] if asked.is_past else list(_notes(asked, last)),
            "cadence": asked.definition.spec.compute_cadence,
            **(_past(connection, asked, last) if asked.is_past else {"known": [], "unknown": []}),
        },
        "next_change": None,
        "referenced": [],
        "snapshot": {
            "value": value,
            "since": since,
            "is_computed": asked.state.version is not None,
            "computed_as_of": asked.state.as_of,
            "differs_because": [],
        },
    }


def _identifier(connection: Connection, asked: Asked) -> dict[str, str] | None:
    """None where it isn't on record: the value was read before that was noted."""
    noted = connection.execute(_MATCHED, asked.ids).scalar_one_or_none()
    if noted is None:
        return None
    kind, _, value = noted.partition(":")
    return {"type": kind, "value": value}


def _learnt_since(connection: Connection, asked: Asked, started_at: datetime) -> list[dict[str, str]]:
    found = connection.execute(_LEARNT, {**asked.ids, "started_at": started_at})
    return [{"type": row.type, "value": row.value} for row in found]


def _notes(asked: Asked, last: Any) -> Iterator[str]:
    """What else there is to know of the row that stands."""
    if not asked.definition.enabled:
        yield "The definition is disabled, and not read"
    if last is not None and last.version != asked.definition.version:
        yield f"Version {asked.definition.version} is not read yet; what stands is that of version {last.version}"


def _past(connection: Connection, asked: Asked, last: Any) -> dict[str, list[str]]:
    """What can be known of a past instant, and what can't, in sentences."""
    known = ["the value that was kept, since when, and the reading before that instant (from the history)"]
    if last is None:
        first = connection.execute(_FIRST, asked.ids).scalar()
        later = "" if first is None else f"; it was first read as of {first.isoformat(timespec='seconds')}"
        known = [f"it had not been read yet{later}"]
    return {"known": known, "unknown": list(_unknown(connection, asked))}


def _unknown(connection: Connection, asked: Asked) -> Iterator[str]:
    yield "by which user_id or email the row was matched then, and which identities the person had"
    yield "what the tables held between readings, and who had been told what: below is what was told up to now"
    if connection.execute(_LOST_SINCE, {**asked.ids, "as_of": asked.as_of}).scalar():
        yield "what was kept for profiles that were merged into this one since; engage-sync history shows those"
