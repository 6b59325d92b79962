"""Requests over any sliding second, and over any day."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from engage_sync.sandbox.options import DAILY_LIMITS, RATE_LIMITS

DAY: Final = 86_400.0


class SlidingLimit:
    """At most `rate` requests in any `window` of seconds (below 1: one in 1/rate windows). Refused ones don't count."""

    def __init__(self, rate: float, window: float = 1.0) -> None:
        count = max(1, int(rate))
        self._window = window * count / rate if rate < 1 else window
        self._taken: deque[float] = deque(maxlen=count)

    def has_room(self, now: float) -> bool:
        taken = self._taken
        return len(taken) < (taken.maxlen or 0) or now - taken[0] >= self._window

    def take(self, now: float) -> bool:
        if not self.has_room(now):
            return False
        self._taken.append(now)
        return True


class RateLimits:
    def __init__(self, overrides: Mapping[str, float]) -> None:
        rates = {**RATE_LIMITS, **overrides}
        self._limits = {name: [SlidingLimit(rate)] for name, rate in rates.items() if rate > 0}
        for name, count in DAILY_LIMITS.items():
            if rates.get(name, 0) > 0:
                self._limits[name].append(SlidingLimit(count, DAY))

    def take(self, name: str, now: float) -> bool:
        """Whether a request to the endpoint `name` at `now` (monotonic seconds) may pass."""
        limits = self._limits.get(name)
        if limits is None:
            return True
        return all(limit.has_room(now) for limit in limits) and all(limit.take(now) for limit in limits)
