"""How fast a line takes up what nobody waits for, so that what somebody waits for is on time.

A first push can fill the processors of a whole machine, and real time stands in line for them. So the line measures how
late real time's requests are, and takes up other lanes the slower, the later they are. Where there is no real time, or
enough machine for both, nothing is held back.
"""

from __future__ import annotations

import time

# Later than this, seconds from due to request, others make room. The target for all of the way is 40 ms at the median.
LATE = 0.015
# Each so many seconds the pace is set anew, by what real time met since.
_WINDOW = 0.25
# Real time that was last seen longer ago than this needs no room.
_FORGET_AFTER = 5.0
_SLOWER, _FASTER = 0.6, 1.1
# Nobody waits for a first push, but it has to end: a million in an hour.
SLOWEST = 280.0
# From this pace on nothing is held back.
_FASTEST = 5_000.0
# Lanes of one claim come together; few at a time, so that real time doesn't wait behind a large one.
_CLAIM_EVERY = 0.1


class Yielding:
    """The pace of one line, in lanes a second. Instants are seconds on the monotonic clock."""

    def __init__(self, now: float | None = None) -> None:
        self._pace = _FASTEST
        self._allowed = 0.0
        self._counted_at = self._window_began = time.monotonic() if now is None else now
        self._seen_at = float("-inf")
        self._late_sum = 0.0
        self._late_count = 0

    def sent(self, late: float, now: float) -> None:
        """A request that somebody waits for goes out `late` seconds after it was due."""
        self._seen_at = now
        self._late_sum += late
        self._late_count += 1

    def most(self, now: float) -> int | None:
        """How many lanes that nobody waits for may be claimed now; None where there's no limit."""
        self._set_pace(now)
        if self._pace >= _FASTEST:
            self._allowed, self._counted_at = 0.0, now
            return None
        self._allowed = min(self._allowed + (now - self._counted_at) * self._pace, 2 * _CLAIM_EVERY * self._pace)
        self._counted_at = now
        return int(self._allowed) if self._allowed >= _CLAIM_EVERY * self._pace else 0

    def rest(self) -> float:
        """Seconds until more may be claimed, after `most` was 0."""
        return max(0.001, _CLAIM_EVERY - self._allowed / self._pace)

    def took(self, lanes: int) -> None:
        """So many lanes that nobody waits for were claimed."""
        self._allowed -= lanes

    def _set_pace(self, now: float) -> None:
        if now - self._window_began < _WINDOW:
            return
        if now - self._seen_at > _FORGET_AFTER:
            self._pace = _FASTEST
        elif self._late_count and self._late_sum / self._late_count > LATE:
            self._pace = max(SLOWEST, self._pace * _SLOWER)
        else:
            self._pace = min(_FASTEST, self._pace * _FASTER)
        self._window_began = now
        self._late_sum, self._late_count = 0.0, 0
