from __future__ import annotations

from typing import Any

from sqlalchemy import text

from engage_sync.outbox import settle, workers
from engage_sync.outbox.claim import ClaimedLane
from engage_sync.outbox.settle import ANSWER_BYTES, Failed, Postponed, Settled, Settlement, Taken, Unsent
from tests.factories.outbox import TIMEOUT, Outbox


def begun(outbox: Outbox, worker: int) -> list[ClaimedLane]:
    claimed = outbox.claim(worker)
    outbox.start(worker, *claimed)
    return claimed


def settling(outbox: Outbox, worker: int, *settlements: Settlement) -> Settled:
    with outbox.engine.begin() as connection:
        return settle.settle(connection, worker, settlements)


def attempt(outbox: Outbox) -> tuple[Any, ...]:
    (row,) = outbox.rows("SELECT attempts, started_at IS NULL, first_started_at IS NULL, last_error FROM messages")
    return row


def test_taken_message_moves_to_delivered_and_is_confirmed(outbox: Outbox) -> None:
    identifier = outbox.waiting_message(value=120.0)
    worker = outbox.worker()
    (lane,) = begun(outbox, worker)
    assert settling(outbox, worker, Taken(message=lane.messages[0])) == Settled({identifier}, set(), set())
    assert outbox.count("messages") == 0
    assert outbox.rows("SELECT id, value::text, attempts, told_version FROM delivered") == [(identifier, "120.0", 1, 1)]
    assert outbox.told() == [("ann@x.io", "identify", 1, None, 120.0, 1)]


def test_newer_message_stays_enqueued_and_the_newest_is_confirmed(outbox: Outbox) -> None:
    outbox.waiting_message(value=True)
    outbox.waiting_message(value=False)
    worker = outbox.worker()
    (lane,) = begun(outbox, worker)
    settling(outbox, worker, Taken(message=lane.messages[0]))
    assert outbox.told() == [("ann@x.io", "identify", 2, False, True, 1)]
    outbox.waiting_message(value=None)
    (message,) = lane.messages[1:]
    outbox.start(
        worker,
        ClaimedLane(
            profile_id=lane.profile_id, destination_id=1, priority=1, late=0.0, messages=(message,), has_more=False
        ),
    )
    settling(outbox, worker, Taken(message=message))
    assert outbox.told() == [("ann@x.io", "identify", 3, None, False, 2)]
    assert outbox.rows("SELECT enqueued::text FROM told") == [("null",)]


def test_two_versions_in_one_batch_confirm_the_newer(outbox: Outbox) -> None:
    outbox.waiting_message(value=True)
    outbox.waiting_message(value=False)
    worker = outbox.worker()
    (lane,) = outbox.claim(worker)
    settling(outbox, worker, *(Taken(message=message) for message in lane.messages))
    assert outbox.told() == [("ann@x.io", "identify", 2, None, False, 2)]


def test_skipped_message_is_confirmed_but_was_not_delivered(outbox: Outbox) -> None:
    outbox.waiting_message()
    worker = outbox.worker()
    (lane,) = outbox.claim(worker)
    settling(outbox, worker, Taken(message=lane.messages[0], skipped=True))
    assert (outbox.count("messages"), outbox.count("delivered")) == (0, 0)
    assert outbox.told() == [("ann@x.io", "identify", 1, None, True, 1)]


def test_failed_message_becomes_a_dead_letter_and_told_goes_back(outbox: Outbox) -> None:
    identifier = outbox.waiting_message()
    worker = outbox.worker()
    (lane,) = begun(outbox, worker)
    request = {"method": "POST", "path": "/x", "body": {"a": 1}}
    failed = Failed(message=lane.messages[0], reason="no such field", request=request, answer=b"x" * 20_000)
    assert settling(outbox, worker, failed).done == {identifier}
    assert outbox.rows("SELECT message_id, reason, request, length(answer), status, attempts FROM dead_letters") == [
        (identifier, "no such field", request, ANSWER_BYTES, "open", 1)
    ]
    assert outbox.told() == [("ann@x.io", "identify", 1, None, None, 0)]
    assert outbox.rows("SELECT is_unknown FROM told") == [(False,)]


def test_dead_letter_of_an_unanswered_request_leaves_told_unknown(outbox: Outbox) -> None:
    outbox.waiting_message()
    worker = outbox.worker()
    (lane,) = begun(outbox, worker)
    settling(outbox, worker, Failed(message=lane.messages[0], reason="no answer", is_unknown=True))
    assert outbox.rows("SELECT is_unknown, enqueued FROM told") == [(True, None)]


def test_dead_letter_of_an_old_version_leaves_the_newer_one_enqueued(outbox: Outbox) -> None:
    outbox.waiting_message(value=True)
    outbox.waiting_message(value=False)
    worker = outbox.worker()
    (lane,) = begun(outbox, worker)
    settling(outbox, worker, Failed(message=lane.messages[0], reason="no"))
    assert outbox.told() == [("ann@x.io", "identify", 2, False, None, 0)]


def test_what_may_have_arrived_stays_unknown_until_the_destination_takes_something(outbox: Outbox) -> None:
    outbox.waiting_message(value=True)
    outbox.waiting_message(value=False)
    worker = outbox.worker()
    (lane,) = outbox.claim(worker)
    older, newer = lane.messages
    settling(outbox, worker, Failed(message=older, reason="no answer", is_unknown=True))
    assert outbox.rows("SELECT is_unknown, enqueued FROM told") == [(True, False)]
    settling(outbox, worker, Taken(message=newer))
    assert outbox.rows("SELECT is_unknown, enqueued, confirmed FROM told") == [(False, None, False)]


def test_answered_message_may_be_sent_again_at_once_an_unanswered_one_not(outbox: Outbox) -> None:
    outbox.waiting_message()
    worker = outbox.worker()
    (lane,) = begun(outbox, worker)
    settling(outbox, worker, Postponed(message=lane.messages[0], reason="no answer", unanswered=True))
    assert attempt(outbox) == (1, False, False, "no answer")
    assert outbox.start(worker, lane) == {}
    settling(outbox, worker, Postponed(message=lane.messages[0], reason="503", unanswered=False))
    assert attempt(outbox) == (1, True, False, "503")
    assert outbox.start(worker, lane)[lane.messages[0].id].attempts == 2


def test_unsent_message_is_as_if_never_started(outbox: Outbox) -> None:
    outbox.waiting_message()
    worker = outbox.worker()
    (lane,) = begun(outbox, worker)
    settling(outbox, worker, Unsent(message=lane.messages[0]))
    assert attempt(outbox) == (0, True, True, None)


def test_only_the_holder_of_the_lease_settles(outbox: Outbox) -> None:
    identifier = outbox.waiting_message()
    worker, other = outbox.worker(), outbox.worker()
    (lane,) = begun(outbox, worker)
    message = lane.messages[0]
    every: tuple[Settlement, ...] = (
        Taken(message=message),
        Failed(message=message, reason=""),
        Postponed(message=message, reason="", unanswered=False),
        Unsent(message=message),
    )
    for settlement in every:
        assert settling(outbox, other, settlement) == Settled(set(), set(), {identifier})
    outbox.kill(worker)
    with outbox.engine.begin() as connection:
        workers.reclaim(connection, TIMEOUT)
    for settlement in every:
        assert settling(outbox, worker, settlement) == Settled(set(), set(), {identifier})
    assert attempt(outbox) == (1, False, False, None)


def test_told_that_a_computation_holds_is_busy_and_nobody_waits(outbox: Outbox) -> None:
    ann, bob = outbox.waiting_message("ann@x.io"), outbox.waiting_message("bob@x.io")
    worker = outbox.worker()
    settlements = [Taken(message=lane.messages[0]) for lane in begun(outbox, worker)]
    with outbox.engine.begin() as computing:
        computing.execute(text("SELECT FROM told WHERE identity_value = 'ann@x.io' FOR UPDATE"))
        assert settling(outbox, worker, *settlements) == Settled({bob}, {ann}, set())
    assert settling(outbox, worker, settlements[0]) == Settled({ann}, set(), set())


def test_message_whose_told_row_is_gone_is_settled_all_the_same(outbox: Outbox) -> None:
    identifier = outbox.waiting_message()
    worker = outbox.worker()
    (lane,) = begun(outbox, worker)
    with outbox.engine.begin() as connection:
        connection.execute(text("DELETE FROM told"))
    assert settling(outbox, worker, Taken(message=lane.messages[0])).done == {identifier}
