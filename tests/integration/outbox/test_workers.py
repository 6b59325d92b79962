from __future__ import annotations

import threading

from engage_sync.outbox import claim, workers
from engage_sync.outbox.claim import Wanted
from tests.factories.outbox import TIMEOUT, Outbox


def reclaim(outbox: Outbox, own: int = 0) -> int:
    with outbox.engine.begin() as connection:
        return workers.reclaim(connection, TIMEOUT, own)


def test_living_worker_keeps_its_lanes(outbox: Outbox) -> None:
    outbox.waiting_message()
    worker = outbox.worker()
    outbox.claim(worker)
    assert reclaim(outbox) == 0
    assert outbox.rows("SELECT worker_id FROM lanes") == [(worker,)]


def test_dead_worker_s_lanes_are_free_but_started_ones_wait(outbox: Outbox) -> None:
    for name in ("ann", "bob"):
        outbox.waiting_message(f"{name}@x.io")
    worker = outbox.worker()
    ann, bob = outbox.claim(worker)
    outbox.start(worker, ann)
    outbox.kill(worker)
    assert reclaim(outbox) == 1
    other = outbox.worker()
    assert [lane.profile_id for lane in outbox.claim(other)] == [bob.profile_id]
    assert outbox.rows(
        "SELECT lanes.worker_id, lanes.due_at = messages.started_at + interval '10 seconds'"
        " FROM lanes JOIN messages USING (profile_id) WHERE profile_id = :ann",
        ann=ann.profile_id,
    ) == [(None, True)]
    assert outbox.rows("SELECT id FROM workers") == [(other,)]


def test_lane_that_an_enqueuer_holds_is_freed_in_the_next_turn(outbox: Outbox) -> None:
    outbox.waiting_message("ann@x.io")
    worker = outbox.worker()
    outbox.claim(worker)
    outbox.kill(worker)
    with outbox.engine.begin() as enqueuing:
        outbox.enqueue(enqueuing, "ann@x.io")
        assert reclaim(outbox) == 0
    assert reclaim(outbox) == 1
    assert len(outbox.claim(outbox.worker())) == 1


def test_worker_that_ends_gives_all_back(outbox: Outbox) -> None:
    outbox.waiting_message()
    worker = outbox.worker()
    outbox.claim(worker)
    with outbox.engine.begin() as connection:
        workers.unregister(connection, worker, TIMEOUT)
    assert outbox.count("workers") == 0
    assert len(outbox.claim(outbox.worker())) == 1


def test_start_that_is_being_written_is_seen_by_whoever_takes_over(outbox: Outbox) -> None:
    """Taking over waits for the worker's row, which a start holds until it is committed."""
    outbox.waiting_message()
    worker = outbox.worker()
    (lane,) = outbox.claim(worker)
    taking_over = threading.Thread(target=reclaim, args=(outbox,))
    with outbox.engine.begin() as starting:
        assert claim.start(starting, worker, [Wanted(lane.messages[0].id, lane.profile_id)], TIMEOUT)
        # It loses its connection just now; the start is still to be committed.
        outbox.kill(worker)
        taking_over.start()
        taking_over.join(0.2)
        assert taking_over.is_alive()
    taking_over.join()
    assert outbox.rows("SELECT worker_id, due_at > clock_timestamp() + interval '5 seconds' FROM lanes") == [
        (None, True)
    ]
