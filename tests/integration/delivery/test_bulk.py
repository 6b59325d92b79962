"""Bulk requests over real HTTP: what is true of each message that shares one."""

from __future__ import annotations

import asyncio
import bisect
import itertools
from typing import Any

import pytest

from engage_sync.outbox import claim, outages
from engage_sync.outbox.claim import Wanted
from engage_sync.outbox.enqueue import Priority
from engage_sync.sandbox import leaving
from engage_sync.sandbox.options import BULK_UPDATE, TRACK_BULK, Options
from engage_sync.sandbox.server import SandboxServer
from engage_sync.settings import Settings
from tests.factories.http import PlainBulk, Recorded, Server, serving
from tests.factories.outbox import TIMEOUT, Outbox
from tests.integration.delivery.bulk import MANY, deliver, deliverer, entries, first_push, roads, unlimited
from tests.integration.delivery.test_deliverer import deliverer as plain_deliverer
from tests.integration.delivery.test_deliverer import eventually, left, until_empty

FAST = {"identify": 1000.0, "track": 1000.0, "bulk": 100.0}


def test_entry_that_failed_is_a_dead_letter_alone_with_its_reason(outbox: Outbox) -> None:
    emails = first_push(outbox)
    with unlimited() as sandbox:
        sandbox.in_project(lambda project: leaving.forget(project, {"email": emails[7]}, 0))
        report = deliver(outbox, sandbox)
        assert (report.delivered, report.failed, report.retried) == (MANY - 1, 1, 0)
        assert len(sandbox.users()) == MANY - 1
        assert set(map(len, roads(sandbox).values())) == {1}
    ((email, reason, request, answer),) = outbox.rows(
        "SELECT identity_value, reason, request, answer FROM dead_letters"
    )
    assert (email, reason) == (emails[7], "200 forgottenEmails: the user with this email was forgotten")
    assert request["path"] == BULK_UPDATE
    assert [entry["email"] for entry in request["body"]["users"]] == [emails[7]]
    # The answer speaks of others too.
    assert answer is None
    assert outbox.rows("SELECT confirmed, count(*) FROM told GROUP BY 1 ORDER BY 2") == [(None, 1), (True, MANY - 1)]
    assert left(outbox) == [0, 0, 0]


def test_entry_of_a_wrong_type_is_found_by_halves_and_the_others_arrive(outbox: Outbox) -> None:
    emails = first_push(outbox)
    bad = emails[MANY // 3]
    with outbox.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE messages SET value = '\"yes\"' WHERE identity_value = %(email)s", {"email": bad}
        )
    with unlimited() as sandbox:
        report = deliver(outbox, sandbox)
        assert (report.delivered, report.failed, report.retried) == (MANY - 1, 1, 0)
        assert len(sandbox.users()) == MANY - 1
        refused = [request for request in sandbox.requests() if request["status"] == 400]
        assert [entry["email"] for entry in entries(refused[-1])] == [bad]
        assert len(refused) <= 11
    ((email, reason, attempts),) = outbox.rows("SELECT identity_value, reason, attempts FROM dead_letters")
    assert (email, attempts) == (bad, 1)
    assert reason.startswith("400 RequestFieldsTypesMismatched")
    assert outbox.rows("SELECT DISTINCT attempts, in_bulk FROM delivered") == [(1, True)]


@pytest.mark.parametrize("status", [400, 408, 409, 413])
def test_request_that_is_refused_as_a_whole_is_sent_in_halves(outbox: Outbox, status: int) -> None:
    emails = first_push(outbox)
    with unlimited() as sandbox:
        sandbox.add_faults({"path": BULK_UPDATE, "kind": "status", "status": status, "times": 1})
        report = deliver(outbox, sandbox)
        assert (report.delivered, report.failed, report.retried) == (MANY, 0, 0)
        whole, *sizes = [len(entries(request)) for request in sandbox.requests()]
        assert sum(sizes) == MANY
        assert {whole // 2, whole - whole // 2} <= set(sizes)
        assert {user["email"] for user in sandbox.users()} == set(emails)


def test_when_every_entry_is_wrong_the_destination_is_held_after_few(outbox: Outbox) -> None:
    first_push(outbox)
    with unlimited() as sandbox:
        sandbox.add_faults({"path": BULK_UPDATE, "kind": "status", "status": 400})
        report = deliver(outbox, sandbox, identify_bulk=100)
        assert (report.delivered, report.failed, report.waiting) == (0, 0, MANY)
        # Ten to the first one that stands alone, and then about two for each.
        assert len(sandbox.requests()) < 350
    with outbox.engine.begin() as connection:
        (outage,) = outages.current(connection)
    assert outage.reason.startswith("50 people in a row were refused; the last one: 400")
    # Something of them may have arrived, so nothing of them is taken back.
    assert outbox.rows("SELECT count(*) FROM messages WHERE attempts = 0 AND started_at IS NOT NULL") == [(0,)]


def test_fifty_failures_among_deliveries_hold_nothing(outbox: Outbox) -> None:
    emails = first_push(outbox)
    with unlimited() as sandbox:
        for email in emails[:70]:
            sandbox.in_project(lambda project, email=email: leaving.forget(project, {"email": email}, 0))
        report = deliver(outbox, sandbox)
        assert (report.delivered, report.failed) == (MANY - 70, 70)
    assert outbox.count("outages") == 0


def test_refused_key_pauses_and_blames_none_of_them(outbox: Outbox) -> None:
    first_push(outbox)
    with unlimited() as sandbox:
        sandbox.add_faults({"path": BULK_UPDATE, "kind": "status", "status": 401})
        report = deliver(outbox, sandbox)
        assert (report.delivered, report.failed, report.waiting) == (0, 0, MANY)
    assert outbox.rows("SELECT DISTINCT attempts, started_at, in_bulk FROM messages") == [(0, None, None)]
    assert outbox.rows("SELECT count(*) FROM destinations WHERE paused_at IS NOT NULL") == [(1,)]


@pytest.mark.parametrize("status", [429, 503])
def test_trouble_is_everybody_s_and_tried_again(outbox: Outbox, status: int) -> None:
    emails = first_push(outbox)
    with unlimited() as sandbox:
        fault = {"path": BULK_UPDATE, "kind": "status", "status": status, "headers": {"Retry-After": "1"}, "times": 1}
        sandbox.add_faults(fault)
        report = deliver(outbox, sandbox)
        first, *later = sandbox.requests()
        assert (report.delivered, report.failed) == (MANY, 0)
        assert report.retried == len(entries(first))
        again = {entry["email"] for entry in entries(first)}
        when = [request["monotonic"] for request in later for entry in entries(request) if entry["email"] in again]
        assert min(when) - first["finished"] >= 1
        assert set(roads(sandbox)) == set(emails)


def test_lost_answer_leaves_all_unknown_until_their_time_is_over(outbox: Outbox) -> None:
    first_push(outbox)
    with unlimited() as sandbox:
        sandbox.add_faults({"path": BULK_UPDATE, "kind": "lost", "times": 1})
        report = deliver(outbox, sandbox, settings=Settings(request_timeout=2.5))
        first, *later = sandbox.requests()
        lost = {entry["email"] for entry in entries(first)}
        assert (report.delivered, report.retried, report.failed) == (MANY, len(lost), 0)
        when = [request["monotonic"] for request in later for entry in entries(request) if entry["email"] in lost]
        assert len(when) == len(lost)
        assert min(when) - first["monotonic"] >= 2.4
        assert len(sandbox.users()) == MANY


def test_events_of_a_lost_answer_are_not_doubled(outbox: Outbox) -> None:
    for number in range(8):
        outbox.waiting_message(f"p{number}@x.io", call_type="track")
    with unlimited() as sandbox:
        sandbox.add_faults({"path": TRACK_BULK, "kind": "lost", "times": 1})
        assert deliver(outbox, sandbox, "always", settings=Settings(request_timeout=1.0)).delivered == 8
        assert len(sandbox.events()) == 8
        assert sandbox.summary()["repeats"] == 8


def test_batch_of_a_dead_worker_waits_for_its_time_all_of_it(outbox: Outbox) -> None:
    """Four were started, two weren't: those go at once, the others when nothing of the old request can arrive."""
    for number in range(6):
        outbox.waiting_message(f"p{number}@x.io")
    dead = outbox.worker()
    lanes = outbox.claim(dead)
    with outbox.engine.begin() as connection:
        wanted = [Wanted(lane.messages[0].id, lane.profile_id) for lane in lanes[:4]]
        started = claim.start(connection, dead, wanted, TIMEOUT, in_bulk=True)
    assert len(started) == 4
    outbox.kill(dead)
    with unlimited() as sandbox:
        assert deliver(outbox, sandbox, settings=Settings(request_timeout=5.0)).delivered == 6
        # A long line is not needed: what went in bulk stays there.
        found = roads(sandbox)
    batch = {lane.messages[0].identity_value for lane in lanes[:4]}
    assert {email for email, paths in found.items() if paths == [BULK_UPDATE]} == batch
    ((waited,),) = outbox.rows(
        "SELECT bool_and(delivered_at - CAST(:started AS timestamptz) >= interval '5 seconds') FROM delivered"
        " WHERE in_bulk",
        started=next(iter(started.values())).started_at,
    )
    assert waited
    assert outbox.rows("SELECT in_bulk, attempts, count(*) FROM delivered GROUP BY 1, 2 ORDER BY 1") == [
        (False, 1, 2),
        (True, 2, 4),
    ]


def test_all_of_a_request_are_started_before_it_is_sent(outbox: Outbox) -> None:
    outbox.many_waiting(40, messages=2)
    server = Server()
    unstarted: list[int] = []

    def answer(now: Recorded) -> tuple[int, str]:
        for entry in now.body["entries"]:
            ((count,),) = outbox.rows(
                "SELECT count(*) FROM messages WHERE identity_value = :email AND started_at IS NOT NULL AND in_bulk",
                email=entry["traits"]["email"],
            )
            unstarted.append(1 - count)
        return (200, "")

    server.answer = answer
    assert until_empty(outbox, server, bulk=PlainBulk(), budgets=FAST).delivered == 80
    assert unstarted == [0] * 80


def test_each_person_has_one_message_under_way_and_in_order(outbox: Outbox) -> None:
    outbox.many_waiting(12, messages=6)
    server = Server(delay=0.02)
    assert until_empty(outbox, server, bulk=PlainBulk(), budgets=FAST).delivered == 72
    own: dict[str, list[tuple[Recorded, Any]]] = {}
    for request in server.requests:
        assert len(request.body["entries"]) <= 5
        for entry in request.body["entries"]:
            own.setdefault(entry["traits"]["email"], []).append((request, entry["traits"]["buyers"]))
    assert len(own) == 12
    for told in own.values():
        assert [value for _, value in told] == [True, False] * 3
        assert all(before.until <= after.at for (before, _), (after, _) in itertools.pairwise(told))


def test_refused_entry_lets_the_person_s_next_message_go(outbox: Outbox) -> None:
    outbox.many_waiting(4, messages=2)
    server = Server()
    server.answer = lambda _: (200, "[1]" if len(server.requests) == 1 else "")
    report = until_empty(outbox, server, bulk=PlainBulk(), budgets=FAST)
    assert (report.delivered, report.failed) == (7, 1)
    assert outbox.rows("SELECT reason, value FROM dead_letters") == [("refused", True)]


def test_two_workers_together_hold_the_rate_of_the_bulk_budget(outbox: Outbox) -> None:
    rate = 40.0
    outbox.many_waiting(900)
    server = Server()
    budgets = {"identify": 1000.0, "track": 1000.0, "bulk": rate}

    async def run() -> None:
        stop = asyncio.Event()
        async with serving(server):
            workers = [
                asyncio.create_task(plain_deliverer(outbox, server, bulk=PlainBulk(), budgets=budgets).run(stop))
                for _ in range(2)
            ]
            await eventually(lambda: outbox.count("messages") == 0, 60)
            stop.set()
            await asyncio.gather(*workers)

    asyncio.run(run())
    times = [request.at for request in server.requests]
    worst = max(bisect.bisect_left(times, moment + 1.0) - number for number, moment in enumerate(times))
    assert worst <= rate * 1.03
    assert sum(len(request.body["entries"]) for request in server.requests) == 900
    assert {request.path for request in server.requests} == {"/bulk"}


def test_iterable_s_own_bulk_rate_is_held(outbox: Outbox) -> None:
    first_push(outbox, 5_000)
    with SandboxServer(Options()) as sandbox:
        report = deliver(outbox, sandbox)
        assert (report.delivered, report.failed, report.retried) == (5_000, 0, 0)
        assert sandbox.summary()["requests"][BULK_UPDATE].keys() == {"200"}


def test_stop_settles_the_requests_under_way_and_gives_the_rest_back(outbox: Outbox) -> None:
    first_push(outbox, 4_000)
    with unlimited() as sandbox:

        async def run() -> None:
            stop = asyncio.Event()
            running = asyncio.create_task(deliverer(outbox, sandbox, identify_bulk=4).run(stop))
            await eventually(lambda: len(sandbox.users()) > 0)
            stop.set()
            await asyncio.wait_for(running, 15)

        asyncio.run(run())
        sent = len(sandbox.users())
        assert 0 < sent < 4_000
        assert outbox.count("delivered") == sent
        assert outbox.count("messages") == 4_000 - sent
        assert outbox.rows("SELECT count(*) FROM messages WHERE started_at IS NOT NULL OR attempts > 0") == [(0,)]
        assert deliver(outbox, sandbox).delivered == 4_000 - sent
        assert set(map(len, roads(sandbox).values())) == {1}


def test_storm_of_faults_loses_doubles_and_reorders_nothing_over_both_roads(outbox: Outbox) -> None:
    """A first push in bulk, and over it what people do meanwhile: each is told everything, in order."""
    emails = first_push(outbox)
    for email in emails[:40]:
        outbox.waiting_message(email, value=False, priority=Priority.REALTIME)
        outbox.waiting_message(email, value=True, priority=Priority.REALTIME)
        outbox.waiting_message(email, call_type="track", priority=Priority.REALTIME)
    with unlimited() as sandbox:
        sandbox.add_faults(
            {"path": "*", "kind": "status", "status": 503, "probability": 0.1, "times": 6},
            {"path": "*", "kind": "status", "status": 413, "probability": 0.1, "times": 4, "match": {}},
            {"path": BULK_UPDATE, "kind": "reset", "probability": 0.2, "times": 2},
            {"path": BULK_UPDATE, "kind": "lost", "probability": 0.3, "times": 3},
        )
        report = deliver(outbox, sandbox, settings=Settings(request_timeout=1.5))
        assert report.delivered + report.failed == MANY + 120
        acted = [request for request in sandbox.requests() if request["acted"]]
        events = len(sandbox.events())
    failed = outbox.rows("SELECT identity_value, call_type FROM dead_letters")
    # A single request that is too large is one that will never do.
    assert events == 40 - sum(call_type == "track" for _, call_type in failed)
    unhurt = set(emails[:40]) - {email for email, _ in failed}
    for email in unhurt:
        told = [
            entry["dataFields"]["buyers"]
            for request in acted
            for entry in entries(request)
            if entry["email"] == email and "eventName" not in entry
        ]
        # A repeated one comes before anything newer.
        assert [value for value, _ in itertools.groupby(told)] == [True, False, True]
