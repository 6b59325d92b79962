"""How a run over many people goes on beside real time: where that is at work, in small steps and with rests.

A first push has hours at its destination's rate. Its computation would be over in minutes, but a machine that it fills
lets everybody wait who sends a call meanwhile.
"""

from __future__ import annotations

import time

# Real time that did something so many seconds ago is still at work.
_RECENTLY = 2.0
# People written in one transaction: what real time waits for is mostly the end of one that holds the processor.
_STEP = 1_000
# How long a run pauses after each of its transactions, for each second that it took.
_RESTS = 4.0


class Pace:
    """One process's; where nothing is ever urgent nothing is held back."""

    def __init__(self) -> None:
        self._urgent_at = float("-inf")

    def urgent(self) -> None:
        """Somebody's call was resolved, or somebody's membership computed, just now."""
        self._urgent_at = time.monotonic()

    def step(self, most: int) -> int:
        """How many people the next transaction may write, where it could write `most`."""
        return min(most, _STEP) if self._makes_way else most

    def rest(self, took: float) -> float:
        """Seconds to pause after a transaction that took so many."""
        return took * _RESTS if self._makes_way else 0.0

    @property
    def _makes_way(self) -> bool:
        return time.monotonic() - self._urgent_at < _RECENTLY
