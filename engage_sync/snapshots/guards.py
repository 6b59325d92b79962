"""What a guard lets through: pure questions about counts.

Source of the rules: docs/decisions/0020-guards.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from engage_sync.definitions.model import Guard
from engage_sync.snapshots.differences import Tally

_STRETCH = timedelta(minutes=5).total_seconds()
_STRETCHES = 12
# How far a run may go beyond the counts that somebody approved.
_TENTH = 0.1


@dataclass(frozen=True, slots=True)
class Recent:
    """How many entered or left within the hour; `growth` are those who entered less those who left.

    Values that change are counted by the run alone: a counter's do so again and again, and nothing is wrong with it.
    """

    changes: int = 0
    growth: int = 0


@dataclass(frozen=True, slots=True)
class Allowance:
    """The counts up to which an approved run may go."""

    total: int
    entered: int
    exited: int
    changed: int

    def covers(self, tally: Tally) -> bool:
        return (
            tally.total <= self.total
            and tally.entered <= self.entered
            and tally.exited <= self.exited
            and tally.changed <= self.changed
        )


def slot(as_of: datetime) -> int:
    """The number of the stretch of time that an instant lies in."""
    return int(as_of.timestamp() // _STRETCH)


def recent(changes: Sequence[int], growth: Sequence[int], newest: int, as_of: datetime) -> Recent:
    """What of counts by stretches, the newest first, lies within the hour before an instant."""
    within = max(0, _STRETCHES - max(0, slot(as_of) - newest))
    return Recent(sum(changes[:within]), sum(growth[:within]))


def most(guard: Guard, members: int, recent: Recent) -> int | None:
    """How many changes the guard still allows; None: any number.

    Its share is one of the members of an hour ago, so that people who leave in small crowds count as in a large one.
    """
    if guard.max_change is None or guard.max_change == "off":
        return None
    base = members - recent.growth
    if base < max(1, guard.from_members or 0):
        return None
    return max(0, math.floor(guard.max_change * base) - recent.changes)


def allowance(approved: Tally) -> Allowance:
    """Up to the approved counts and a tenth of them all."""
    more = math.ceil(_TENTH * approved.total)
    return Allowance(
        total=approved.total + more,
        entered=approved.entered + more,
        exited=approved.exited + more,
        changed=approved.changed + more,
    )


def shown(tally: Tally) -> str:
    """What would happen, for a sentence: '12 would enter and 6,000 would leave'."""
    parts = [(tally.entered, "enter"), (tally.exited, "leave"), (tally.changed, "change")]
    return " and ".join(f"{count:,} would {verb}" for count, verb in parts if count)
