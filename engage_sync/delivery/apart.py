"""Whether this worker keeps away from a destination that it doesn't get through to, whatever others do.

Pure: instants are seconds on the caller's monotonic clock.
"""

from __future__ import annotations

from engage_sync.outbox import outages


class Apart:
    """For one destination and worker: from when it saw that nothing gets through, until a probe of its own does."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._pause = 0.0
        self._probe_at = 0.0
        self._is_alone = False

    def __bool__(self) -> bool:
        return self._since is not None

    def begin(self, now: float) -> None:
        """Nothing gets through any more."""
        if self._since is None:
            self._since, self._is_alone = now, False
            self._pause = outages.FIRST_PAUSE
            self._probe_at = now + self._pause

    def lasts(self, now: float) -> float:
        """For how many seconds it has."""
        return now - self._since if self._since is not None else 0.0

    def is_due(self, now: float) -> bool:
        """Whether to try with one message, should the destination not be held."""
        return now >= self._probe_at

    def probed(self, now: float) -> None:
        """A message was taken to try with; the next one waits twice as long."""
        self._pause = min(2 * self._pause, outages.LONGEST_PAUSE)
        self._probe_at = now + self._pause

    def is_alone(self) -> bool:
        """Others get through; says whether that is news."""
        before, self._is_alone = self._is_alone, True
        return not before

    def end(self, now: float) -> float | None:
        """A probe got through. Returns for how many seconds it lasted, where others got through all the while."""
        since, self._since = self._since, None
        return now - since if since is not None and self._is_alone else None
