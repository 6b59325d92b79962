"""How far each definition has been computed. Writes `computations`.

The instant of a live computation is the database's clock, read after the definition's lock is held, and never below
the last one: so no host's drift hides an event, and the ledger's instants only rise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from engage_sync import errors
from engage_sync.database import locks, pipeline
from engage_sync.database.pipeline import Query, Rows
from engage_sync.snapshots import guards, holds
from engage_sync.snapshots.differences import Tally
from engage_sync.snapshots.guards import Recent
from engage_sync.snapshots.holds import Hold


@dataclass(frozen=True, slots=True)
class State:
    """`version` None: never computed. Instants are aware, in UTC; `touches_seen` is the text of a pg_snapshot.

    `cost` are the microseconds that evaluating one profile takes; None: not known yet. `counted` is what changed by
    stretches of time, see `recent`; `hold` is what keeps the next change from being written.
    """

    definition_id: int
    version: int | None
    swept_to: datetime | None
    swept_live: bool
    touches_seen: str | None
    as_of: datetime | None
    members: int
    cost: float | None
    error: str | None
    current_version: int
    enabled: bool
    silence_accepted_until: datetime | None = None
    counted: tuple[Sequence[int], Sequence[int], int] = ((), (), 0)
    hold: Hold | None = None

    def recent(self, as_of: datetime) -> Recent:
        """Who entered or left within the hour before an instant, whatever the cause."""
        return guards.recent(*self.counted, as_of)


def _first(rows: Rows) -> Any:
    return rows[0][0]


def _states(rows: Rows) -> dict[int, State]:
    return {row[0]: State(*[*row[:12], row[12:15], holds.read(row[15:])]) for row in rows}


CLOCK: Query[datetime] = Query(text("SELECT clock_timestamp()"), {}, _first)
"""The database's clock."""
CURRENT_SNAPSHOT: Query[str] = Query(text("SELECT pg_current_snapshot()::text"), {}, _first)
"""Which transactions are visible now. Asked before anything else is read, so that nothing falls between."""
# In the order of State's fields: its own, what it counted, and its hold.
_LOAD = text(
    f"""
    SELECT definitions.id AS definition_id, computations.version, swept_to, coalesce(swept_live, false) AS swept_live,
           -- A snapshot of transactions that this server never had comes from another one (a restored dump): what it
           -- shows as seen, nobody saw here.
           CASE WHEN pg_snapshot_xmax(touches_seen) <= pg_snapshot_xmax(pg_current_snapshot())
           THEN touches_seen::text END AS touches_seen, as_of, coalesce(members, 0) AS members, cost, error,
           definitions.version AS current_version,
           definitions.enabled AND definitions.deleted_at IS NULL AS enabled, silence_accepted_until,
           coalesce(recent_changes, '{{}}') AS recent_changes, coalesce(recent_growth, '{{}}') AS recent_growth,
           coalesce(recent_slot, 0) AS recent_slot, {holds.COLUMNS}
    FROM definitions LEFT JOIN computations ON computations.definition_id = definitions.id
    LEFT JOIN holds ON holds.definition_id = definitions.id
    WHERE definitions.id = ANY(:definitions)
    ORDER BY definitions.id
    """  # noqa: S608 - a constant of ours
)
_ADVANCE = text(
    """
    INSERT INTO computations (definition_id, version, swept_to, swept_live, touches_seen, as_of, members, computed_at)
    VALUES (:definition, :version, :swept_to, :live, CAST(:seen AS pg_snapshot), :as_of, :delta, clock_timestamp())
    ON CONFLICT (definition_id) DO UPDATE
    SET version = excluded.version, swept_to = excluded.swept_to, swept_live = excluded.swept_live,
        touches_seen = excluded.touches_seen, as_of = greatest(computations.as_of, excluded.as_of),
        computed_at = excluded.computed_at, error = NULL
    """
)
_COUNT = text(
    """
    INSERT INTO computations (definition_id, as_of, members, recent_changes, recent_growth, recent_slot)
    SELECT definition_id, :as_of, delta, ARRAY[changes], ARRAY[growth], :slot
    FROM unnest(CAST(:definitions AS integer[]), CAST(:deltas AS bigint[]), CAST(:changes AS bigint[]),
                CAST(:growth AS bigint[])) AS counted (definition_id, delta, changes, growth)
    ORDER BY definition_id
    ON CONFLICT (definition_id) DO UPDATE
    SET members = computations.members + excluded.members, as_of = greatest(computations.as_of, excluded.as_of),
        recent_changes = engage_slide(computations.recent_changes, excluded.recent_slot - computations.recent_slot,
                                      excluded.recent_changes[1]),
        recent_growth = engage_slide(computations.recent_growth, excluded.recent_slot - computations.recent_slot,
                                     excluded.recent_growth[1]),
        recent_slot = greatest(computations.recent_slot, excluded.recent_slot)
    """
)
_SEEN = text(
    """
    UPDATE computations
    SET touches_seen = CAST(:seen AS pg_snapshot), as_of = greatest(as_of, :as_of), computed_at = clock_timestamp(),
        swept_to = coalesce(CAST(:swept_to AS timestamptz), swept_to),
        swept_live = CASE WHEN CAST(:swept_to AS timestamptz) IS NULL THEN swept_live ELSE :live END, error = NULL
    WHERE definition_id = ANY(:definitions)
    """
)
_COST = text(
    """
    UPDATE computations SET cost = coalesce(0.7 * computations.cost + 0.3 * took.cost, took.cost)
    FROM unnest(CAST(:definitions AS integer[]), CAST(:costs AS float8[])) AS took (definition_id, cost)
    WHERE computations.definition_id = took.definition_id
    """
)
_FORGET_COST = text("UPDATE computations SET cost = NULL WHERE definition_id = ANY(:definitions)")
# What a statement takes by itself, however few it looks at.
_OVERHEAD_MILLISECONDS = 5.0
_CARRY_OVER = text(
    """
    UPDATE computations SET version = definitions.version
    FROM definitions
    WHERE definitions.id = computations.definition_id AND definitions.key = ANY(:keys)
      AND computations.version = definitions.version - 1
    """
)
_FORGET = text("UPDATE computations SET touches_seen = NULL WHERE definition_id = ANY(:definitions)")
_HOLD = text("UPDATE computations SET error = NULL WHERE definition_id = :definition AND error IS NOT NULL")
# The hour begins anew with what somebody approved.
_APPROVED = text(
    """
    UPDATE computations
    SET recent_changes = '{}', recent_growth = '{}', silence_accepted_until = CASE
      WHEN :silent THEN clock_timestamp() + interval '1 day' ELSE silence_accepted_until END
    WHERE definition_id = :definition
    """
)
_FAIL = text(
    """
    INSERT INTO computations (definition_id, error) VALUES (:definition, :error)
    ON CONFLICT (definition_id) DO UPDATE SET error = excluded.error
    """
)


def load(connection: Connection, definitions: Sequence[int]) -> dict[int, State]:
    """The states of definitions, by id. Definitions that don't exist are left out."""
    return pipeline.ask(connection, loading(definitions))


def loading(definitions: Sequence[int]) -> Query[dict[int, State]]:
    """Asks for the states of definitions, by id; those that don't exist are left out."""
    return Query(_LOAD, {"definitions": list(definitions)}, _states)


def lock(connection: Connection, definition: int) -> State:
    """Take the definition's lock for this transaction, then read its state."""
    locks.wait(connection, locks.LockClass.DEFINITION, definition)
    state = load(connection, [definition]).get(definition)
    if state is None:
        raise errors.NotFound(f"Definition {definition} is gone.")
    return state


def instant(connection: Connection, last: datetime | None) -> datetime:
    """The database's clock now, never below the last instant of this definition."""
    now = pipeline.ask(connection, CLOCK)
    return max(now, last) if last else now


def current_snapshot(connection: Connection) -> str:
    """Which transactions are visible now. Take it before anything else is read, so that nothing falls between."""
    return pipeline.ask(connection, CURRENT_SNAPSHOT)


def counting(tallies: Mapping[int, Tally], as_of: datetime, *, guarded: bool = True) -> Query[None]:
    """Adds to the numbers of members (for a trait: of profiles with a value), by definition, as of an instant.

    `guarded`: and, but for values that only changed, to what counts in the hour.
    """
    deltas = [tally.entered - tally.exited for tally in tallies.values()]
    given = {
        "definitions": list(tallies),
        "deltas": deltas,
        "changes": [tally.entered + tally.exited if guarded else 0 for tally in tallies.values()],
        "growth": deltas if guarded else [0] * len(deltas),
        "slot": guards.slot(as_of),
        "as_of": as_of,
    }
    return Query(_COUNT, given, pipeline.nothing)


def advance(
    connection: Connection, state: State, *, swept_to: datetime, seen: str, live: bool, as_of: datetime
) -> None:
    """A whole run is done: edges up to `swept_to` are crossed, and the touches that `seen` shows are read."""
    connection.execute(
        _ADVANCE,
        {
            "definition": state.definition_id,
            "version": state.current_version,
            "swept_to": swept_to,
            "live": live,
            "seen": seen,
            "as_of": as_of,
            "delta": 0,
        },
    )


def seeing(
    definitions: Sequence[int], *, seen: str, as_of: datetime, swept_to: datetime | None, live: bool
) -> Query[None]:
    """Notes that a round has read the touches that `seen` shows, and with `swept_to` crossed the edges up to it.

    `live`: that was the database's clock, so that whatever came later and was visible at once has left a touch.
    """
    given = {"seen": seen, "as_of": as_of, "swept_to": swept_to, "live": live}
    return Query(_SEEN, {**given, "definitions": list(definitions)}, pipeline.nothing)


def learning_cost(took: Mapping[int, tuple[float, int]]) -> Query[None]:
    """Remembers how long evaluations took: (milliseconds, people) by definition."""
    costs = [max(0.0, took_ - _OVERHEAD_MILLISECONDS) * 1000 / max(1, people) for took_, people in took.values()]
    return Query(_COST, {"definitions": list(took), "costs": costs}, pipeline.nothing)


def forget_cost(connection: Connection, definitions: Sequence[int]) -> None:
    """What is remembered can't be true: it is to be measured again."""
    connection.execute(_FORGET_COST, {"definitions": list(definitions)})


def carry_over(connection: Connection, keys: Sequence[str]) -> None:
    """The newest version of these says the same of everybody as the one before it: it need not be computed anew."""
    if keys:
        connection.execute(_CARRY_OVER, {"keys": list(keys)})


def forget(connection: Connection, definitions: Sequence[int]) -> None:
    """What these say may be other than it was for anybody: the next computation looks at everybody."""
    connection.execute(_FORGET, {"definitions": list(definitions)})


def fail(connection: Connection, definition: int, error: str) -> None:
    """Mark a definition with what kept it from being computed; its snapshot stays as it was."""
    connection.execute(_FAIL, {"definition": definition, "error": error})


def held(connection: Connection, definition: int) -> None:
    """It can be computed, though nothing is written: what kept it from that before is over."""
    connection.execute(_HOLD, {"definition": definition})


def approved(connection: Connection, definition: int, *, silent: bool) -> None:
    """What somebody approved is written: it doesn't count in the hour; a `silent` input is accepted for a day."""
    connection.execute(_APPROVED, {"definition": definition, "silent": silent})
