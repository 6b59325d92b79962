"""What was recorded: a definition's members over time, and what a person entered and left. Reads the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.definitions.versions import StoredDefinition
from engage_sync.profiles import finding
from engage_sync.snapshots.timeline import Step, instants

# Today's number of members is on record; from there it goes backwards, so that only the range's part of the ledger is
# read, whatever lies before it. All in one statement, as both are written in one transaction. An instant closes its
# step: the microsecond puts what happened at it there, since buckets begin with their lower bound.
_DEFAULT_DAYS = 30
_STEPS = text(
    """
    WITH change AS (
      SELECT width_bucket(as_of - interval '1 microsecond', CAST(:instants AS timestamptz[])) AS step,
             before IS NULL OR (NOT :is_trait AND before = 'false') AS was_out,
             after IS NULL OR (NOT :is_trait AND after = 'false') AS is_out
      FROM changes WHERE definition_id = :definition AND as_of > :start
    ), tally AS (
      SELECT step, count(*) FILTER (WHERE was_out AND NOT is_out) AS entered,
             count(*) FILTER (WHERE is_out AND NOT was_out) AS exited,
             count(*) FILTER (WHERE NOT is_out AND NOT was_out) AS changed
      FROM change GROUP BY step
    )
    SELECT tally.step, tally.entered, tally.exited, tally.changed, coalesce(computations.members, 0) AS members
    FROM (VALUES (1)) AS once
    LEFT JOIN computations ON computations.definition_id = :definition
    LEFT JOIN tally ON true
    """
)
# Up to now; where the last days hold nothing, as computations were as of instants long ago or still to come, up to the
# last of these.
_END = text(
    """
    SELECT CASE WHEN last.as_of BETWEEN now() - make_interval(days => :days) AND now() THEN now()
                ELSE coalesce(last.as_of, now()) END
    FROM (VALUES (1)) AS once LEFT JOIN computations AS last ON last.definition_id = :definition
    """
)
_FIRST = text("SELECT min(as_of) FROM changes WHERE definition_id = :definition")
# The ledger isn't rewritten when two profiles become one: what the lost one was stays under the id it had.
_OF_PERSON = text(
    """
    WITH person AS (
      SELECT CAST(:profile AS bigint) AS profile_id, false AS is_merged
      UNION ALL
      SELECT lost_id, true FROM lost_profiles WHERE profile_id = :profile
    )
    SELECT changes.as_of, changes.recorded_at, definitions.key, definitions.kind, changes.before, changes.after,
           CASE WHEN changes.run_id = 0 THEN 'merge' ELSE runs.cause END AS cause,
           nullif(changes.run_id, 0) AS run_id, person.is_merged
    FROM person
    JOIN changes ON changes.profile_id = person.profile_id
    JOIN definitions ON definitions.id = changes.definition_id
    LEFT JOIN runs ON runs.id = changes.run_id
    WHERE CAST(:definition AS integer) IS NULL OR changes.definition_id = :definition
    ORDER BY changes.as_of DESC, changes.recorded_at DESC, changes.run_id DESC, definitions.key
    LIMIT CAST(:limit AS bigint)
    """
)


def history(
    connection: Connection,
    definition: StoredDefinition,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    step: Step = Step.DAY,
) -> list[dict[str, Any]]:
    """`[{"as_of", "members", "entered", "left"}]`, for a trait with "changed", where members are people with a value.

    A row for `end`, each boundary of a step and `start`, newest first; entered, left and changed are those up to its
    instant and after that of the row that follows, none in the last. By default the last 30 days before now
    or before the last computation, as far as they are on record. Raises errors.UsageError for a range that is turned
    round or too long.
    """
    if end is None:
        given = {"definition": definition.id, "days": _DEFAULT_DAYS}
        end = connection.execute(_END, given).scalar_one()
    assert end is not None
    if start is None:
        recorded = first_change(connection, definition)
        start = max(_midnight(end) - timedelta(days=_DEFAULT_DAYS), _midnight(min(recorded or end, end)))
    moments = instants(start, end, step)
    is_trait = definition.kind != "audience"
    rows = connection.execute(
        _STEPS, {"definition": definition.id, "is_trait": is_trait, "instants": moments, "start": moments[0]}
    ).all()
    tallies = {row.step: row for row in rows if row.step is not None}
    found: list[dict[str, Any]] = []
    members = rows[0].members
    # Those of the step behind the last instant happened later than all that is asked for.
    for number in range(len(moments), -1, -1):
        tally = tallies.get(number)
        if number < len(moments):
            row = {"as_of": moments[number], "members": members, "entered": 0, "left": 0}
            row |= {"entered": tally.entered, "left": tally.exited} if tally else {}
            found.append({**row, "changed": tally.changed if tally else 0} if is_trait else row)
        members -= tally.entered - tally.exited if tally else 0
    return found


def _midnight(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def first_change(connection: Connection, definition: StoredDefinition) -> datetime | None:
    """The instant of the oldest change in the ledger; None where there is none."""
    at: datetime | None = connection.execute(_FIRST, {"definition": definition.id}).scalar()
    return at


def history_of_person(
    connection: Connection, identifier: str, *, definition: StoredDefinition | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """What a person entered, left and had as values, newest first.

    `[{"as_of", "recorded_at", "key", "kind", "before", "after", "cause", "run_id", "is_merged", "what"}]`: `what` is
    entered, left or changed; `cause` that of the run, or merge; `is_merged`, whether it was another profile's then,
    which was merged into this one. `definition` None: of all of them. Raises errors.NotFound.
    """
    person = finding.find(connection, identifier)
    given = {"profile": person.id, "definition": definition.id if definition else None, "limit": limit}
    changes = [dict(row._mapping) for row in connection.execute(_OF_PERSON, given)]
    return [{**each, "what": _what(each)} for each in changes]


def _what(change: dict[str, Any]) -> str:
    nothing: Sequence[Any] = (None, False) if change["kind"] == "audience" else (None,)
    was_out, is_out = _is_among(change["before"], nothing), _is_among(change["after"], nothing)
    if was_out is is_out:
        return "changed"
    return "entered" if was_out else "left"


def _is_among(value: Any, nothing: Sequence[Any]) -> bool:
    """Not by `in`: to Python, 0 is False."""
    return any(value is each for each in nothing)
