"""Single or bulk: the road that each message takes, where its destination has both.

Bulk moves thousands of people a second, a single request gets there sooner: so what somebody waits for goes by itself,
and what waits in a long line goes in bulk. Whoever was sent something keeps to that road for some minutes
(outbox/roads.py), as nothing orders the two at the destination.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import orjson

from engage_sync.delivery.work import InHand, Job
from engage_sync.destinations.protocol import Bulk, Destination
from engage_sync.outbox.enqueue import Priority
from engage_sync.outbox.roads import KEPT_FOR

# A line that the single road works off within so many seconds doesn't go in bulk.
_SECONDS: Mapping[Priority, float] = {Priority.REALTIME: 5.0, Priority.TICK: 5.0, Priority.FIRST_PUSH: 1.0}


class Roads:
    """Chooses for one destination. `most_to_count` is how many lanes a priority's line is worth counting up to."""

    def __init__(self, destination: Destination) -> None:
        self._bulk = destination.bulk
        self._rates = destination.budgets
        self._waiting: dict[Priority, int] = dict.fromkeys(Priority, 0)
        self._line: Mapping[Priority, int] = self._waiting
        self.most_to_count = 1 + int(max(_SECONDS.values()) * max(self._rates.values(), default=0.0))

    @property
    def are_two(self) -> bool:
        """Whether there is a choice that depends on what waits and what went before."""
        return self._bulk is not None and not self._bulk.is_always_used

    @property
    def has_bulk(self) -> bool:
        """Whether it matters that a person's last message went in bulk."""
        return self._bulk is not None

    def look(self, waiting: Mapping[Priority, int], in_hand: InHand) -> None:
        """How long the lines are: lanes that nobody has yet, of priorities that were looked at, and those we have."""
        self._waiting.update(waiting)
        counts = [self._waiting[priority] + in_hand.count(priority) for priority in Priority]
        # Whatever is more urgent stands before.
        self._line = dict(zip(Priority, accumulate(counts), strict=True))

    def choose(self, job: Job) -> str:
        """The budget that the job's request draws on; its lane notes the road."""
        bulk = None if self._bulk is None else self._bulk.budget_of(job.request)
        # Of several requests each waits for the answer to the one before: no case for a bulk.
        if self._bulk is None or bulk is None or len(job.requests) > 1 or not self._goes_in_bulk(self._bulk, job):
            job.lane.in_bulk = False
            return job.request.budget
        job.size = len(orjson.dumps(job.request.body, option=orjson.OPT_NON_STR_KEYS)) + 1
        if job.size > self._bulk.limits[bulk].most_bytes:
            job.lane.in_bulk = False
            return job.request.budget
        job.lane.in_bulk = True
        return bulk

    def delivered(self, job: Job, now: float) -> None:
        """The destination took the job's message; `now` is on the monotonic clock."""
        if job.lane.in_bulk:
            job.lane.settles_at = now + KEPT_FOR

    def must_wait(self, job: Job, now: float) -> bool:
        """Whether the job would overtake, to harm, what its person was sent in bulk."""
        return self._bulk is not None and job.lane.settles_at > now and self._bulk.must_follow(job.request)

    def _goes_in_bulk(self, bulk: Bulk, job: Job) -> bool:
        if bulk.is_always_used:
            return True
        if job.lane.in_bulk is not None:
            return job.lane.in_bulk
        priority = Priority(job.lane.priority)
        return self._line[priority] > _SECONDS[priority] * self._rates[job.request.budget]
