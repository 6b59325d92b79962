"""Two at once: whoever is second finds nothing left to do, and nobody undoes what another did."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from sqlalchemy import Connection, text

from engage_sync.outbox import claim, lanes, outages, settle, workers
from engage_sync.outbox.claim import Wanted
from engage_sync.outbox.lanes import Leaving
from engage_sync.outbox.outages import Kind
from engage_sync.outbox.settle import Taken
from tests.factories.outbox import TIMEOUT, Outbox

T = TypeVar("T")
MANY = 8


def at_once(outbox: Outbox, *acts: Callable[[Connection], T]) -> list[T]:
    """Each in a transaction of its own, all begun together."""
    ready = Barrier(len(acts))

    def run(act: Callable[[Connection], T]) -> T:
        with outbox.engine.begin() as connection:
            connection.execute(text("SELECT 1"))
            ready.wait()
            return act(connection)

    with ThreadPoolExecutor(len(acts)) as threads:
        return list(threads.map(run, acts))


def test_lanes_are_claimed_by_one_worker_each(outbox: Outbox) -> None:
    outbox.many_waiting(200)
    living = [outbox.worker() for _ in range(4)]
    claimed = at_once(
        outbox,
        *[lambda connection, own=own: claim.claim(connection, outbox.destination, own, 60) for own in living],
    )
    profiles = [lane.profile_id for lanes_ in claimed for lane in lanes_]
    assert len(profiles) == len(set(profiles)) >= 150
    assert outbox.rows("SELECT count(*) FROM lanes WHERE worker_id IS NOT NULL") == [(len(profiles),)]


def test_dead_worker_is_taken_over_once(outbox: Outbox) -> None:
    outbox.many_waiting(50)
    dead, living = outbox.worker(), [outbox.worker() for _ in range(4)]
    outbox.claim(dead)
    outbox.kill(dead)
    removed = at_once(
        outbox, *[lambda connection, own=own: workers.reclaim(connection, TIMEOUT, own) for own in living]
    )
    assert sum(removed) <= 1
    while not sum(removed):
        with outbox.engine.begin() as connection:
            removed = [workers.reclaim(connection, TIMEOUT, living[0])]
    assert outbox.rows("SELECT count(*) FROM lanes WHERE worker_id IS NULL") == [(50,)]
    assert outbox.rows("SELECT count(*) FROM workers") == [(4,)]


def test_settling_while_being_taken_over_happens_before_it_or_not_at_all(outbox: Outbox) -> None:
    """Either the message is delivered, or it waits out its time and the settlement comes to nothing: never both."""
    for number in range(MANY):
        outbox.waiting_message(f"p{number}@x.io")
        slow, taker = outbox.worker(), outbox.worker()
        (lane,) = outbox.claim(slow)
        outbox.start(slow, lane)
        message = lane.messages[0]
        outbox.kill(slow)

        def settling(connection: Connection, worker: int = slow, message: object = message) -> bool:
            return bool(settle.settle(connection, worker, [Taken(message=message)]).done)  # type: ignore[arg-type]

        def taking(connection: Connection, own: int = taker) -> bool:
            return bool(workers.reclaim(connection, TIMEOUT, own))

        settled, _ = at_once(outbox, settling, taking)
        with outbox.engine.begin() as connection:
            workers.reclaim(connection, TIMEOUT, taker)
        waiting = outbox.rows("SELECT count(*) FROM messages WHERE id = :id", id=message.id)
        delivered = outbox.rows("SELECT count(*) FROM delivered WHERE id = :id", id=message.id)
        assert (waiting, delivered) == ([(int(not settled),)], [(int(settled),)])
        assert outbox.claim(taker) == [] if not settled else True
        with outbox.engine.begin() as connection:
            for table in ("messages", "lanes"):
                connection.execute(text(f"DELETE FROM {table}"))


def test_expired_start_is_begun_anew_by_one_only(outbox: Outbox) -> None:
    """A request's time is over: the worker that sent it and the one that took its lane over both want to start it."""
    message = outbox.waiting_message()
    old, new = outbox.worker(), outbox.worker()
    (lane,) = outbox.claim(old)
    outbox.start(old, lane)
    with outbox.engine.begin() as connection:
        connection.execute(text("UPDATE messages SET started_at = started_at - interval '11 s'"))
    outbox.kill(old)
    with outbox.engine.begin() as connection:
        workers.reclaim(connection, TIMEOUT, new)
    outbox.claim(new)
    wanted = [Wanted(message, lane.profile_id)]
    starts = at_once(
        outbox,
        *[lambda connection, own=own: claim.start(connection, own, wanted, TIMEOUT) for own in (old, new, new)],
    )
    assert [len(started) for started in starts[:1]] == [0]
    assert sum(len(started) for started in starts) == 1
    assert outbox.rows("SELECT attempts FROM messages") == [(2,)]


def test_probe_is_one_worker_s_and_an_outage_opens_and_ends_once(outbox: Outbox) -> None:
    outbox.waiting_message()

    def begin(connection: Connection) -> bool:
        return outages.begin(connection, outbox.destination, Kind.FAILING, "down", ago=1)

    def probe(connection: Connection) -> bool:
        return outages.take_probe(connection, outbox.destination) is not None

    def end(connection: Connection) -> bool:
        return outages.end(connection, outbox.destination) is not None

    assert sum(at_once(outbox, *[begin] * MANY)) == 1
    with outbox.engine.begin() as connection:
        outages.hurry(connection)
    assert sum(at_once(outbox, *[probe] * MANY)) == 1
    assert sum(at_once(outbox, *[end] * MANY)) == 1
    assert outbox.count("outages") == 1


def test_lane_that_is_given_back_and_hurried_at_once_is_due(outbox: Outbox) -> None:
    outbox.many_waiting(20)
    worker = outbox.worker()
    claimed = outbox.claim(worker)
    leaving = [Leaving(lane.profile_id) for lane in claimed]
    at_once(
        outbox,
        lambda connection: lanes.release(connection, outbox.destination, worker, leaving, TIMEOUT),
        lambda connection: lanes.hurry(connection, [outbox.destination], TIMEOUT),
    )
    assert len(outbox.claim(worker)) == 20
