"""A destination's rate, shared by all workers: one row holds the instant of the next free slot.

Writes `rate_budgets`. Virtual scheduling (GCRA) without a burst: slots are evenly spaced, whoever takes them. A
destination that says "too many requests" lowers the rate for all workers, until it has been quiet for some seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query, Rows

# Aimed at the limit itself, the jitter of sending would break it by some percent.
SHARE_OF_LIMIT = 0.97
# Small reservations keep workers from running ahead of each other.
LONGEST_RESERVATION = 0.02


@dataclass(frozen=True, slots=True)
class Reservation:
    """`count` slots, `spacing` seconds apart, the first `start` seconds from now by the database's clock."""

    start: float
    spacing: float
    count: int

    def offsets(self) -> list[float]:
        """Each slot's distance from now, in seconds."""
        return [self.start + number * self.spacing for number in range(self.count)]


# So much of the rate is left after a complaint, counted once within this many seconds.
LOWERED_TO = 0.9
_ONCE_IN = 1.0
# Held for the first half of this time, so that a limit below ours is found; then it rises, and is back at its end.
BACK_WITHIN = 10.0
# Whatever is complained of, there is a trickle by which its end is noticed.
LEAST_SHARE = 0.01

# What is left of the rate just now. The clock is read when the row is locked: what was waited for the lock is over by
# then.
_SHARE = """
    (1 - (1 - budget.share) * CASE WHEN budget.lowered_at IS NULL THEN 0 ELSE greatest(0, least(1,
       2 - extract(epoch FROM clock_timestamp() - budget.lowered_at)::float8 / CAST(:half AS float8))) END)
"""
_RESERVE = text(
    """
    INSERT INTO rate_budgets AS budget (destination_id, name, next_at)
    VALUES (:destination, :name, clock_timestamp() + CAST(:lead + :span AS float8) * interval '1 second')
    ON CONFLICT (destination_id, name) DO UPDATE
    SET next_at = greatest(budget.next_at, clock_timestamp() + CAST(:lead AS float8) * interval '1 second')
                  + CAST(:span AS float8) * interval '1 second' /
    """  # noqa: S608 - constants of this module
    + _SHARE
    + "RETURNING extract(epoch FROM next_at - clock_timestamp())::float8 AS ends, "
    + _SHARE
    + " AS share"
)
_LOWER = text(
    """
    UPDATE rate_budgets AS budget
    SET lowered_at = clock_timestamp(),
        share = greatest(CAST(:least AS float8), CAST(:lowered_to AS float8) *
    """  # noqa: S608 - constants of this module
    + _SHARE
    + """)
    WHERE destination_id = :destination AND name = :name
      AND (lowered_at IS NULL OR lowered_at <= clock_timestamp() - CAST(:once_in AS float8) * interval '1 second')
    RETURNING share
    """
)
_LOWERED = text(
    """
    SELECT destinations.slug AS destination, budget.name, found.share
    FROM rate_budgets AS budget JOIN destinations ON destinations.id = budget.destination_id
    CROSS JOIN LATERAL (SELECT
    """  # noqa: S608 - constants of this module
    + _SHARE
    + """ AS share) AS found WHERE found.share < 1 ORDER BY destinations.slug, budget.name
    """
)
_HALF = {"half": BACK_WITHIN / 2}


@dataclass(frozen=True, slots=True)
class Lowered:
    """A budget of which only a `share` is used just now, as the destination complained."""

    destination: str
    name: str
    share: float


def most_slots(rate: float) -> int:
    """How many slots one reservation may have, at `rate` requests a second."""
    return max(1, int(LONGEST_RESERVATION * SHARE_OF_LIMIT * rate))


def reserve(
    connection: Connection, destination_id: int, name: str, rate: float, slots: int, *, lead: float = 0.0
) -> Reservation:
    """Take up to `slots` slots of a budget, none before `lead` seconds from now.

    Other workers wait for this transaction's end: reserve last, and commit.
    """
    return pipeline.ask(connection, reserving(destination_id, name, rate, slots, lead=lead))


def reserving(destination_id: int, name: str, rate: float, slots: int, *, lead: float = 0.0) -> Query[Reservation]:
    """The query of `reserve`."""
    count = max(1, min(slots, most_slots(rate)))
    span = count / (SHARE_OF_LIMIT * rate)

    def read(rows: Rows) -> Reservation:
        (row,) = rows
        spacing = span / count / row.share
        return Reservation(start=row.ends - count * spacing, spacing=spacing, count=count)

    given = {"destination": destination_id, "name": name, "span": span, "lead": lead, **_HALF}
    return Query(_RESERVE, given, read)


def lower(connection: Connection, destination_id: int, name: str) -> float | None:
    """The destination complained of too many requests: lower the rate by a tenth, unless it was just now.

    Returns the share of the rate that is left; None where it was lowered within the last second.
    """
    given = {"destination": destination_id, "name": name, "least": LEAST_SHARE, "lowered_to": LOWERED_TO}
    rows = pipeline.rows(connection, _LOWER, {**given, "once_in": _ONCE_IN, **_HALF})
    return float(rows[0].share) if rows else None


def lowered(connection: Connection) -> list[Lowered]:
    """The budgets whose rates are lowered just now."""
    return [Lowered(row.destination, row.name, row.share) for row in pipeline.rows(connection, _LOWERED, _HALF)]
