"""One budget's requests, each sent at its slot: reserved from all workers' common rate, kept by the monotonic clock.

A slot is a request's, which is one job's, or a whole bulk's: all of its messages are started in one transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection

from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query
from engage_sync.delivery.transactions import PASSING, Transactions, why
from engage_sync.delivery.work import Job, Parcel, Ready
from engage_sync.destinations.protocol import BulkLimits
from engage_sync.outbox import budget, claim
from engage_sync.outbox.budget import Reservation
from engage_sync.outbox.claim import Started, Wanted

log = structlog.get_logger(__name__)

# A send that is later than this would crowd into the slots of others: it gives its slot up and takes a new one.
LATEST = 0.02
# The next reservation is made this long before the last one ends, so that its commit is over by then.
_AHEAD = 0.008
_LONGEST_LEAD = 1.0
# A request's time counts from its start; what waited longer than this between the two is started anew.
_STALE_START = 1.0
_DATABASE_RETRY = 0.5
# A bulk request that isn't full waits so long for company.
_FILLING = 0.01
# Of five requests a second, each takes the receiver tens of milliseconds to read: that much closer two of them arrive.
_SHARE_IN_BULK = 0.97


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What a pacer keeps: `rate` in requests a second, and how many may be under way at once.

    `bulk` says how much goes in each request, where several jobs share one.
    """

    destination_id: int
    name: str
    rate: float
    most_in_flight: int
    request_timeout: float
    bulk: BulkLimits | None = None

    @property
    def paced(self) -> float:
        """The rate that is aimed at."""
        return self.rate * (_SHARE_IN_BULK if self.bulk is not None else 1.0)


@dataclass(frozen=True, slots=True)
class _Begun:
    started: dict[int, Started]
    reservation: Reservation
    clock: float


class Pacer:
    """Takes ready jobs, starts them and reserves their slots in one transaction, and sends each at its slot.

    `send` carries one request through to its outcome; `refuse` takes a job that may not be started.
    """

    def __init__(
        self,
        limits: Budget,
        worker_id: int,
        transactions: Transactions,
        send: Callable[[Parcel], Coroutine[Any, Any, None]],
        refuse: Callable[[Job], None],
    ) -> None:
        self._budget = limits
        self._worker_id = worker_id
        self._transactions = transactions
        self._send = send
        self._refuse = refuse
        self._ready = Ready(limits.bulk)
        self._scheduled: deque[tuple[float, Parcel]] = deque()
        self._starting = 0
        self._in_flight = 0
        self._reserved_until = 0.0
        self._spacing = 0.0
        self._lead = 0.0
        self._takes = 0.0
        self._closing = False
        self._more = asyncio.Event()
        self._to_send = asyncio.Event()

    def add(self, job: Job) -> None:
        """Send the job's next request when its turn comes."""
        if self._closing:
            self._refuse(job)
        else:
            self._ready.add(job)
            self._more.set()

    def add_apart(self, *parcels: Parcel) -> None:
        """Send these next, one after the other, and with nothing else in them."""
        if self._closing:
            for job in (job for parcel in parcels for job in parcel.jobs):
                self._refuse(job)
        else:
            self._ready.put_first(*parcels)
            self._more.set()

    def give_back(self) -> None:
        """Refuse what waits for its turn."""
        for job in self._ready.clear():
            self._refuse(job)

    def close(self) -> None:
        """Start nothing more. What is scheduled is still sent."""
        self._closing = True
        self.give_back()

    async def run(self) -> None:
        """Until cancelled; requests under way end with it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reserve_forever(), name="reserving")
            tasks.create_task(self._send_forever(tasks), name="sending")

    async def _reserve_forever(self) -> None:
        while True:
            self._more.clear()
            room = self._room()
            if not self._ready or room <= 0:
                await self._more.wait()
                continue
            early = self._reserved_until + self._spacing - _AHEAD - self._takes - self._lead - time.monotonic()
            if early > 0:
                # What turns up in the meantime and is more urgent goes first.
                await asyncio.sleep(early)
            if not self._ready.fills_a_parcel:
                await asyncio.sleep(_FILLING)
            await self._begin(self._ready.take(min(room, budget.most_slots(self._budget.rate))))

    def _room(self) -> int:
        """How many more may be started. Of those that wait for their slot, others will have ended by then."""
        most = self._budget.most_in_flight
        return min(most - self._in_flight, most - self._starting - len(self._scheduled))

    async def _begin(self, parcels: list[Parcel]) -> None:
        if not parcels:
            return
        self._starting = len(parcels)
        asked = time.monotonic()
        try:
            begun = await self._transactions.run(lambda connection: self._start_and_reserve(connection, parcels))
        except PASSING as failure:
            # Should the commit have gone through all the same, nothing was sent: they wait out their time.
            log.warning("start_failed", reason=why(failure))
            for job in (job for parcel in parcels for job in parcel.jobs):
                self._refuse(job)
            await asyncio.sleep(_DATABASE_RETRY)
            return
        finally:
            self._starting = 0
        if self._budget.bulk is not None:
            # Starting a thousand takes longer than a slot may wait for it.
            self._takes = max(begun.clock - asked, 0.9 * self._takes)
        self._schedule(parcels, begun, asked)

    def _start_and_reserve(self, connection: Connection, parcels: list[Parcel]) -> _Begun:
        limits = self._budget
        # The slots last, as every other worker's reservation waits for this transaction. Of what may not start, which
        # is seldom any, they are left empty.
        started, reservation = pipeline.ask_each(
            connection,
            [
                self._start_of([job for parcel in parcels for job in parcel.jobs]),
                budget.reserving(limits.destination_id, limits.name, limits.paced, len(parcels), lead=self._lead),
            ],
        )
        return _Begun(started, reservation, time.monotonic())

    def _start_of(self, jobs: list[Job]) -> Query[dict[int, Started]]:
        wanted = [
            Wanted(
                message.id,
                message.profile_id,
                again=message.id in job.begun,
                is_probe=job.lane.is_probe,
            )
            for job in jobs
            for message in job.messages
        ]
        timeout, in_bulk = self._budget.request_timeout, self._budget.bulk is not None
        return claim.starting(self._worker_id, wanted, timeout, in_bulk=in_bulk)

    def _schedule(self, parcels: list[Parcel], begun: _Begun, asked: float) -> None:
        offsets = iter(begun.reservation.offsets())
        self._spacing = begun.reservation.spacing
        for parcel in parcels:
            self._keep_started(parcel, begun.started, asked)
            if parcel.jobs:
                self._reserved_until = begun.clock + next(offsets)
                self._scheduled.append((self._reserved_until, parcel))
        # Where a commit takes longer than a send may be late, slots are asked for later, else none would be reached.
        lateness = time.monotonic() - begun.clock - LATEST / 2
        self._lead = min(max(lateness, self._lead * 0.9, 0.0), _LONGEST_LEAD)
        if self._lead < 0.001:
            self._lead = 0.0
        self._to_send.set()
        self._more.set()

    def _keep_started(self, parcel: Parcel, started: dict[int, Started], asked: float) -> None:
        """Leave in the parcel what may be sent."""
        jobs, parcel.jobs = parcel.jobs, []
        for job in jobs:
            found = started.get(job.message.id)
            begun = [message.id for message in job.messages if message.id in started]
            job.begun = job.begun.union(begun)
            if found is not None:
                job.started, job.started_clock = found, asked
            if len(begun) == len(job.messages):
                parcel.jobs.append(job)
            else:
                self._refuse(job)

    async def _send_forever(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            if not self._scheduled:
                self._to_send.clear()
                await self._to_send.wait()
                continue
            slot, parcel = self._scheduled[0]
            early = slot - time.monotonic()
            if early > 0:
                await asyncio.sleep(early)
                continue
            if early >= -LATEST and self._in_flight >= self._budget.most_in_flight:
                self._to_send.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._to_send.wait(), LATEST + early + 0.001)
                continue
            self._scheduled.popleft()
            if early < -LATEST:
                self._put_back(parcel)
                continue
            self._in_flight += 1
            tasks.create_task(self._carry(parcel))

    def _put_back(self, parcel: Parcel) -> None:
        if self._closing:
            for job in parcel.jobs:
                self._refuse(job)
        else:
            self._ready.put_back(parcel)
            self._more.set()

    async def _carry(self, parcel: Parcel) -> None:
        try:
            if time.monotonic() - parcel.started_clock < _STALE_START or await self._renew(parcel):
                await self._send(parcel)
        finally:
            self._in_flight -= 1
            self._more.set()
            self._to_send.set()

    async def _renew(self, parcel: Parcel) -> bool:
        """Start anew what waited long for its slot, as a budget of few requests makes it: its time counts from now."""
        asked = time.monotonic()
        try:
            query = self._start_of(parcel.jobs)
            started = await self._transactions.run(lambda connection: pipeline.ask(connection, query))
        except PASSING as failure:
            log.warning("start_failed", reason=why(failure))
            started = {}
        self._keep_started(parcel, started, asked)
        return bool(parcel.jobs)
