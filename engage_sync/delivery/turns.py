"""Whose turn it is of those whom a destination is to forget: few at a time, as the budget for it is slow.

They get due one after the other (outbox/forgetting.py). After a pause, or an outage, all are due at once, and would
fill the hands of a worker: those whose turn it isn't are put back in line. Pure: instants are seconds on the caller's
monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable

from engage_sync.delivery.work import Lane

# As much as goes in so many seconds is worth having in hand.
_SECONDS_IN_HAND = 2.0
# After "too many requests", which may be of the day: each time twice as long.
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 3600.0


class Turns:
    """For one destination and worker."""

    def __init__(self) -> None:
        self._in_hand: set[Lane] = set()
        self._last = 0.0
        self._quiet_until = 0.0
        self._pause = FIRST_PAUSE

    def wait_until(self, lane: Lane, rate: float, now: float) -> float | None:
        """When it is this lane's turn, at a budget of so many requests a second; None: now, and it is in hand."""
        has_room = lane in self._in_hand or len(self._in_hand) < max(1.0, rate * _SECONDS_IN_HAND)
        if now >= self._quiet_until and has_room:
            self._in_hand.add(lane)
            return None
        self._last = max(self._last, self._quiet_until, now) + 1 / rate
        return self._last

    def left(self, lanes: Iterable[Lane]) -> None:
        """These are in hand no more."""
        self._in_hand.difference_update(lanes)

    def throttled(self, now: float, after: float | None) -> float:
        """Too many requests; `after`: for how many seconds, if that was said. Returns when to try again."""
        if now >= self._quiet_until:
            self._quiet_until = now + max(self._pause, after or 0.0)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return self._quiet_until

    def delivered(self) -> None:
        """One was taken."""
        self._pause = FIRST_PAUSE
