from __future__ import annotations

from collections import deque

from engage_sync.delivery.work import Job, Lane, Ready
from engage_sync.messages.message import Message
from engage_sync.outbox.enqueue import Priority


def job(priority: Priority) -> Job:
    messages: deque[Message] = deque()
    return Job(Lane(1, priority, messages), None, ())  # type: ignore[arg-type]


def test_urgent_jobs_go_first_and_the_last_priority_keeps_a_tenth() -> None:
    ready = Ready()
    for priority, count in ((Priority.FIRST_PUSH, 5), (Priority.TICK, 10), (Priority.REALTIME, 10)):
        for _ in range(count):
            ready.add(job(priority))
    order = [each.lane.priority for each in ready.take(100)]
    assert order == [0] * 9 + [2] + [0] + [1] * 8 + [2] + [1] * 2 + [2] * 3
    assert len(ready) == 0


def test_jobs_of_one_priority_keep_their_order() -> None:
    ready = Ready()
    jobs = [job(Priority.TICK) for _ in range(3)]
    for each in jobs:
        ready.add(each)
    assert ready.take(2) + ready.clear() == jobs
