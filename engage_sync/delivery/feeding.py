"""What a line takes up, and when: whatever gets due, the most urgent first, as much as is worth having in hand."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection, text

from engage_sync import waiting
from engage_sync.delivery.apart import Apart
from engage_sync.delivery.claiming import Claimed, Claiming
from engage_sync.delivery.roads import Roads
from engage_sync.delivery.transactions import PASSING, Transactions, why
from engage_sync.delivery.work import InHand, Lane, Parcel
from engage_sync.delivery.yielding import Yielding
from engage_sync.destinations.protocol import Destination
from engage_sync.outbox import outages
from engage_sync.outbox.enqueue import Priority
from engage_sync.outbox.outages import Kind

log = structlog.get_logger(__name__)

# What catches a wake-up that was lost.
POLL = 1.0
# The loop has requests to send at their slots: rendering a claim lets go of it every so many lanes.
_LANES_AT_ONCE = 50
_DATABASE_RETRY = 1.0
# For whom a destination is to forget later than this, nobody waits till the outbox is empty.
_LONGEST_LINE = 600.0

_IS_WAITING = text(
    """
    SELECT EXISTS (SELECT FROM lanes WHERE destination_id = :destination
                     AND (CAST(:only AS bigint) IS NULL OR profile_id = CAST(:only AS bigint))
                     -- A line of people to be forgotten may last for days.
                     AND (due_at <= clock_timestamp() + CAST(:longest AS float8) * interval '1 second' OR NOT EXISTS (
                       SELECT FROM messages WHERE messages.profile_id = lanes.profile_id
                         AND messages.destination_id = lanes.destination_id AND call_type = 'forget'
                     )))
       AND EXISTS (SELECT FROM destinations WHERE id = :destination AND paused_at IS NULL)
       AND NOT EXISTS (
         SELECT FROM outages WHERE destination_id = :destination AND until IS NULL
           AND (kind = 'refusing' OR since < clock_timestamp() - CAST(:patience AS float8) * interval '1 second')
           -- A probe that is due is waited for.
           AND (probe_at > clock_timestamp() OR NOT EXISTS (
             SELECT FROM lanes WHERE destination_id = :destination AND worker_id IS NULL
               AND due_at <= statement_timestamp()
           ))
       )
    """
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What bounds a line; times in seconds. `only`: nobody else than this profile is delivered to."""

    most_in_flight: int
    request_timeout: float
    retry_for: float
    only: int | None = None


class Feeding:
    """For one line. `begin` is given each claimed lane; `claimed` hears that something could be, and by which probe.

    While it keeps `apart` nothing is claimed but probes.
    """

    def __init__(
        self,
        destination: Destination,
        destination_id: int,
        worker_id: int,
        limits: Limits,
        transactions: Transactions,
        roads: Roads,
        apart: Apart,
        *,
        begin: Callable[[Lane], None],
        claimed: Callable[[Kind | None], None],
    ) -> None:
        self.in_hand = InHand()
        self._slug = destination.slug
        self._destination_id = destination_id
        self._limits = limits
        self._transactions = transactions
        self._roads = roads
        self._apart = apart
        self._begin = begin
        self._claimed = claimed
        self._claiming = Claiming(
            destination_id,
            worker_id,
            roads,
            limits.most_in_flight,
            only=limits.only,
            user_id_once=destination.has_one_user_a_user_id,
        )
        self._yielding = Yielding()
        self._wake_up = asyncio.Event()
        self._has_backlog = False

    def wake(self) -> None:
        """Something may be due."""
        self._wake_up.set()

    @property
    def others(self) -> int:
        """How many lanes there are beside one in hand, as far as is known."""
        return len(self.in_hand) + self._has_backlog - 1

    async def always(self, stop: asyncio.Event) -> None:
        """Claim whatever gets due."""
        while not stop.is_set():
            await self._claim_or_wait(stop)

    async def once(self, stop: asyncio.Event) -> None:
        """Claim once."""
        await self._claim(self._claiming.target)

    async def until_empty(self, stop: asyncio.Event) -> None:
        """Claim until nothing waits, retries included. What a paused destination keeps isn't waited for.

        Nor what one keeps that is held, for longer than a message would be tried; nor who is to be forgotten later.
        """
        while not stop.is_set() and (self.in_hand or await self._is_waiting()):
            await self._claim_or_wait(stop)

    async def _claim_or_wait(self, stop: asyncio.Event) -> None:
        self._wake_up.clear()
        longest = POLL * (0.8 + 0.2 * random.random())
        try:
            if self._apart:
                await self._probe()
                await waiting.first(self._wake_up, stop, seconds=longest)
                return
            most = self._claiming.most(len(self.in_hand))
            paced = self._yielding.most(time.monotonic()) if most else None
            if most and paced != 0:
                most = min(most, paced or most)
                self._has_backlog = await self._claim(most) >= most
                if self._has_backlog:
                    return
            elif urgent := self._claiming.most_urgent(len(self.in_hand)):
                await self._claim(urgent, last=Priority.REALTIME)
            if paced == 0:
                longest = self._yielding.rest()
        except PASSING as failure:
            log.warning("claim_failed", destination=self._slug, reason=why(failure))
            await waiting.first(stop, seconds=_DATABASE_RETRY * (0.5 + random.random()))
            return
        await waiting.first(self._wake_up, stop, seconds=longest)

    async def _probe(self) -> None:
        """Find out with one lane whether anything gets through again: when it is time, or for all if it is held."""
        is_due = self._apart.is_due(time.monotonic())
        await self._claim(1 if is_due else 0, is_own_probe=True)

    async def _claim(self, limit: int, last: Priority = Priority.FIRST_PUSH, *, is_own_probe: bool = False) -> int:
        """Claim lanes and begin with each; returns how many there were."""
        patience = outages.FIRST_PAUSE if is_own_probe else 0.0
        claimed, held = await asyncio.shield(
            self._transactions.run(lambda connection: self._take(connection, limit, last, patience), durable=False)
        )
        now = time.monotonic()
        lanes = [Lane(each.profile_id, each.priority, deque(each.messages), now - each.late) for each in claimed.lanes]
        self._yielding.took(sum(1 for lane in lanes if lane.priority != Priority.REALTIME))
        self.in_hand.add(lanes)
        self._roads.look(claimed.waiting, self.in_hand)
        if lanes:
            self._claimed(held)
            if is_own_probe and held is None:
                self._apart.probed(now)
        for number, lane in enumerate(lanes, start=1):
            lane.is_probe = is_own_probe or held is not None
            if before := claimed.last.get(lane.profile_id):
                lane.in_bulk = before.in_bulk
                lane.settles_at = now + before.rest if before.in_bulk else 0.0
            self._begin(lane)
            if number % _LANES_AT_ONCE == 0:
                await asyncio.sleep(0)
        self._claiming.learn(lanes, last)
        return len(lanes)

    def _take(self, connection: Connection, limit: int, last: Priority, patience: float) -> tuple[Claimed, Kind | None]:
        """What may go now; or one lane of a destination that is held, for what it says, when it is time for a probe."""
        claimed = self._claiming.claim(connection, limit, last) if limit else Claimed([], {}, {})
        held = None if claimed.lanes else outages.take_probe(connection, self._destination_id, patience=patience)
        if held is not None:
            claimed = self._claiming.claim(connection, 1, Priority.FIRST_PUSH, is_probe=True)
        return claimed, held

    async def _is_waiting(self) -> bool:
        def ask(connection: Connection) -> bool:
            given = {
                "destination": self._destination_id,
                "only": self._limits.only,
                "patience": self._limits.retry_for,
                "longest": _LONGEST_LINE,
            }
            return bool(connection.execute(_IS_WAITING, given).scalar_one())

        try:
            return await self._transactions.run(ask)
        except PASSING:
            return True

    # --- what became of it --------------------------------------------------------------------------------------

    def sending(self, parcel: Parcel) -> None:
        """These go out now."""
        now = time.monotonic()
        for lane in (job.lane for job in parcel.jobs):
            if lane.priority == Priority.REALTIME and lane.due_since is not None:
                self._yielding.sent(now - lane.due_since, now)
            lane.due_since = None

    def released(self, lanes: Iterable[Lane], still_waiting: set[int]) -> None:
        """These lanes are no longer ours; something waits in those of the profiles `still_waiting`."""
        gone = list(lanes)
        self.in_hand.remove(gone)
        now = time.monotonic()
        for lane in gone:
            if lane.wake_at is not None:
                asyncio.get_running_loop().call_later(max(0.0, lane.wake_at - now), self.wake)
            elif lane.profile_id in still_waiting:
                self.wake()
        if self._has_backlog and len(self.in_hand) <= self._claiming.target - self._claiming.step:
            self.wake()
        if not self.in_hand:
            self.wake()
