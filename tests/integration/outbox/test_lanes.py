from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from engage_sync.outbox import lanes, settle
from engage_sync.outbox.claim import ClaimedLane
from engage_sync.outbox.lanes import Leaving, Released
from engage_sync.outbox.settle import Taken
from tests.factories.outbox import TIMEOUT, Outbox


def deliver(outbox: Outbox, worker: int, lane: ClaimedLane) -> None:
    """The lane's first message is sent and taken."""
    outbox.start(worker, lane)
    with outbox.engine.begin() as connection:
        assert settle.settle(connection, worker, [Taken(message=lane.messages[0])]).done


def release(outbox: Outbox, worker: int, *leaving: Leaving) -> Released:
    with outbox.engine.begin() as connection:
        return lanes.release(connection, outbox.destination, worker, leaving, TIMEOUT)


def test_empty_lane_is_closed_and_another_waits_on(outbox: Outbox) -> None:
    outbox.waiting_message("ann@x.io")
    outbox.many_waiting(1, messages=2)
    worker = outbox.worker()
    ann, many = outbox.claim(worker)
    deliver(outbox, worker, ann)
    deliver(outbox, worker, many)
    released = release(outbox, worker, Leaving(ann.profile_id), Leaving(many.profile_id))
    assert released == Released({ann.profile_id}, {many.profile_id}, set())
    assert outbox.rows("SELECT profile_id, worker_id, due_at <= clock_timestamp() FROM lanes") == [
        (many.profile_id, None, True)
    ]


def test_lane_of_another_worker_is_left_alone(outbox: Outbox) -> None:
    outbox.waiting_message()
    worker = outbox.worker()
    (lane,) = outbox.claim(worker)
    assert release(outbox, outbox.worker(), Leaving(lane.profile_id)) == Released(set(), set(), set())
    assert outbox.rows("SELECT worker_id FROM lanes") == [(worker,)]


def test_lane_with_a_started_message_waits_until_its_request_is_over(outbox: Outbox) -> None:
    outbox.waiting_message()
    worker = outbox.worker()
    (lane,) = outbox.claim(worker)
    outbox.start(worker, lane)
    release(outbox, worker, Leaving(lane.profile_id))
    assert outbox.rows(
        "SELECT lanes.due_at = messages.started_at + interval '10 seconds' FROM lanes JOIN messages USING (profile_id)"
    ) == [(True,)]


def test_lane_that_an_enqueuer_holds_is_held_and_its_message_not_stranded(outbox: Outbox) -> None:
    outbox.waiting_message("ann@x.io")
    worker = outbox.worker()
    (lane,) = outbox.claim(worker)
    deliver(outbox, worker, lane)
    with outbox.engine.begin() as enqueuing:
        outbox.enqueue(enqueuing, "ann@x.io", value=False)
        assert release(outbox, worker, Leaving(lane.profile_id)) == Released(set(), set(), {lane.profile_id})
    assert release(outbox, worker, Leaving(lane.profile_id)) == Released(set(), {lane.profile_id}, set())
    assert len(outbox.claim(worker)[0].messages) == 1


def test_enqueuer_that_waits_for_a_closing_lane_opens_it_again(outbox: Outbox) -> None:
    outbox.waiting_message("ann@x.io")
    worker = outbox.worker()
    (lane,) = outbox.claim(worker)
    deliver(outbox, worker, lane)
    enqueuer = threading.Thread(target=outbox.waiting_message, args=("ann@x.io",))
    with outbox.engine.begin() as releasing:
        released = lanes.release(releasing, outbox.destination, worker, [Leaving(lane.profile_id)], TIMEOUT)
        assert released.closed == {lane.profile_id}
        enqueuer.start()
        _wait_until_somebody_waits(outbox.engine)
    enqueuer.join()
    (again,) = outbox.claim(worker)
    assert len(again.messages) == 1


def test_nothing_is_stranded_between_enqueuers_and_workers(outbox: Outbox) -> None:
    """Many turns of the race, without steering it: in the end every message has been delivered."""
    worker = outbox.worker()
    total = 150

    def enqueue() -> None:
        for number in range(total):
            outbox.waiting_message(f"p{number % 3}@x.io", value=number, call_type="track")

    enqueuer = threading.Thread(target=enqueue)
    enqueuer.start()
    held: list[Leaving] = []
    while enqueuer.is_alive() or held or outbox.count("lanes"):
        claimed = outbox.claim(worker)
        for lane in claimed:
            for _ in lane.messages:
                outbox.start(worker, lane)
        leaving = held + [Leaving(lane.profile_id) for lane in claimed]
        taken = [Taken(message=message) for lane in claimed for message in lane.messages]
        with outbox.engine.begin() as connection:
            settled = settle.settle(connection, worker, taken)
            while settled.busy:
                connection.execute(text("SELECT pg_sleep(0.001)"))
                again = settle.settle(connection, worker, [each for each in taken if each.message.id in settled.busy])
                settled = again
        with outbox.engine.begin() as connection:
            released = lanes.release(connection, outbox.destination, worker, leaving, TIMEOUT)
            held = [each for each in leaving if each.profile_id in released.held]
    enqueuer.join()
    assert (outbox.count("messages"), outbox.count("delivered")) == (0, total)


def _wait_until_somebody_waits(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watching:
        while not watching.execute(text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")).scalar_one():
            watching.execute(text("SELECT pg_sleep(0.005)"))


def test_hurried_lanes_are_due_at_once_but_never_while_a_request_may_be_on_its_way(outbox: Outbox) -> None:
    worker = outbox.worker()
    for name in ("ann", "bob", "cid"):
        outbox.waiting_message(f"{name}@x.io")
    claimed = outbox.claim(worker)
    outbox.start(worker, claimed[0])
    later = datetime.now(UTC) + timedelta(hours=3)
    with outbox.engine.begin() as connection:
        leaving = [Leaving(lane.profile_id, later) for lane in claimed[:2]]
        lanes.release(connection, outbox.destination, worker, leaving, TIMEOUT)
    with outbox.engine.begin() as connection:
        assert lanes.hurry(connection, [outbox.destination], TIMEOUT) == 2
    dues = dict(outbox.rows("SELECT profile_id, extract(epoch FROM due_at - clock_timestamp())::float8 FROM lanes"))
    assert 5 < dues[claimed[0].profile_id] < TIMEOUT
    assert dues[claimed[1].profile_id] <= 0
    assert outbox.rows("SELECT count(*) FROM lanes WHERE worker_id IS NOT NULL") == [(1,)]
