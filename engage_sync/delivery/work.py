"""What is under way: lanes in hand, and jobs that wait for the request they go in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from engage_sync.destinations.protocol import BulkLimits, Request
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
    # Since when it is due, on this host's monotonic clock; None once something of it was sent.
    due_since: float | None = None
    due_at: datetime | None = None
    # When to look for it again, on this host's monotonic clock.
    wake_at: float | None = None
    # The road that its last message took; None where it may take either.
    in_bulk: bool | None = None
    # Until when what went in bulk may still be on its way through the destination, on the monotonic clock.
    settles_at: float = 0.0
    # Claimed to find out whether a destination that is held takes something again.
    is_probe: bool = False
    # So many of its messages have ended, and must be written before the next one goes.
    settling: int = 0


class InHand:
    """The lanes that are ours, with how many there are of each priority."""

    def __init__(self) -> None:
        self._lanes: dict[int, set[Lane]] = {priority: set() for priority in Priority}

    def __len__(self) -> int:
        return sum(len(lanes) for lanes in self._lanes.values())

    def count(self, priority: Priority) -> int:
        return len(self._lanes[priority])

    def add(self, lanes: Iterable[Lane]) -> None:
        for lane in lanes:
            self._lanes[lane.priority].add(lane)

    def remove(self, lanes: Iterable[Lane]) -> None:
        for lane in lanes:
            self._lanes[lane.priority].discard(lane)


@dataclass(eq=False, slots=True)
class Job:
    """A message on its way. `number` is which of its requests is next; `started_clock` is on the monotonic clock.

    `more` are messages that go in the same request (`coalesce`): started, sent and settled with it, or not at all.
    `size` is that of the request's body, where it may share one. `was_sent`: a request of it may have arrived.
    """

    lane: Lane
    message: Message
    requests: tuple[Request, ...]
    number: int = 0
    size: int = 0
    started: Started | None = None
    started_clock: float = 0.0
    was_sent: bool = False
    more: tuple[Message, ...] = ()
    begun: frozenset[int] = frozenset()

    @property
    def messages(self) -> tuple[Message, ...]:
        return (self.message, *self.more)

    @property
    def request(self) -> Request:
        return self.requests[self.number]

    def database_clock(self, monotonic: float) -> datetime:
        """The database's clock at a monotonic instant, going by when the job was started."""
        assert self.started is not None
        return self.started.started_at + timedelta(seconds=monotonic - self.started_clock)


@dataclass(eq=False, slots=True)
class Parcel:
    """Jobs that share one request, started together: one job, unless it goes in bulk. Never empty when sent."""

    jobs: list[Job]

    @property
    def started_clock(self) -> float:
        return self.jobs[0].started_clock

    def halves(self) -> tuple[Parcel, Parcel]:
        middle = len(self.jobs) // 2
        return Parcel(self.jobs[:middle]), Parcel(self.jobs[middle:])


@dataclass(slots=True)
class Ready:
    """Jobs that wait for a slot: by priority, then as they came; the last priority is sure of a tenth.

    They are taken as parcels: of one job each, or as large as `bulk` allows. Parcels that were put first go before.
    """

    bulk: BulkLimits | None = None
    _waiting: tuple[deque[Job], ...] = field(default_factory=lambda: tuple(deque() for _ in Priority))
    _first: list[Parcel] = field(default_factory=list)
    _taken: int = 0

    def __bool__(self) -> bool:
        return bool(self._first) or any(self._waiting)

    def __len__(self) -> int:
        """How many jobs there are."""
        return sum(len(waiting) for waiting in self._waiting) + sum(len(parcel.jobs) for parcel in self._first)

    @property
    def fills_a_parcel(self) -> bool:
        """Whether waiting for more would not make the next parcel any larger, as far as the count says."""
        if self.bulk is None:
            return bool(self)
        return bool(self._first) or len(self) >= self.bulk.most_entries

    def add(self, job: Job) -> None:
        self._waiting[job.lane.priority].append(job)

    def put_back(self, parcel: Parcel) -> None:
        """What was taken and couldn't go: before the others of its priority."""
        for job in reversed(parcel.jobs):
            self._waiting[job.lane.priority].appendleft(job)

    def put_first(self, *parcels: Parcel) -> None:
        """These go before all others, as they are, the first one first."""
        self._first.extend(reversed(parcels))

    def take(self, count: int) -> list[Parcel]:
        """Up to `count` parcels, the most urgent first."""
        parcels: list[Parcel] = []
        while len(parcels) < count and self:
            parcels.append(self._first.pop() if self._first else self._filled())
        return parcels

    def clear(self) -> list[Job]:
        """All jobs, which wait no more."""
        jobs = [job for parcel in reversed(self._first) for job in parcel.jobs]
        self._first.clear()
        while any(self._waiting):
            jobs.append(self._next())
        return jobs

    def _filled(self) -> Parcel:
        parcel = Parcel([self._next()])
        if self.bulk is not None:
            parcel.jobs.extend(self._more(self.bulk, parcel.jobs[0].size))
        return parcel

    def _more(self, limits: BulkLimits, size: int) -> Iterator[Job]:
        """What fits beside a job of that size."""
        for _ in range(limits.most_entries - 1):
            if not any(self._waiting):
                return
            job = self._next()
            size += job.size
            if size > limits.most_bytes:
                self._waiting[job.lane.priority].appendleft(job)
                return
            yield job

    def _next(self) -> Job:
        self._taken += 1
        last = self._waiting[-1]
        if self._taken % _LAST_PRIORITY_EVERY == 0 and last:
            return last.popleft()
        return next(waiting for waiting in self._waiting if waiting).popleft()
