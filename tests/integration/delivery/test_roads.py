"""Which messages go one by one and which in bulk, and that a person keeps to a road for five minutes."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from engage_sync.outbox import merges
from engage_sync.outbox.enqueue import Priority
from engage_sync.sandbox.options import BULK_UPDATE, EVENTS_TRACK, TRACK_BULK, USERS_UPDATE
from tests.factories.outbox import Outbox
from tests.integration.delivery.bulk import MANY, deliver, deliverer, first_push, paths, roads, unlimited
from tests.integration.delivery.test_deliverer import eventually, left


def test_first_push_goes_in_bulk(outbox: Outbox) -> None:
    first_push(outbox, 2_300)
    with unlimited() as sandbox:
        report = deliver(outbox, sandbox)
        assert (report.delivered, report.failed, report.retried) == (2_300, 0, 0)
        assert len(sandbox.users()) == 2_300
        assert set(paths(sandbox)) == {BULK_UPDATE}
        sizes = [len(request["body"]["users"]) for request in sandbox.requests()]
        assert sum(sizes) == 2_300
        assert max(sizes) <= 1_000
        assert len(sizes) <= 12
    assert outbox.rows("SELECT count(*) FROM told WHERE confirmed = 'true' AND enqueued IS NULL") == [(2_300,)]
    assert outbox.rows("SELECT DISTINCT in_bulk, attempts FROM delivered") == [(True, 1)]
    assert left(outbox) == [0, 0, 0]


def test_short_first_push_goes_one_by_one_as_that_takes_no_second(outbox: Outbox) -> None:
    first_push(outbox, 30)
    with unlimited() as sandbox:
        assert deliver(outbox, sandbox).delivered == 30
        assert paths(sandbox) == {USERS_UPDATE: 30}
    assert outbox.rows("SELECT DISTINCT in_bulk FROM delivered") == [(False,)]


def test_what_somebody_waits_for_goes_by_itself_during_a_first_push(outbox: Outbox) -> None:
    first_push(outbox, 3_000)
    with unlimited() as sandbox:

        async def run() -> None:
            stop = asyncio.Event()
            running = asyncio.create_task(deliverer(outbox, sandbox, identify_bulk=2).run(stop))
            await eventually(lambda: len(sandbox.requests()) >= 1)
            await asyncio.to_thread(outbox.waiting_message, "now@x.io", priority=Priority.REALTIME)
            await eventually(lambda: sandbox.user("now@x.io") is not None)
            assert outbox.count("messages") > 0
            stop.set()
            await running

        asyncio.run(run())
        assert roads(sandbox)["now@x.io"] == [USERS_UPDATE]
        assert paths(sandbox)[BULK_UPDATE] >= 1


@pytest.mark.parametrize("priority", [Priority.TICK, Priority.REALTIME])
def test_long_line_goes_in_bulk_and_a_short_one_does_not(outbox: Outbox, priority: Priority) -> None:
    outbox.many_waiting(MANY, priority=priority)
    with unlimited() as sandbox:
        # At 500 a second they would be through in little over a second; at 50 in twelve.
        assert deliver(outbox, sandbox).delivered == MANY
        assert set(paths(sandbox)) == {USERS_UPDATE}
    with outbox.engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE delivered, profiles, identities, told CASCADE")
    outbox.many_waiting(MANY, priority=priority)
    with unlimited() as sandbox:
        assert deliver(outbox, sandbox, identify=50).delivered == MANY
        assert paths(sandbox)[BULK_UPDATE] >= 1
        assert paths(sandbox)[USERS_UPDATE] < MANY / 2


def test_never_is_never(outbox: Outbox) -> None:
    first_push(outbox)
    with unlimited() as sandbox:
        assert deliver(outbox, sandbox, "never").delivered == MANY
        assert paths(sandbox) == {USERS_UPDATE: MANY}


def test_always_is_always_also_for_one(outbox: Outbox) -> None:
    outbox.waiting_message("ann@x.io", priority=Priority.REALTIME)
    outbox.waiting_message("ann@x.io", priority=Priority.REALTIME, call_type="track")
    with unlimited() as sandbox:
        assert deliver(outbox, sandbox, "always").delivered == 2
        assert paths(sandbox) == {BULK_UPDATE: 1, TRACK_BULK: 1}
        assert [event["eventName"] for event in sandbox.events()] == ["Audience Entered"]


def test_events_go_in_bulk_too_after_the_answer_to_the_identify(outbox: Outbox) -> None:
    for number in range(20):
        outbox.waiting_message(f"p{number}@x.io")
        outbox.waiting_message(f"p{number}@x.io", call_type="track")
        outbox.waiting_message(f"p{number}@x.io", value=False)
    with unlimited() as sandbox:
        assert deliver(outbox, sandbox, "always").delivered == 60
        requests = sandbox.requests()
        assert roads(sandbox) == {f"p{number}@x.io": [BULK_UPDATE, TRACK_BULK, BULK_UPDATE] for number in range(20)}
        assert all(user["dataFields"]["buyers"] is False for user in sandbox.users())
    for number in range(20):
        own = [request for request in requests if f"p{number}@x.io" in str(request["body"])]
        assert all(before["finished"] < after["monotonic"] for before, after in itertools.pairwise(own))


def test_who_was_just_sent_something_by_itself_keeps_to_that_in_a_first_push(outbox: Outbox) -> None:
    emails = first_push(outbox)
    with outbox.engine.begin() as connection:
        # What was delivered to one of them a minute ago, one by one.
        connection.exec_driver_sql(
            """
            INSERT INTO delivered (id, delivered_at, destination_id, profile_id, definition_id, definition_version,
                                   run_id, identity_type, identity_value, call_type, value, told_version, as_of,
                                   enqueued_at, attempts, in_bulk)
            SELECT 0, now() - minutes.ago, destination_id, profile_id, definition_id, 1, 1, 'email', identity_value,
                   call_type, value, 0, as_of, now(), 1, false
            FROM messages JOIN (VALUES (1, interval '1 minute'), (2, interval '4 minutes'), (3, interval '6 minutes'))
              AS minutes (place, ago) ON messages.id = (SELECT min(id) - 1 FROM messages) + minutes.place
            """
        )
    with unlimited() as sandbox:
        assert deliver(outbox, sandbox).delivered == MANY
        found = roads(sandbox)
    assert [found[email] for email in emails[:4]] == [[USERS_UPDATE], [USERS_UPDATE], [BULK_UPDATE], [BULK_UPDATE]]


def test_who_was_just_sent_something_in_bulk_keeps_to_that_for_five_minutes(outbox: Outbox) -> None:
    emails = first_push(outbox)
    with unlimited() as sandbox:
        deliver(outbox, sandbox)
        outbox.waiting_message(emails[0], value=False, priority=Priority.REALTIME)
        outbox.waiting_message("stranger@x.io", priority=Priority.REALTIME)
        deliver(outbox, sandbox)
        _let_minutes_pass(outbox, 4)
        outbox.waiting_message(emails[1], value=False, priority=Priority.REALTIME)
        deliver(outbox, sandbox)
        # What was sent to her in between keeps her to the road for longer.
        _let_minutes_pass(outbox, 2)
        for email in emails[:3]:
            outbox.waiting_message(email, value=True, priority=Priority.REALTIME)
        deliver(outbox, sandbox)
        found = roads(sandbox)
    assert found["stranger@x.io"] == [USERS_UPDATE]
    assert found[emails[0]] == [BULK_UPDATE, BULK_UPDATE, USERS_UPDATE]
    assert found[emails[1]] == [BULK_UPDATE, BULK_UPDATE, BULK_UPDATE]
    assert found[emails[2]] == [BULK_UPDATE, USERS_UPDATE]


def test_event_keeps_to_the_road_of_the_identify(outbox: Outbox) -> None:
    emails = first_push(outbox)
    with unlimited() as sandbox:
        deliver(outbox, sandbox)
        outbox.waiting_message(emails[0], call_type="track", priority=Priority.REALTIME)
        outbox.waiting_message("stranger@x.io", call_type="track", priority=Priority.REALTIME)
        deliver(outbox, sandbox)
        assert roads(sandbox)[emails[0]] == [BULK_UPDATE, TRACK_BULK]
        assert roads(sandbox)["stranger@x.io"] == [EVENTS_TRACK]


def test_person_who_was_merged_keeps_to_the_road(outbox: Outbox) -> None:
    emails = first_push(outbox)
    with unlimited() as sandbox:
        deliver(outbox, sandbox)
        with outbox.engine.begin() as connection:
            lost = outbox.profile(connection, emails[0])
            kept = outbox.profile(connection, "kept@x.io")
            merges.move(connection, [(lost, kept)])
        outbox.waiting_message("kept@x.io", priority=Priority.REALTIME)
        deliver(outbox, sandbox)
        assert roads(sandbox)["kept@x.io"] == [BULK_UPDATE]


def test_message_that_is_tried_again_goes_the_way_it_went(outbox: Outbox) -> None:
    emails = first_push(outbox)
    with unlimited() as sandbox:
        sandbox.add_faults({"path": BULK_UPDATE, "kind": "status", "status": 503, "times": 1})
        report = deliver(outbox, sandbox)
        assert (report.delivered, report.failed) == (MANY, 0)
        assert report.retried >= 200
        assert set(paths(sandbox)) == {BULK_UPDATE}
        assert set(roads(sandbox)) == set(emails)


def _let_minutes_pass(outbox: Outbox, minutes: int) -> None:
    with outbox.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE delivered SET delivered_at = delivered_at - %(minutes)s * interval '1 minute'", {"minutes": minutes}
        )
