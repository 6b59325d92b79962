"""What is under way: lanes in hand, and jobs that wait for their slot."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from engage_sync.destinations.protocol import Request
from engage_sync.messages.message import Message
from engage_sync.outbox.claim import Started
from engage_sync.outbox.enqueue import Priority

# Of every so many jobs, one is of the last priority while there is any.
_LAST_PRIORITY_EVERY = 10


@dataclass(eq=False, slots=True)
class Lane:
    """One person at one destination, leased by us: at most one of its messages is a job."""

    profile_id: int
    priority: int
    messages: deque[Message]
    due_at: datetime | None = None
    # When to look for it again, on this host's monotonic clock.
    wake_at: float | None = None


@dataclass(eq=False, slots=True)
class Job:
    """A message on its way. `number` is which of its requests is next; `started_clock` is on the monotonic clock."""

    lane: Lane
    message: Message
    requests: tuple[Request, ...]
    number: int = 0
    started: Started | None = None
    started_clock: float = 0.0

    @property
    def request(self) -> Request:
        return self.requests[self.number]

    def database_clock(self, monotonic: float) -> datetime:
        """The database's clock at a monotonic instant, going by when the job was started."""
        assert self.started is not None
        return self.started.started_at + timedelta(seconds=monotonic - self.started_clock)


@dataclass(slots=True)
class Ready:
    """Jobs that wait for a slot: by priority, then as they came; the last priority is sure of a tenth."""

    _waiting: tuple[deque[Job], ...] = field(default_factory=lambda: tuple(deque() for _ in Priority))
    _taken: int = 0

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._waiting)

    def add(self, job: Job) -> None:
        self._waiting[job.lane.priority].append(job)

    def take(self, count: int) -> list[Job]:
        """Up to `count` jobs, the most urgent first."""
        return [self._next() for _ in range(min(count, len(self)))]

    def clear(self) -> list[Job]:
        return self.take(len(self))

    def _next(self) -> Job:
        self._taken += 1
        last = self._waiting[-1]
        if self._taken % _LAST_PRIORITY_EVERY == 0 and last:
            return last.popleft()
        return next(waiting for waiting in self._waiting if waiting).popleft()
