from __future__ import annotations

from collections import deque

from engage_sync.delivery.work import Job, Lane, Parcel, Ready
from engage_sync.destinations.protocol import BulkLimits
from engage_sync.messages.message import Message
from engage_sync.outbox.enqueue import Priority


def job(priority: Priority = Priority.TICK, size: int = 1) -> Job:
    messages: deque[Message] = deque()
    return Job(Lane(1, priority, messages), None, (), size=size)  # type: ignore[arg-type]


def taken(ready: Ready, count: int) -> list[list[Job]]:
    return [parcel.jobs for parcel in ready.take(count)]


def bulk(entries: int, size: int = 1_000) -> Ready:
    return Ready(BulkLimits(most_entries=entries, most_bytes=size))


def test_urgent_jobs_go_first_and_the_last_priority_keeps_a_tenth() -> None:
    ready = Ready()
    for priority, count in ((Priority.FIRST_PUSH, 5), (Priority.TICK, 10), (Priority.REALTIME, 10)):
        for _ in range(count):
            ready.add(job(priority))
    order = [each.lane.priority for (each,) in taken(ready, 100)]
    assert order == [0] * 9 + [2] + [0] + [1] * 8 + [2] + [1] * 2 + [2] * 3
    assert len(ready) == 0


def test_jobs_of_one_priority_keep_their_order() -> None:
    ready = Ready()
    jobs = [job() for _ in range(3)]
    for each in jobs:
        ready.add(each)
    assert [each for (each,) in taken(ready, 2)] + ready.clear() == jobs


def test_what_could_not_go_goes_before_others_of_its_priority() -> None:
    ready = Ready()
    first, second, third = (job() for _ in range(3))
    for each in (first, second, third):
        ready.add(each)
    (parcel,) = ready.take(1)
    ready.put_back(parcel)
    assert ready.clear() == [first, second, third]


def test_bulk_parcels_are_filled_up_to_the_count() -> None:
    ready = bulk(3)
    jobs = [job() for _ in range(7)]
    for each in jobs:
        ready.add(each)
    assert ready.fills_a_parcel
    assert taken(ready, 2) == [jobs[:3], jobs[3:6]]
    assert not ready.fills_a_parcel
    assert taken(ready, 2) == [jobs[6:]]
    assert taken(ready, 2) == []


def test_bulk_parcels_are_filled_up_to_the_bytes() -> None:
    ready = bulk(100, size=10)
    sizes = [4, 6, 1, 9, 10, 3]
    for size in sizes:
        ready.add(job(size=size))
    assert [[each.size for each in jobs] for jobs in taken(ready, 10)] == [[4, 6], [1, 9], [10], [3]]


def test_halves_go_first_and_as_they_are() -> None:
    """One half is settled to its end before the other, so that what is wrong shows after few requests."""
    ready = bulk(10)
    others = [job() for _ in range(4)]
    for each in others:
        ready.add(each)
    whole = Parcel([job() for _ in range(5)])
    left, right = whole.halves()
    assert [len(left.jobs), len(right.jobs)] == [2, 3]
    ready.put_first(left, right)
    assert ready.fills_a_parcel
    assert ready.take(1) == [left]
    ready.put_first(*left.halves())
    assert len(ready) == 9
    assert [parcel.jobs for parcel in ready.take(3)] == [[left.jobs[0]], [left.jobs[1]], right.jobs]
    assert taken(ready, 5) == [others]


def test_all_that_waits_is_given_back_at_the_end() -> None:
    ready = bulk(10)
    waiting, apart = job(), [job(), job()]
    ready.add(waiting)
    ready.put_first(Parcel(apart))
    assert ready.clear() == [*apart, waiting]
    assert len(ready) == 0
