"""A destination's rate, shared by all workers: one row holds the instant of the next free slot.

Writes `rate_budgets`. Virtual scheduling (GCRA) without a burst: slots are evenly spaced, whoever takes them.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from engage_sync.database import pipeline

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


# The clock is read when the row is locked: what was waited for the lock is over by then.
_RESERVE = text(
    """
    INSERT INTO rate_budgets AS budget (destination_id, name, next_at)
    VALUES (:destination, :name, clock_timestamp() + CAST(:lead + :span AS float8) * interval '1 second')
    ON CONFLICT (destination_id, name) DO UPDATE
    SET next_at = greatest(budget.next_at, clock_timestamp() + CAST(:lead AS float8) * interval '1 second')
                  + CAST(:span AS float8) * interval '1 second'
    RETURNING extract(epoch FROM next_at - clock_timestamp())::float8 - CAST(:span AS float8)
    """
)


def most_slots(rate: float) -> int:
    """How many slots one reservation may have, at `rate` requests a second."""
    return max(1, int(LONGEST_RESERVATION * SHARE_OF_LIMIT * rate))


def reserve(
    connection: Connection, destination_id: int, name: str, rate: float, slots: int, *, lead: float = 0.0
) -> Reservation:
    """Take up to `slots` slots of a budget, none before `lead` seconds from now.

    Other workers wait for this transaction's end: reserve last, and commit.
    """
    count = max(1, min(slots, most_slots(rate)))
    spacing = 1.0 / (SHARE_OF_LIMIT * rate)
    given = {"destination": destination_id, "name": name, "span": count * spacing, "lead": lead}
    start: float = pipeline.rows(connection, _RESERVE, given)[0][0]
    return Reservation(start=start, spacing=spacing, count=count)
