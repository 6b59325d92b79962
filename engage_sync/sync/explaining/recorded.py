"""What was computed and recorded of a person, and why an evaluation may say something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.definitions import versions
from engage_sync.evaluation.explain import Question
from engage_sync.sync.catalog import Catalog
from engage_sync.sync.explaining.subject import Asked

_SNAPSHOT = text("SELECT value, since FROM snapshots WHERE profile_id = :profile AND definition_id = :definition")
# What the ledger said at an instant: its last change up to then.
_LEDGER = text(
    """
    SELECT after AS value, as_of AS since FROM changes
    WHERE profile_id = :profile AND definition_id = :definition AND as_of <= :as_of
    ORDER BY as_of DESC, recorded_at DESC LIMIT 1
    """
)
_FIRST_COMPUTED = text("SELECT min(as_of) FROM runs WHERE definition_id = :definition AND status = 'done'")
# Touches that the definition's next computation will read. It may find that nothing of it concerns the definition.
_UNREAD = text(
    """
    SELECT count(*) FROM touches
    WHERE profile_id = ANY(CAST(:people AS bigint[])) AND xid >= pg_snapshot_xmin(CAST(:seen AS pg_snapshot))
      AND NOT pg_visible_in_snapshot(xid, CAST(:seen AS pg_snapshot))
      AND reasons && CAST(:reasons AS text[])
    """
)


def recorded(connection: Connection, asked: Asked) -> Any:
    """The row (value, since) that stands for a person; of a past instant what the ledger said then. None: nothing."""
    given = {**asked.ids, "as_of": asked.as_of}
    return connection.execute(_LEDGER if asked.is_past else _SNAPSHOT, given).one_or_none()


def snapshot(connection: Connection, catalog: Catalog, asked: Asked, value: Any, question: Question) -> dict[str, Any]:
    """What was computed last, or what the ledger said at a past instant; and why `value` may differ."""
    row = recorded(connection, asked)
    said = None if row is None else row.value
    said = said is True if asked.definition.kind == "audience" else said
    differs = [] if said == value else list(_lags(connection, catalog, asked, question))
    return {
        "value": said,
        "since": None if row is None else row.since,
        "is_computed": asked.state.version is not None,
        "computed_as_of": asked.state.as_of,
        "differs_because": differs,
    }


def _lags(connection: Connection, catalog: Catalog, asked: Asked, question: Question) -> Iterator[str]:
    """Why a snapshot isn't what an evaluation says now, in sentences."""
    definition, state = asked.definition, asked.state
    if not definition.enabled:
        yield "the definition is disabled, and not computed"
    if state.error is not None:
        yield f"its last computation failed: {state.error}"
    if state.version is None:
        yield "it was never computed"
    elif state.version != definition.version:
        yield f"version {definition.version} is not computed yet; the snapshot is that of version {state.version}"
    lookback = versions.lookback_keys([each.spec for each in catalog.definitions])
    next_time = "at once while `up` runs" if versions.is_realtime(definition.spec, lookback) else "on the next tick"
    if state.touches_seen is not None:
        people = question.of_their_accounts(connection).people if definition.spec.of_accounts else ()
        reasons = sorted(catalog.reasons.get(definition.id, frozenset()))
        given = {"people": sorted({*people, asked.person.id}), "seen": state.touches_seen, "reasons": reasons}
        if connection.execute(_UNREAD, given).scalar_one():
            whose = "this person or somebody who shares an account" if definition.spec.of_accounts else "this person"
            yield f"something about {whose} has changed since, and is computed {next_time}"
    if asked.is_past:
        first = connection.execute(_FIRST_COMPUTED, asked.ids).scalar()
        if first is not None and first > asked.as_of:
            yield f"it was first computed as of {first.isoformat(timespec='seconds')}, after that instant"
        what = "traits, accounts, references" if definition.spec.of_accounts else "traits, references"
        yield f"{what} and late events count as they are now, not as they were known at that instant"
    elif state.as_of is not None:
        yield f"time has gone by since it was computed; it is computed again {next_time}"
