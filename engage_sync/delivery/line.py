"""One destination's delivery: keeps each person's order, and reads what the answers mean.

Nothing here is shared with another destination, so that one that hangs delays no other.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import assert_never

import structlog

from engage_sync.delivery import retry
from engage_sync.delivery.apart import Apart
from engage_sync.delivery.circuit import Refusal
from engage_sync.delivery.cleaning import Cleaning
from engage_sync.delivery.coalescing import Coalescing
from engage_sync.delivery.exchange import Ended, Exchange
from engage_sync.delivery.feeding import Feeding, Limits
from engage_sync.delivery.pacer import Budget, Pacer
from engage_sync.delivery.report import Report
from engage_sync.delivery.retry import GiveUp, Policy, RetryAt
from engage_sync.delivery.roads import Roads
from engage_sync.delivery.settler import Flushed, Settler
from engage_sync.delivery.standing import Standing
from engage_sync.delivery.transactions import Transactions
from engage_sync.delivery.transport import Transport
from engage_sync.delivery.turns import Turns
from engage_sync.delivery.work import Job, Lane, Parcel
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
from engage_sync.messages.forwarded import FORGET
from engage_sync.messages.render import Sender, render
from engage_sync.outbox import destinations_table
from engage_sync.outbox.settle import Failed, Postponed, Taken, Unsent

log = structlog.get_logger(__name__)

# When a person is next in turn whose message was sent in vain, to see whether the destination still refuses everybody.
_REFUSED_AGAIN_AFTER = 60.0
# The loop has requests to send at their slots: reading a bulk answer lets go of it every so many people.
_LANES_AT_ONCE = 50


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
        # By the messages that must be settled before: lanes that have more to send.
        self._going_on: dict[int, Lane] = {}
        self._coalescing = Coalescing(destination, sender, allowed)
        self._emptied = asyncio.Event()
        self._closing = False
        self._cleaning = Cleaning(destination.secrets)
        self._settler = Settler(
            worker_id, destination_id, destination.slug, limits.request_timeout, transactions, self._on_flushed
        )
        self._apart = Apart()
        self._turns = Turns()
        self._standing = Standing(
            destination_id,
            destination.slug,
            worker_id,
            self._apart,
            also=self._settler.also,
            clean=self._cleaning.text,
            convict=lambda refusal: self._fail(refusal.job, refusal.reason, refusal.answer),
            take_back=self._take_back,
            give_back=self._give_back,
        )
        self._feeding = Feeding(
            destination,
            destination_id,
            worker_id,
            limits,
            transactions,
            self._roads,
            self._apart,
            begin=self._advance,
            claimed=self._standing.claimed,
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
        self._feeding.wake()

    async def run(self, feed: Callable[[Feeding, asyncio.Event], Awaitable[None]], stop: asyncio.Event) -> None:
        """Deliver what `feed` claims; at its end all that is in hand is settled or given back.

        After `stop` nothing more starts.
        """
        async with asyncio.TaskGroup() as tasks:
            parts = [tasks.create_task(self._settler.run(), name=f"settler {self._destination.slug}")]
            for name, pacer in self._pacers.items():
                parts.append(tasks.create_task(pacer.run(), name=f"pacer {self._destination.slug} {name}"))
            parts.append(tasks.create_task(self._close_at(stop), name=f"closing {self._destination.slug}"))
            await feed(self._feeding, stop)
            await self._until_empty()
            for part in parts:
                part.cancel()

    # --- one person's messages, in order ------------------------------------------------------------------------

    def _advance(self, lane: Lane) -> None:
        """Go on with the lane's next message; give the lane back after the last one."""
        while lane.messages and not self._closing and (lane.is_probe or not self._apart):
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
                    reason = self._cleaning.text(refused.sentence)
                    self._settler.settle(Failed(message=message, reason=reason, request={"call": call}))
                case requests:
                    if message.call_type == FORGET and not lane.is_probe:
                        rate = self._destination.budgets[requests[0].budget]
                        lane.wake_at = self._turns.wait_until(lane, rate, time.monotonic())
                        if lane.wake_at is not None:
                            break
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
        self._feeding.sending(parcel)
        ended = await self._exchange.carry(parcel)
        self._standing.observe(self._exchange.budget(parcel), ended)
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
                others = 0 if self._closing else self._feeding.others
                self._standing.refused(Refusal(job, reason, answer), certain=ended.beside_delivered, others=others)
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

    def _give_back(self) -> None:
        """What waits for its turn is for whoever gets through."""
        for pacer in self._pacers.values():
            pacer.give_back()

    def _delivered(self, job: Job) -> None:
        if job.message.call_type == FORGET:
            self._turns.delivered()
        if job.number + 1 < len(job.requests):
            job.number += 1
            self._pacers[job.request.budget].add(job)
            return
        self._roads.delivered(job, time.monotonic())
        self._end(job, *(Taken(message=message) for message in job.messages))

    def _retry(self, job: Job, outcome: Retry, answer: Answer | None) -> None:
        assert job.started is not None
        clock = time.monotonic()
        if outcome.is_throttled and job.message.call_type == FORGET:
            # The limit of a day, perhaps: nobody is given up for that.
            self._unsend(job)
            job.lane.wake_at = self._turns.throttled(clock, outcome.after)
            self._settler.leave(job.lane)
            return
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
                reason = self._cleaning.text(outcome.reason)
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
            reason=self._cleaning.text(reason),
            request={"method": request.method, "path": request.path, "body": request.body},
            answer=None if answer is None else self._cleaning.content(answer.body),
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
        cleaned = self._cleaning.text(reason)
        slug = self._destination.slug
        log.error("destination_paused", destination=slug, reason=cleaned)
        self._settler.also(lambda connection: destinations_table.pause(connection, slug, cleaned))

    # --- the end ------------------------------------------------------------------------------------------------

    def _on_flushed(self, flushed: Flushed) -> None:
        self._report.settled(flushed.done)
        for message in flushed.ended & self._going_on.keys():
            lane = self._going_on.pop(message)
            lane.settling -= 1
            if not lane.settling:
                self._advance(lane)
        self._coalescing.ended({lane.profile_id for lane in flushed.released} - flushed.waiting)
        self._turns.left(flushed.released)
        self._feeding.released(flushed.released, flushed.waiting)
        if not self._feeding.in_hand:
            self._emptied.set()

    async def _close_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._closing = True
        self._standing.release()
        for pacer in self._pacers.values():
            pacer.close()

    async def _until_empty(self) -> None:
        while self._feeding.in_hand:
            self._emptied.clear()
            await self._emptied.wait()
