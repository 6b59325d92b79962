"""What a computation of many definitions is for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from engage_sync.outbox.enqueue import Priority
from engage_sync.snapshots.runs import Cause


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What a round is for. `as_of` None: now. `sweeps`: also the edges that time has crossed.

    `waits`: for a definition that somebody else computes; else it is left for the next time.
    """

    cause: Cause
    as_of: datetime | None = None
    sweeps: bool = True
    waits: bool = False

    @property
    def priority(self) -> Priority:
        return Priority.REALTIME if self.cause is Cause.REALTIME else Priority.TICK

    @property
    def is_realtime(self) -> bool:
        return self.cause is Cause.REALTIME
