"""A parcel's request and its answer: sent within what is left of its time, and read for each of its jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from engage_sync.delivery.transport import NoAnswer, Transport
from engage_sync.delivery.work import Job, Parcel
from engage_sync.destinations.protocol import Answer, Delivered, Destination, Outcome, Request, Retry, Unclear


@dataclass(frozen=True, slots=True)
class Ended:
    """How a request ended for one of its jobs. `answer` is the job's own: None where others share it.

    `beside_delivered`: others in the same request were delivered.
    """

    job: Job
    outcome: Outcome | Unclear
    answer: Answer | None
    beside_delivered: bool = False


class Exchange:
    """Sends to one destination."""

    def __init__(self, destination: Destination, transport: Transport, request_timeout: float) -> None:
        self._destination = destination
        self._transport = transport
        self._request_timeout = request_timeout

    async def carry(self, parcel: Parcel) -> list[Ended]:
        """Send the parcel's request; what the answer means, in the order of the jobs."""
        jobs = parcel.jobs
        bulk = self._destination.bulk if jobs[0].lane.in_bulk else None
        request = jobs[0].request if bulk is None else bulk.join([job.request for job in jobs])
        for job in jobs:
            job.was_sent = True
        answer = await self._send(request, parcel)
        received = None if isinstance(answer, NoAnswer) else answer
        outcomes: Sequence[Outcome | Unclear]
        if bulk is None:
            outcomes = [self._destination.outcome(request, received)]
        else:
            outcomes = bulk.outcomes([job.request for job in jobs], received)
        if isinstance(answer, NoAnswer):
            outcomes = [_unanswered(outcome, answer) for outcome in outcomes]
        own = received if len(jobs) == 1 else None
        delivered = any(isinstance(outcome, Delivered) for outcome in outcomes)
        return [Ended(job, outcome, own, delivered) for job, outcome in zip(jobs, outcomes, strict=True)]

    def budget(self, parcel: Parcel) -> str:
        """The budget that the parcel's request draws on."""
        job = parcel.jobs[0]
        bulk = self._destination.bulk if job.lane.in_bulk else None
        return (bulk.budget_of(job.request) if bulk is not None else None) or job.request.budget

    def shown(self, job: Job) -> Request:
        """The request that the job was sent in, as if it had been alone in it."""
        bulk = self._destination.bulk if job.lane.in_bulk else None
        return job.request if bulk is None else bulk.join([job.request])

    async def _send(self, request: Request, parcel: Parcel) -> Answer | NoAnswer:
        body = orjson.dumps(request.body, option=orjson.OPT_NON_STR_KEYS)
        now = time.monotonic()
        remaining = parcel.started_clock + self._request_timeout - now
        sent_at = int(parcel.jobs[0].database_clock(now).timestamp())
        signature = self._destination.signature(body, sent_at)
        return await self._transport.send(self._destination, request, body, max(remaining, 0.001), signature)


def _unanswered(outcome: Outcome | Unclear, answer: NoAnswer) -> Outcome | Unclear:
    if isinstance(outcome, Retry):
        return replace(outcome, reason=answer.reason, unanswered=answer.sent)
    return outcome
