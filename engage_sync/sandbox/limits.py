"""Requests over any sliding second."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from engage_sync.sandbox.options import RATE_LIMITS


class SlidingLimit:
    """At most `rate` requests in any second (below 1: one in 1/rate seconds). Refused ones don't count."""

    def __init__(self, rate: float) -> None:
        count = max(1, int(rate))
        self._window = count / rate if rate < 1 else 1.0
        self._taken: deque[float] = deque(maxlen=count)

    def take(self, now: float) -> bool:
        taken = self._taken
        if len(taken) == taken.maxlen and now - taken[0] < self._window:
            return False
        taken.append(now)
        return True


class RateLimits:
    def __init__(self, overrides: Mapping[str, float]) -> None:
        rates = {**RATE_LIMITS, **overrides}
        self._limits = {path: SlidingLimit(rate) for path, rate in rates.items() if rate > 0}

    def take(self, path: str, now: float) -> bool:
        """Whether a request to `path` at `now` (monotonic seconds) may pass."""
        limit = self._limits.get(path)
        return limit is None or limit.take(now)
