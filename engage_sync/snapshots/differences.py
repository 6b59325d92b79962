"""The difference between what a definition is and what its snapshot says, and writing it down.

Writes `snapshots` and `changes`, in the caller's transaction and under the definition's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Connection, text

from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query, Rows
from engage_sync.evaluation.compiler import Evaluation

# Values that the evaluation gives, against those that stand. Whoever was a member and isn't any more stays as false;
# a trait that lost its value loses its row.
_DIFFERENCE = """
SELECT coalesce(evaluated.profile_id, snapshot.profile_id) AS profile_id,
       snapshot.value::text AS before,
       coalesce(evaluated.value, %(engage_left)s::jsonb)::text AS after
FROM ({evaluation}) AS evaluated
FULL JOIN (
  SELECT profile_id, value FROM snapshots WHERE definition_id = %(engage_definition)s{scope}
) AS snapshot ON snapshot.profile_id = evaluated.profile_id
WHERE coalesce(evaluated.value, %(engage_left)s::jsonb) IS DISTINCT FROM snapshot.value
"""
_SCOPED = " AND profile_id = ANY(%(profiles)s::bigint[])"
_STAGE = """
INSERT INTO engage_pending (profile_id, before, after, differs)
SELECT profile_id, before, after, true FROM ({}) AS difference
"""

# One statement, as real time writes a handful of differences at a time and round trips are most of its cost.
_RECORD = text(
    """
    WITH difference AS MATERIALIZED (
      SELECT * FROM unnest(CAST(:definitions AS integer[]), CAST(:runs AS bigint[]), CAST(:profiles AS bigint[]),
                           CAST(:before AS jsonb[]), CAST(:after AS jsonb[]))
        AS difference (definition_id, run_id, profile_id, before, after)
    ), logged AS (
      INSERT INTO changes (profile_id, definition_id, as_of, run_id, before, after)
      SELECT profile_id, definition_id, :as_of, run_id, before, after FROM difference
    ), gone AS (
      DELETE FROM snapshots USING difference
      WHERE snapshots.definition_id = difference.definition_id AND snapshots.profile_id = difference.profile_id
        AND difference.after IS NULL
    )
    INSERT INTO snapshots (profile_id, definition_id, value, since)
    SELECT profile_id, definition_id, after, :as_of FROM difference WHERE after IS NOT NULL
    ORDER BY profile_id, definition_id
    ON CONFLICT (profile_id, definition_id) DO UPDATE SET value = excluded.value, since = excluded.since
    """
)
_STANDING = text(
    """
    SELECT staged.profile_id
    FROM unnest(CAST(:profiles AS bigint[]), CAST(:before AS jsonb[])) AS staged (profile_id, before)
    LEFT JOIN snapshots ON snapshots.profile_id = staged.profile_id AND snapshots.definition_id = :definition
    WHERE snapshots.value IS NOT DISTINCT FROM staged.before
    """
)
_FORGET = text(
    "DELETE FROM snapshots WHERE definition_id = :definition AND profile_id = ANY(CAST(:profiles AS bigint[]))"
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A profile's value before and after, as JSON text; None: no value."""

    profile_id: int
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The differences of one definition, and the run that found them."""

    definition: int
    run: int
    differences: Sequence[Difference]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """How many entered, left, and changed a value; for a trait, entering is gaining a value and leaving losing it."""

    entered: int = 0
    exited: int = 0
    changed: int = 0

    @property
    def total(self) -> int:
        return self.entered + self.exited + self.changed

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            entered=self.entered + other.entered,
            exited=self.exited + other.exited,
            changed=self.changed + other.changed,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A definition and the profiles that are to be looked at for it."""

    definition: int
    is_audience: bool
    evaluation: Evaluation
    profiles: Sequence[int]


def differing(connection: Connection, asked: Sequence[Asked], as_of: datetime) -> list[list[Difference]]:
    """The differences of each definition among its profiles, in the order of their ids; all in one round trip."""
    return pipeline.ask_each(connection, [finding(each, as_of) for each in asked])


def finding(asked: Asked, as_of: datetime) -> Query[list[Difference]]:
    """Asks for the differences of one definition among its profiles, in the order of their ids."""
    given = arguments(asked.evaluation, asked.definition, asked.is_audience, as_of, asked.profiles)
    return Query(statement(asked.evaluation.sql, is_scoped=True), given, _differences)


def stage(
    connection: Connection, evaluation: Evaluation, *, definition: int, is_audience: bool, as_of: datetime
) -> int:
    """Write everybody's differences to the session's table `engage_pending`; say how many there are."""
    difference = statement(evaluation.sql, is_scoped=False)
    difference = difference.replace("::text AS before", " AS before").replace("::text AS after", " AS after")
    given = arguments(evaluation, definition, is_audience, as_of, None)
    return connection.exec_driver_sql(_STAGE.replace("{}", difference), given).rowcount


def standing(connection: Connection, definition: int, found: Sequence[Difference]) -> list[Difference]:
    """Those differences whose value before is still the snapshot's."""
    given = {
        "definition": definition,
        "profiles": [difference.profile_id for difference in found],
        "before": [difference.before for difference in found],
    }
    stands = {row.profile_id for row in pipeline.rows(connection, _STANDING, given)}
    return [difference for difference in found if difference.profile_id in stands]


def recording(found: Sequence[Found], as_of: datetime) -> Query[None]:
    """Writes differences of any number of definitions to the snapshot and the ledger. At most one batch at a time."""
    rows = [(each.definition, each.run, difference) for each in found for difference in each.differences]
    given = {
        "as_of": as_of,
        "definitions": [definition for definition, _, _ in rows],
        "runs": [run for _, run, _ in rows],
        "profiles": [difference.profile_id for _, _, difference in rows],
        "before": [difference.before for _, _, difference in rows],
        "after": [difference.after for _, _, difference in rows],
    }
    return Query(_RECORD, given, pipeline.nothing)


def forget(connection: Connection, definition: int, profiles: Sequence[int]) -> None:
    """Take profiles without a value out of the snapshot: the ledger has said so already."""
    if profiles:
        connection.execute(_FORGET, {"definition": definition, "profiles": list(profiles)})


def tally(differences: Sequence[Difference], is_audience: bool) -> Tally:
    """Count differences by what they mean. False is no membership, but may well be a trait's value."""
    nothing = (None, "false") if is_audience else (None,)
    entered = sum(1 for each in differences if each.before in nothing and each.after not in nothing)
    exited = sum(1 for each in differences if each.before not in nothing and each.after in nothing)
    return Tally(entered=entered, exited=exited, changed=len(differences) - entered - exited)


def _differences(rows: Rows) -> list[Difference]:
    return sorted((Difference(*row) for row in rows), key=lambda difference: difference.profile_id)


@lru_cache(maxsize=4096)
def statement(evaluation: str, *, is_scoped: bool) -> str:
    """SQL: rows (profile_id, before, after as JSON text) of all who differ, or of the given profiles (`is_scoped`)."""
    made = _DIFFERENCE.replace("{scope}", _SCOPED if is_scoped else "")
    return made.replace("{evaluation}", evaluation)


def arguments(
    evaluation: Evaluation, definition: int, is_audience: bool, as_of: datetime, profiles: Sequence[int] | None
) -> dict[str, Any]:
    """What `statement` needs."""
    given = evaluation.arguments(as_of, profiles)
    given["engage_definition"] = definition
    given["engage_left"] = None
    if is_audience:
        given["engage_left"] = orjson.dumps(False).decode()
    return given
