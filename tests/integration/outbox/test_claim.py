from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, text

from engage_sync.messages.message import Subject
from engage_sync.outbox import claim, destinations_table, workers
from engage_sync.outbox.claim import Wanted
from engage_sync.outbox.enqueue import Priority
from tests.factories.outbox import AS_OF, TIMEOUT, TRACK, Outbox


def test_lane_comes_with_its_messages_in_order_and_all_that_rendering_needs(outbox: Outbox) -> None:
    first = outbox.waiting_message("ann@x.io", value=True)
    second = outbox.waiting_message("ann@x.io", value=120.0, call_type="track")
    with outbox.engine.begin() as connection:
        profile = outbox.profile(connection, "ann@x.io")
        connection.execute(
            text("INSERT INTO identities (profile_id, type, value) VALUES (:profile, 'user_id', 'u1')"),
            {"profile": profile},
        )
    (lane,) = outbox.claim(outbox.worker())
    assert (lane.profile_id, lane.priority, lane.has_more) == (profile, Priority.TICK, False)
    assert [message.id for message in lane.messages] == [first, second]
    message = lane.messages[1]
    assert (message.identity_type, message.identity_value, message.user_id) == ("email", "ann@x.io", "u1")
    assert (message.value, type(message.value), message.told_version) == (120.0, float, 1)
    assert message.as_of == AS_OF
    assert message.subject == Subject(public_id="aud_buyers", kind="audience", key="buyers", track=TRACK)


def test_leased_lane_is_nobody_elses(outbox: Outbox) -> None:
    outbox.many_waiting(10)
    one, other = outbox.worker(), outbox.worker()
    first, second = outbox.claim(one, 6), outbox.claim(other, 6)
    assert (len(first), len(second)) == (6, 4)
    assert not {lane.profile_id for lane in first} & {lane.profile_id for lane in second}


def test_lane_that_another_is_just_claiming_is_not_waited_for(outbox: Outbox) -> None:
    outbox.many_waiting(10)
    one, other = outbox.worker(), outbox.worker()
    with outbox.engine.begin() as claiming:
        assert len(claim.claim(claiming, outbox.destination, one, 6)) == 6
        assert len(outbox.claim(other, 10)) == 4


def test_urgent_lanes_go_first_and_the_first_push_keeps_a_tenth(outbox: Outbox) -> None:
    outbox.many_waiting(50, priority=Priority.FIRST_PUSH)
    for number in range(40):
        outbox.waiting_message(f"tick{number}@x.io", priority=Priority.TICK)
    for number in range(5):
        outbox.waiting_message(f"now{number}@x.io", priority=Priority.REALTIME)
    lanes = outbox.claim(outbox.worker(), 30)
    assert [lane.priority for lane in lanes] == [0] * 5 + [1] * 22 + [2] * 3
    with outbox.engine.begin() as connection:
        rest = claim.claim(connection, outbox.destination, outbox.worker(), 30, last=Priority.TICK)
    assert [lane.priority for lane in rest] == [1] * 18


def test_tenth_that_nobody_needs_goes_to_the_others(outbox: Outbox) -> None:
    outbox.many_waiting(30)
    assert len(outbox.claim(outbox.worker(), 20)) == 20


def test_lane_is_claimed_only_when_it_is_due_and_its_destination_runs(outbox: Outbox) -> None:
    outbox.waiting_message("ann@x.io")
    worker = outbox.worker()
    with outbox.engine.begin() as connection:
        connection.execute(text("UPDATE lanes SET due_at = clock_timestamp() + interval '1 hour'"))
    assert outbox.claim(worker) == []
    with outbox.engine.begin() as connection:
        connection.execute(text("UPDATE lanes SET due_at = clock_timestamp()"))
        destinations_table.pause(connection, "iterable", "for now")
    assert outbox.claim(worker) == []
    with outbox.engine.begin() as connection:
        destinations_table.resume(connection, "iterable")
    assert len(outbox.claim(worker)) == 1


def test_many_messages_of_one_person_are_loaded_in_parts(outbox: Outbox) -> None:
    outbox.many_waiting(1, messages=claim.MESSAGES_A_LANE + 1)
    (lane,) = outbox.claim(outbox.worker())
    assert (len(lane.messages), lane.has_more) == (claim.MESSAGES_A_LANE, True)


def test_start_counts_and_keeps_the_first_instant(outbox: Outbox) -> None:
    outbox.waiting_message()
    worker = outbox.worker()
    (lane,) = outbox.claim(worker)
    wanted = Wanted(lane.messages[0].id, lane.profile_id)
    first = outbox.start(worker, lane)[wanted.id]
    assert (first.attempts, first.first_started_at) == (1, first.started_at)
    assert outbox.start(worker, lane) == {}, "its request may be on its way"
    with outbox.engine.begin() as connection:
        again = claim.start(connection, worker, [Wanted(wanted.id, lane.profile_id, again=True)], TIMEOUT)[wanted.id]
        assert (again.attempts, again.first_started_at) == (1, first.first_started_at)
        later = claim.start(connection, worker, [wanted], 0.0)[wanted.id]
        assert (later.attempts, later.first_started_at) == (2, first.first_started_at)
    assert first.started_at < again.started_at < later.started_at


def test_message_is_started_only_under_the_lease_and_where_it_still_is(outbox: Outbox) -> None:
    for name in ("ann", "bob", "cid", "dan"):
        outbox.waiting_message(f"{name}@x.io")
    worker, other = outbox.worker(), outbox.worker()
    lanes = outbox.claim(worker)
    assert outbox.start(other, *lanes) == {}
    gone, moved, leased, fine = lanes
    with outbox.engine.begin() as connection:
        connection.execute(text("DELETE FROM messages WHERE id = :id"), {"id": gone.messages[0].id})
        connection.execute(
            text("UPDATE messages SET profile_id = :kept WHERE id = :id"),
            {"kept": fine.profile_id, "id": moved.messages[0].id},
        )
        connection.execute(
            text("UPDATE lanes SET worker_id = :other WHERE profile_id = :profile"),
            {"other": other, "profile": leased.profile_id},
        )
    assert set(outbox.start(worker, *lanes)) == {fine.messages[0].id}


def test_identify_that_is_just_replaced_is_neither_started_nor_waited_for(outbox: Outbox) -> None:
    outbox.waiting_message("ann@x.io")
    outbox.waiting_message("bob@x.io")
    worker = outbox.worker()
    ann, bob = outbox.claim(worker)
    with outbox.engine.begin() as replacing:
        replacing.execute(text("DELETE FROM messages WHERE id = :id"), {"id": ann.messages[0].id})
        assert set(outbox.start(worker, ann, bob)) == {bob.messages[0].id}


def test_worker_that_was_taken_over_claims_and_starts_nothing(outbox: Outbox) -> None:
    outbox.waiting_message()
    worker = outbox.worker()
    (lane,) = outbox.claim(worker)
    outbox.kill(worker)
    with outbox.engine.begin() as connection:
        workers.reclaim(connection, TIMEOUT)
    assert outbox.start(worker, lane) == {}
    assert outbox.claim(worker) == []


def test_claim_reads_its_index_in_order_whatever_waits(outbox: Outbox) -> None:
    outbox.many_waiting(20_000)
    with outbox.engine.begin() as connection:
        connection.execute(
            text("UPDATE lanes SET due_at = clock_timestamp() + interval '1 hour' WHERE profile_id % 2 = 0")
        )
        connection.execute(text("ANALYZE lanes"))
        plan = _plan(connection, outbox.destination, outbox.worker())
    assert "Index Scan using ix_lanes_claim" in plan
    assert "Sort" not in plan
    assert "Seq Scan on lanes" not in plan


def test_two_million_lanes_would_not_be_read_to_claim_fifty(outbox: Outbox) -> None:
    outbox.many_waiting(20_000)
    with outbox.engine.begin() as connection:
        before = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        assert len(claim.claim(connection, outbox.destination, outbox.worker(), 50)) == 50
        after = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    assert after - before < timedelta(seconds=1)


def _plan(connection: Connection, destination: int, worker: int) -> str:
    given = {"destination": destination, "worker": worker, "priority": 1, "limit": 50, "is_probe": False}
    rows = connection.execute(text("EXPLAIN " + claim._LEASE.text), given)
    return "\n".join(row[0] for row in rows)
