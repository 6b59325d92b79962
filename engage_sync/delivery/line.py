"""One destination's delivery: claims lanes, keeps each person's order, and reads what the answers mean.

Nothing here is shared with another destination, so that one that hangs delays no other.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

import structlog
from sqlalchemy import Connection, text

from engage_sync import waiting
from engage_sync.delivery import retry
from engage_sync.delivery.circuit import Refusal
from engage_sync.delivery.claiming import Claimed, Claiming
from engage_sync.delivery.coalescing import Coalescing
from engage_sync.delivery.exchange import Ended, Exchange
from engage_sync.delivery.guard import Guard
from engage_sync.delivery.pacer import Budget, Pacer
from engage_sync.delivery.report import Report
from engage_sync.delivery.retry import GiveUp, Policy, RetryAt
from engage_sync.delivery.roads import Roads
from engage_sync.delivery.settler import Flushed, Settler
from engage_sync.delivery.transactions import PASSING, Transactions, why
from engage_sync.delivery.transport import Transport
from engage_sync.delivery.work import InHand, Job, Lane, Parcel
from engage_sync.delivery.yielding import Yielding
from engage_sync.destinations.allowing import EVERYBODY, Allowed
from engage_sync.destinations.protocol import (
    Answer,
    Delivered,
    Destination,
    Refused,
    Rejected,
    Retry,
    Skipped,
    Unauthorized,
    Unclear,
)
from engage_sync.messages.render import Sender, render
from engage_sync.outbox import destinations_table, outages
from engage_sync.outbox.enqueue import Priority
from engage_sync.outbox.outages import Kind
from engage_sync.outbox.settle import Failed, Postponed, Taken, Unsent

log = structlog.get_logger(__name__)

# What catches a wake-up that was lost.
POLL = 1.0
# When a person is next in turn whose message was sent in vain, to see whether the destination still refuses everybody.
_REFUSED_AGAIN_AFTER = 60.0
# The loop has requests to send at their slots: rendering a claim lets go of it every so many lanes.
_LANES_AT_ONCE = 50
_DATABASE_RETRY = 1.0
# Shorter ones would blank out ordinary text.
_SHORTEST_SECRET = 8

_IS_WAITING = text(
    """
    SELECT EXISTS (SELECT FROM lanes WHERE destination_id = :destination
                     AND (CAST(:only AS bigint) IS NULL OR profile_id = CAST(:only AS bigint)))
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


class Line:
    """Delivers to one destination as one worker."""

    def __init__(
        self,
        destination: Destination,
        destination_id: int,
        worker_id: int,
        sender: Sender,
        limits: Limits,
        transactions: Transactions,
        transport: Transport,
        report: Report,
        allowed: Allowed = EVERYBODY,
    ) -> None:
        self._destination = destination
        self._allowed = allowed
        self._destination_id = destination_id
        self._worker_id = worker_id
        self._sender = sender
        self._limits = limits
        self._policy = Policy(retry_for=limits.retry_for, request_timeout=limits.request_timeout)
        self._transactions = transactions
        self._exchange = Exchange(destination, transport, limits.request_timeout)
        self._roads = Roads(destination)
        self._report = report
        self._in_hand = InHand()
        # By the messages that must be settled before: lanes that have more to send.
        self._going_on: dict[int, Lane] = {}
        self._coalescing = Coalescing(destination, sender, allowed)
        self._emptied = asyncio.Event()
        self._wake = asyncio.Event()
        self._has_backlog = False
        self._yielding = Yielding()
        self._closing = False
        self._secrets = [secret for secret in destination.secrets if len(secret) >= _SHORTEST_SECRET]
        self._claiming = Claiming(
            destination_id,
            worker_id,
            self._roads,
            limits.most_in_flight,
            only=limits.only,
            user_id_once=destination.has_one_user_a_user_id,
        )
        self._settler = Settler(
            worker_id, destination_id, destination.slug, limits.request_timeout, transactions, self._on_flushed
        )
        self._guard = Guard(
            destination_id,
            destination.slug,
            also=self._settler.also,
            clean=self._clean,
            convict=lambda refusal: self._fail(refusal.job, refusal.reason, refusal.answer),
            take_back=self._take_back,
        )
        self._pacers = {
            name: Pacer(
                Budget(
                    destination_id=destination_id,
                    name=name,
                    rate=rate,
                    most_in_flight=limits.most_in_flight,
                    request_timeout=limits.request_timeout,
                    bulk=destination.bulk.limits.get(name) if destination.bulk is not None else None,
                ),
                worker_id,
                transactions,
                self._send,
                self._not_started,
            )
            for name, rate in destination.budgets.items()
        }

    def wake(self) -> None:
        """Something may be due."""
        self._wake.set()

    async def run(self, feed: Callable[[Line, asyncio.Event], Awaitable[None]], stop: asyncio.Event) -> None:
        """Deliver what `feed` claims; at its end all that is in hand is settled or given back.

        After `stop` nothing more starts.
        """
        async with asyncio.TaskGroup() as tasks:
            parts = [tasks.create_task(self._settler.run(), name=f"settler {self._destination.slug}")]
            for name, pacer in self._pacers.items():
                parts.append(tasks.create_task(pacer.run(), name=f"pacer {self._destination.slug} {name}"))
            parts.append(tasks.create_task(self._close_at(stop), name=f"closing {self._destination.slug}"))
            await feed(self, stop)
            await self._until_empty()
            for part in parts:
                part.cancel()

    # --- what feeds it ------------------------------------------------------------------------------------------

    async def feed_always(self, stop: asyncio.Event) -> None:
        """Claim whatever gets due."""
        while not stop.is_set():
            await self._claim_or_wait(stop)

    async def feed_once(self, stop: asyncio.Event) -> None:
        """Claim once."""
        await self._claim(self._claiming.target)

    async def feed_until_empty(self, stop: asyncio.Event) -> None:
        """Claim until nothing waits, retries included. What a paused destination keeps isn't waited for.

        Nor what one keeps that is held, for longer than a message would be tried.
        """
        while not stop.is_set() and (self._in_hand or await self._is_waiting()):
            await self._claim_or_wait(stop)

    async def _claim_or_wait(self, stop: asyncio.Event) -> None:
        self._wake.clear()
        longest = POLL * (0.8 + 0.2 * random.random())
        try:
            most = self._claiming.most(len(self._in_hand))
            paced = self._yielding.most(time.monotonic()) if most else None
            if most and paced != 0:
                most = min(most, paced or most)
                self._has_backlog = await self._claim(most) >= most
                if self._has_backlog:
                    return
            elif urgent := self._claiming.most_urgent(len(self._in_hand)):
                await self._claim(urgent, last=Priority.REALTIME)
            if paced == 0:
                longest = self._yielding.rest()
        except PASSING as failure:
            log.warning("claim_failed", destination=self._destination.slug, reason=why(failure))
            await waiting.first(stop, seconds=_DATABASE_RETRY * (0.5 + random.random()))
            return
        await waiting.first(self._wake, stop, seconds=longest)

    async def _claim(self, limit: int, last: Priority = Priority.FIRST_PUSH) -> int:
        """Claim lanes and begin with each; returns how many there were."""
        claimed, held = await asyncio.shield(
            self._transactions.run(lambda connection: self._take(connection, limit, last), durable=False)
        )
        now = time.monotonic()
        lanes = [Lane(each.profile_id, each.priority, deque(each.messages), now - each.late) for each in claimed.lanes]
        self._yielding.took(sum(1 for lane in lanes if lane.priority != Priority.REALTIME))
        self._in_hand.add(lanes)
        self._roads.look(claimed.waiting, self._in_hand)
        if lanes:
            self._guard.claimed(held)
        for number, lane in enumerate(lanes, start=1):
            lane.is_probe = held is not None
            if before := claimed.last.get(lane.profile_id):
                lane.in_bulk = before.in_bulk
                lane.settles_at = now + before.rest if before.in_bulk else 0.0
            self._advance(lane)
            if number % _LANES_AT_ONCE == 0:
                await asyncio.sleep(0)
        self._claiming.learn(lanes, last)
        return len(lanes)

    def _take(self, connection: Connection, limit: int, last: Priority) -> tuple[Claimed, Kind | None]:
        """What may go now; or one lane of a destination that is held, for what it says, when it is time for a probe."""
        claimed = self._claiming.claim(connection, limit, last)
        held = None if claimed.lanes else outages.take_probe(connection, self._destination_id)
        if held is not None:
            claimed = self._claiming.claim(connection, 1, Priority.FIRST_PUSH, is_probe=True)
        return claimed, held

    async def _is_waiting(self) -> bool:
        def ask(connection: Connection) -> bool:
            given = {
                "destination": self._destination_id,
                "only": self._limits.only,
                "patience": self._limits.retry_for,
            }
            return bool(connection.execute(_IS_WAITING, given).scalar_one())

        try:
            return await self._transactions.run(ask)
        except PASSING:
            return True

    # --- one person's messages, in order ------------------------------------------------------------------------

    def _advance(self, lane: Lane) -> None:
        """Go on with the lane's next message; give the lane back after the last one."""
        while lane.messages and not self._closing:
            message = lane.messages.popleft()
            if message.is_suppressed:
                self._settler.settle(Taken(message=message, withheld=True))
                continue
            call = render(message, self._sender)
            if call is None:
                self._settler.settle(Taken(message=message, skipped=True))
                continue
            if self._allowed.objection(call) is not None:
                self._settler.settle(Taken(message=message, withheld=True))
                continue
            match self._destination.requests(call):
                case Skipped():
                    self._settler.settle(Taken(message=message, skipped=True))
                case Refused() as refused:
                    reason = self._clean(refused.sentence)
                    self._settler.settle(Failed(message=message, reason=reason, request={"call": call}))
                case requests:
                    job = self._coalescing.job(lane, message, requests)
                    if self._roads.must_wait(job, time.monotonic()):
                        lane.wake_at = lane.settles_at
                        break
                    self._pacers[self._roads.choose(job)].add(job)
                    return
        self._settler.leave(lane)

    def _not_started(self, job: Job) -> None:
        """The job may not go now: its message was taken back, or moved, or we are closing. The database knows best."""
        for message in (message for message in job.messages if message.id in job.begun):
            if job.was_sent:
                reason = "stopped before it was sent again"
                self._settler.settle(Postponed(message=message, reason=reason, unanswered=False))
            else:
                self._settler.settle(Unsent(message=message))
        self._settler.leave(job.lane)

    # --- requests and answers -----------------------------------------------------------------------------------

    async def _send(self, parcel: Parcel) -> None:
        self._note_lateness(parcel)
        ended = await self._exchange.carry(parcel)
        self._guard.observe(self._exchange.budget(parcel), ended)
        unclear: list[Job] = []
        for number, each in enumerate(ended, start=1):
            if isinstance(each.outcome, Unclear) and len(ended) > 1:
                unclear.append(each.job)
            else:
                self._ended(each)
            if number % _LANES_AT_ONCE == 0:
                await asyncio.sleep(0)
        if unclear:
            self._send_apart(Parcel(unclear))

    def _note_lateness(self, parcel: Parcel) -> None:
        now = time.monotonic()
        for lane in (job.lane for job in parcel.jobs):
            if lane.priority == Priority.REALTIME and lane.due_since is not None:
                self._yielding.sent(now - lane.due_since, now)
            lane.due_since = None

    def _ended(self, ended: Ended) -> None:
        job, answer = ended.job, ended.answer
        match ended.outcome:
            case Delivered():
                self._delivered(job)
            case Retry() as again:
                self._retry(job, again, answer)
            case Rejected() | Unclear() if job.more:
                self._take_apart(job)
            case Rejected(reason=reason) | Unclear(reason=reason):
                others = 0 if self._closing else len(self._in_hand) + self._has_backlog - 1
                self._guard.refused(Refusal(job, reason, answer), certain=ended.beside_delivered, others=others)
            case Unauthorized(reason=reason):
                self._unsend(job)
                self._pause(reason)
                self._settler.leave(job.lane)
            case _:
                assert_never(ended.outcome)

    def _send_apart(self, parcel: Parcel) -> None:
        """Send again what an answer left unclear: by halves, until each one that is to blame stands alone."""
        parcels = parcel.halves() if len(parcel.jobs) > 1 else (parcel,)
        self._pacers[self._exchange.budget(parcel)].add_apart(*parcels)

    def _take_apart(self, job: Job) -> None:
        """One of the messages in a joined request is wrong: each goes by itself, until nothing waits for the person."""
        self._coalescing.take_apart(job.lane)
        self._unsend(job)
        self._settler.leave(job.lane)

    def _unsend(self, job: Job) -> None:
        """As if its messages had never been started."""
        for message in job.messages:
            self._settler.settle(Unsent(message=message))

    def _take_back(self, refusal: Refusal) -> None:
        """Everybody is refused: as if this one had never been sent. Others are tried before it."""
        lane, clock = refusal.job.lane, time.monotonic()
        self._unsend(refusal.job)
        lane.due_at = refusal.job.database_clock(clock) + timedelta(seconds=_REFUSED_AGAIN_AFTER)
        lane.wake_at = clock + _REFUSED_AGAIN_AFTER
        self._settler.leave(lane)

    def _delivered(self, job: Job) -> None:
        if job.number + 1 < len(job.requests):
            job.number += 1
            self._pacers[job.request.budget].add(job)
            return
        self._roads.delivered(job, time.monotonic())
        self._end(job, *(Taken(message=message) for message in job.messages))

    def _retry(self, job: Job, outcome: Retry, answer: Answer | None) -> None:
        assert job.started is not None
        clock = time.monotonic()
        decision = retry.decide(
            attempts=job.started.attempts,
            first_started_at=job.started.first_started_at,
            started_at=job.started.started_at,
            outcome=outcome,
            now=job.database_clock(clock),
            policy=self._policy,
            chance=random.random(),
        )
        match decision:
            case RetryAt(due=due):
                reason = self._clean(outcome.reason)
                for message in job.messages:
                    self._settler.settle(Postponed(message=message, reason=reason, unanswered=outcome.unanswered))
                job.lane.due_at = due
                job.lane.wake_at = clock + (due - job.database_clock(clock)).total_seconds()
                self._settler.leave(job.lane)
            case GiveUp(reason=reason):
                self._fail(job, reason, answer, is_unknown=outcome.unanswered)
            case _:
                assert_never(decision)

    def _fail(self, job: Job, reason: str, answer: Answer | None, *, is_unknown: bool = False) -> None:
        request = self._exchange.shown(job)
        failed = Failed(
            message=job.message,
            reason=self._clean(reason),
            request={"method": request.method, "path": request.path, "body": request.body},
            answer=None if answer is None else self._clean_bytes(answer.body),
            is_unknown=is_unknown,
        )
        if not job.more:
            self._end(job, failed)
            return
        # What was given up together with it was tried for less long: it goes on, before whatever comes behind it.
        self._settler.settle(failed)
        for message in job.more:
            self._settler.settle(Postponed(message=message, reason=failed.reason, unanswered=is_unknown))
        self._settler.leave(job.lane)

    def _end(self, job: Job, *settlements: Taken | Failed) -> None:
        """Settle the messages that were sent, and go on with their lane.

        The person's next message starts only when that is written: after a crash in between, this one would be sent
        again behind the newer one.
        """
        for settlement in settlements:
            self._settler.settle(settlement)
        if job.lane.messages:
            job.lane.settling = len(settlements)
            self._going_on.update((settlement.message.id, job.lane) for settlement in settlements)
        else:
            self._advance(job.lane)

    def _pause(self, reason: str) -> None:
        """Nothing more starts: the destination is paused in the database, where every start looks."""
        cleaned = self._clean(reason)
        slug = self._destination.slug
        log.error("destination_paused", destination=slug, reason=cleaned)
        self._settler.also(lambda connection: destinations_table.pause(connection, slug, cleaned))

    def _clean(self, told: str) -> str:
        """What a destination says may repeat the key that it was sent."""
        for secret in self._secrets:
            told = told.replace(secret, "[removed]")
        return told.replace("\x00", "")

    def _clean_bytes(self, told: bytes) -> bytes:
        for secret in self._secrets:
            told = told.replace(secret.encode(), b"[removed]")
        return told

    # --- the end ------------------------------------------------------------------------------------------------

    def _on_flushed(self, flushed: Flushed) -> None:
        self._report.settled(flushed.done)
        for message in flushed.ended & self._going_on.keys():
            lane = self._going_on.pop(message)
            lane.settling -= 1
            if not lane.settling:
                self._advance(lane)
        self._coalescing.ended({lane.profile_id for lane in flushed.released} - flushed.waiting)
        self._in_hand.remove(flushed.released)
        now = time.monotonic()
        for lane in flushed.released:
            if lane.wake_at is not None:
                asyncio.get_running_loop().call_later(max(0.0, lane.wake_at - now), self._wake.set)
            elif lane.profile_id in flushed.waiting:
                self._wake.set()
        if self._has_backlog and len(self._in_hand) <= self._claiming.target - self._claiming.step:
            self._wake.set()
        if not self._in_hand:
            self._emptied.set()
            self._wake.set()

    async def _close_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._closing = True
        self._guard.release()
        for pacer in self._pacers.values():
            pacer.close()

    async def _until_empty(self) -> None:
        while self._in_hand:
            self._emptied.clear()
            await self._emptied.wait()
