from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from engage_sync.delivery.deliverer import Deliverer
from engage_sync.delivery.report import Report
from engage_sync.destinations.protocol import Refused, Request, Skipped
from engage_sync.outbox import destinations_table
from engage_sync.outbox.enqueue import Priority
from engage_sync.settings import Settings
from tests.factories.http import KEY, PlainDestination, Recorded, Server, serving
from tests.factories.outbox import Outbox

Answers = Callable[[Recorded], tuple[int, str] | None]


def deliverer(outbox: Outbox, *servers: Server, settings: Settings | None = None, **options: Any) -> Deliverer:
    """One that sends to each server as a destination; the first is called iterable, the others by their number."""
    destinations = {}
    for number, server in enumerate(servers):
        slug = "iterable" if number == 0 else f"other{number}"
        destinations[slug] = PlainDestination(base_url=server.url, slug=slug, **options)
    return Deliverer(outbox.engine, destinations, settings or Settings(), direct_url=outbox.url)


def until_empty(outbox: Outbox, server: Server, **options: Any) -> Report:
    async def run() -> Report:
        async with serving(server):
            return await deliverer(outbox, server, **options).run_until_empty()

    return asyncio.run(run())


def once(outbox: Outbox, server: Server, **options: Any) -> Report:
    async def run() -> Report:
        async with serving(server):
            return await deliverer(outbox, server, **options).run_once()

    return asyncio.run(run())


def with_running(server: Server, made: Deliverer, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Act while the deliverer runs, then stop it."""

    async def run() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(made.run(stop))
        try:
            await act()
        finally:
            stop.set()
            await asyncio.wait_for(running, 20)

    asyncio.run(run())


async def eventually(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - nothing tells when a table or a server is as expected
            await asyncio.sleep(0.005)


def left(outbox: Outbox) -> list[int]:
    return [outbox.count(table) for table in ("messages", "lanes", "workers")]


def test_message_is_delivered_and_confirmed(outbox: Outbox) -> None:
    outbox.waiting_message("ann@x.io", value=True)
    outbox.waiting_message("ann@x.io", value=True, call_type="track")
    server = Server()
    report = until_empty(outbox, server)
    assert (report.delivered, report.failed, report.waiting) == (2, 0, 0)
    assert report.by_key["buyers"].delivered == 2
    assert [request.path for request in server.requests] == ["/identify", "/track"]
    assert outbox.told() == [("ann@x.io", "identify", 1, None, True, 1), ("ann@x.io", "track", 1, None, True, 1)]
    assert left(outbox) == [0, 0, 0]
    assert outbox.count("delivered") == 2


def test_nothing_to_do_is_done_at_once(outbox: Outbox) -> None:
    assert until_empty(outbox, Server()) == Report()


def test_each_person_s_messages_go_in_order_one_at_a_time_and_people_side_by_side(outbox: Outbox) -> None:
    outbox.many_waiting(12, messages=6)
    server = Server(delay=0.01)
    most = 0

    def answer(_: Recorded) -> tuple[int, str]:
        nonlocal most
        most = max(most, server.in_flight)
        return (200, "")

    server.answer = answer
    assert until_empty(outbox, server).delivered == 72
    assert most > 4
    for email in {request.email for request in server.requests}:
        own = [request for request in server.requests if request.email == email]
        assert [request.body["traits"]["buyers"] for request in own] == [True, False] * 3
        assert all(before.until <= after.at for before, after in itertools.pairwise(own))


def test_next_message_starts_only_when_the_one_before_is_settled(outbox: Outbox) -> None:
    """Else a crash between the two would send the older one again, behind the newer."""
    outbox.many_waiting(3, messages=4)
    server = Server()
    unsettled = []

    def answer(now: Recorded) -> tuple[int, str]:
        before = sum(request.email == now.email for request in server.requests) - 1
        ((settled,),) = outbox.rows("SELECT count(*) FROM delivered WHERE identity_value = :email", email=now.email)
        unsettled.append(before - settled)
        return (200, "")

    server.answer = answer
    assert until_empty(outbox, server).delivered == 12
    assert unsettled == [0] * 12


def test_more_messages_than_a_lane_loads_are_all_delivered_in_order(outbox: Outbox) -> None:
    outbox.many_waiting(1, messages=50)
    server = Server()
    assert until_empty(outbox, server).delivered == 50
    assert [request.body["traits"]["buyers"] for request in server.requests] == [True, False] * 25


def test_failing_message_is_retried_and_the_next_one_waits_behind_it(outbox: Outbox) -> None:
    outbox.many_waiting(1, messages=2)
    server = Server()
    server.answer = lambda _: (503, "down") if len(server.requests) == 1 else (200, "")
    report = until_empty(outbox, server)
    assert (report.delivered, report.retried, report.failed) == (2, 1, 0)
    assert [request.body["traits"]["buyers"] for request in server.requests] == [True, True, False]
    assert server.ids[0] == server.ids[1]
    assert 0.45 < server.requests[1].at - server.requests[0].at < 5
    assert outbox.rows("SELECT attempts FROM delivered ORDER BY id") == [(2,), (1,)]


def test_wish_of_the_destination_is_respected(outbox: Outbox) -> None:
    outbox.waiting_message()
    server = Server(headers={"Retry-After": "2"})
    server.answer = lambda _: (429, "slow down") if len(server.requests) == 1 else (200, "")
    assert until_empty(outbox, server).delivered == 1
    assert server.requests[1].at - server.requests[0].at >= 2


def test_message_that_keeps_failing_becomes_a_dead_letter(outbox: Outbox) -> None:
    outbox.waiting_message()
    report = until_empty(outbox, Server(answer=lambda _: (500, "down")), settings=Settings(retry_for=1.0))
    assert (report.delivered, report.failed) == (0, 1)
    ((reason, request),) = outbox.rows("SELECT reason, request FROM dead_letters")
    assert reason.startswith("gave up after")
    assert (request["method"], request["path"]) == ("POST", "/identify")


def test_rejected_message_is_a_dead_letter_and_the_next_one_goes(outbox: Outbox) -> None:
    outbox.many_waiting(1, messages=2)
    server = Server()
    server.answer = lambda _: (400, f"bad {KEY}") if len(server.requests) == 1 else (200, "")
    report = until_empty(outbox, server)
    assert (report.delivered, report.failed) == (1, 1)
    assert outbox.rows("SELECT reason, answer FROM dead_letters") == [("bad [removed]", b"bad [removed]")]
    assert [row[3:5] for row in outbox.told()] == [(None, False)]


def test_what_is_refused_or_skipped_before_sending(outbox: Outbox) -> None:
    outbox.waiting_message("ann@x.io")
    outbox.waiting_message("ann@x.io", call_type="track")
    outbox.waiting_message("ann@x.io", value=False)

    def requests_of(call: Any) -> tuple[Request, ...] | Skipped | Refused:
        if call["type"] == "track":
            return Skipped(reason="no events")
        if call["traits"]["buyers"]:
            return Refused(reason="must be false", field="traits.buyers")
        return (Request(method="POST", path="/identify", body=dict(call), budget="identify"),)

    server = Server()
    report = until_empty(outbox, server, requests_of=requests_of)
    assert (report.delivered, report.skipped, report.failed) == (1, 1, 1)
    assert outbox.rows("SELECT reason FROM dead_letters") == [("must be false (traits.buyers)",)]
    assert len(server.requests) == 1


def test_requests_of_one_message_go_in_order_and_all_again_after_a_failure(outbox: Outbox) -> None:
    outbox.waiting_message("ann@x.io")

    def requests_of(call: Any) -> tuple[Request, ...]:
        return (
            Request(method="POST", path="/first", body=dict(call), budget="identify"),
            Request(method="POST", path="/second", body=dict(call), budget="track"),
        )

    server = Server()
    server.answer = lambda _: (503, "") if len(server.requests) == 2 else (200, "")
    report = until_empty(outbox, server, requests_of=requests_of)
    assert (report.delivered, report.retried) == (1, 1)
    assert [request.path for request in server.requests] == ["/first", "/second", "/first", "/second"]


def test_refused_key_pauses_the_destination_and_blames_no_message(outbox: Outbox) -> None:
    outbox.many_waiting(5)
    server = Server(answer=lambda _: (401, f"the key {KEY} is unknown"))
    report = until_empty(outbox, server)
    assert (report.delivered, report.failed, report.waiting) == (0, 0, 5)
    with outbox.engine.begin() as connection:
        (paused,) = destinations_table.paused(connection)
        assert paused.reason == "the key [removed] is unknown"
        destinations_table.resume(connection, "iterable")
    assert outbox.rows("SELECT DISTINCT attempts, started_at FROM messages") == [(0, None)]
    assert left(outbox) == [5, 5, 0]
    assert until_empty(outbox, Server()).delivered == 5


def test_lost_answer_is_retried_only_when_its_time_is_over(outbox: Outbox) -> None:
    outbox.waiting_message()
    server = Server()
    server.answer = lambda _: None if len(server.requests) == 1 else (200, "")
    assert until_empty(outbox, server, settings=Settings(request_timeout=2.5)).delivered == 1
    assert server.ids[0] == server.ids[1]
    assert 2.4 < server.requests[1].at - server.requests[0].at < 6


def test_slow_answer_counts_as_none(outbox: Outbox) -> None:
    outbox.waiting_message()
    server = Server(delay=30)

    def hurry(_: Recorded) -> tuple[int, str]:
        return (200, "")

    server.answer = hurry
    report = until_empty(outbox, server, settings=Settings(request_timeout=0.3, retry_for=0.5))
    assert report.failed == 1
    assert outbox.rows("SELECT is_unknown FROM told") == [(True,)]
    ((reason,),) = outbox.rows("SELECT reason FROM dead_letters")
    assert "no answer within" in reason


def test_destination_that_can_t_be_reached_is_tried_again_soon(outbox: Outbox, free_port: int) -> None:
    outbox.waiting_message()
    gone = Server(url=f"http://127.0.0.1:{free_port}")

    async def run() -> Report:
        return await deliverer(outbox, gone).run_once()

    assert asyncio.run(run()).retried == 1
    assert outbox.rows("SELECT started_at, last_error FROM messages") == [
        (None, "no answer: Connection refused (os error 111)")
    ]


def test_hanging_destination_delays_no_other(outbox: Outbox) -> None:
    with outbox.engine.begin() as connection:
        other = destinations_table.ensure(connection, ["other1"])["other1"]
        outbox.enqueue(connection, "ann@x.io")
        for number in range(20):
            outbox.enqueue(connection, f"p{number}@x.io", destination=other)
    hanging, quick = Server(delay=30), Server()

    async def run() -> None:
        stop = asyncio.Event()
        async with serving(hanging), serving(quick):
            made = deliverer(outbox, hanging, quick, settings=Settings(request_timeout=1.0))
            running = asyncio.create_task(made.run(stop))
            await eventually(lambda: len(quick.requests) == 20 and hanging.in_flight == 1)
            stop.set()
            await running

    asyncio.run(run())


def test_new_message_is_sent_at_once_when_idle(outbox: Outbox) -> None:
    server = Server()

    async def run() -> None:
        stop = asyncio.Event()
        async with serving(server):
            running = asyncio.create_task(deliverer(outbox, server).run(stop))
            outbox.waiting_message("warm@x.io")
            await eventually(lambda: len(server.requests) == 1)
            delays = []
            for number in range(10):
                await asyncio.sleep(0.05)
                await asyncio.to_thread(outbox.waiting_message, f"p{number}@x.io", priority=Priority.REALTIME)
                committed = asyncio.get_running_loop().time()
                await eventually(lambda expected=number + 2: len(server.requests) == expected)
                delays.append(server.requests[-1].at - committed)
            stop.set()
            await running
        # Polling would take half a second on average; how fast it is, the benchmarks say.
        assert sorted(delays)[5] < 0.15

    asyncio.run(run())


def test_urgent_message_overtakes_a_first_push(outbox: Outbox) -> None:
    outbox.many_waiting(600, priority=Priority.FIRST_PUSH)
    server = Server()

    async def run() -> None:
        stop = asyncio.Event()
        async with serving(server):
            made = deliverer(outbox, server, budgets={"identify": 100.0, "track": 100.0})
            running = asyncio.create_task(made.run(stop))
            await eventually(lambda: len(server.requests) > 20)
            await asyncio.to_thread(outbox.waiting_message, "now@x.io", priority=Priority.REALTIME)
            before = len(server.requests)
            await eventually(lambda: any(request.email == "now@x.io" for request in server.requests))
            assert len(server.requests) - before < 60
            stop.set()
            await running

    asyncio.run(run())
    assert outbox.count("messages") > 300
    assert outbox.rows("SELECT count(*) FROM lanes WHERE worker_id IS NOT NULL") == [(0,)]


def test_stop_settles_what_is_under_way_and_gives_the_rest_back(outbox: Outbox) -> None:
    outbox.many_waiting(300)
    server = Server(delay=0.05)

    async def run() -> None:
        stop = asyncio.Event()
        async with serving(server):
            running = asyncio.create_task(deliverer(outbox, server, settings=Settings(max_in_flight=8)).run(stop))
            await eventually(lambda: len(server.requests) > 20)
            stop.set()
            await asyncio.wait_for(running, 10)

    asyncio.run(run())
    assert outbox.count("delivered") == len(server.requests)
    assert outbox.rows("SELECT count(*) FROM messages WHERE started_at IS NOT NULL") == [(0,)]
    assert outbox.rows("SELECT count(*) FROM lanes WHERE worker_id IS NULL AND due_at <= clock_timestamp()") == [
        (300 - len(server.requests),)
    ]
    assert outbox.count("workers") == 0
    second = Server()
    assert until_empty(outbox, second).delivered == 300 - len(server.requests)
    assert len({*server.ids, *second.ids}) == 300 == len([*server.ids, *second.ids])


def test_worker_that_loses_its_connection_joins_again_and_goes_on(outbox: Outbox) -> None:
    outbox.many_waiting(200)
    server = Server(delay=0.02)

    async def run() -> None:
        stop = asyncio.Event()
        async with serving(server):
            running = asyncio.create_task(deliverer(outbox, server, settings=Settings(max_in_flight=4)).run(stop))
            await eventually(lambda: len(server.requests) > 10)
            killed = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :name"
            await asyncio.to_thread(outbox.rows, killed, name="engage-sync worker")
            await eventually(lambda: outbox.count("messages") == 0, 40)
            stop.set()
            await running

    asyncio.run(run())
    assert len(server.ids) == len(set(server.ids)) == 200


def test_paused_destination_stops_soon_and_goes_on_when_resumed(outbox: Outbox) -> None:
    outbox.many_waiting(200)
    server = Server()

    async def run() -> None:
        stop = asyncio.Event()
        async with serving(server):
            made = deliverer(outbox, server, budgets={"identify": 100.0, "track": 100.0})
            running = asyncio.create_task(made.run(stop))
            await eventually(lambda: len(server.requests) > 5)
            await asyncio.to_thread(_change, outbox, lambda c: destinations_table.pause(c, "iterable", "by hand"))
            at_pause = len(server.requests)
            await asyncio.sleep(0.5)
            assert len(server.requests) - at_pause < 15
            await asyncio.to_thread(_change, outbox, lambda c: destinations_table.resume(c, "iterable"))
            await eventually(lambda: outbox.count("messages") == 0)
            stop.set()
            await running

    asyncio.run(run())
    assert len(server.ids) == len(set(server.ids)) == 200


def test_identify_that_is_replaced_while_loaded_is_not_sent(outbox: Outbox) -> None:
    outbox.many_waiting(60)
    server = Server()

    async def run() -> None:
        stop = asyncio.Event()
        async with serving(server):
            made = deliverer(outbox, server, budgets={"identify": 50.0, "track": 50.0})
            running = asyncio.create_task(made.run(stop))
            await eventually(lambda: len(server.requests) > 5)
            gone = await asyncio.to_thread(_withdraw_unsent, outbox)
            await eventually(lambda: outbox.count("messages") == 0 and outbox.count("lanes") == 0)
            stop.set()
            await running
            assert not gone & {request.email for request in server.requests}
            assert len(gone) > 20

    asyncio.run(run())


@pytest.mark.parametrize("call_type", ["identify", "track"])
def test_lane_without_messages_is_closed(outbox: Outbox, call_type: str) -> None:
    outbox.waiting_message(call_type=call_type)
    with outbox.engine.begin() as connection:
        connection.execute(text("DELETE FROM messages"))
    assert until_empty(outbox, Server()) == Report()
    assert left(outbox) == [0, 0, 0]


def test_run_once_claims_once(outbox: Outbox) -> None:
    outbox.waiting_message()
    server = Server(answer=lambda _: (503, "down"))
    assert replace(once(outbox, server), by_key={}) == Report(retried=1, waiting=1)
    assert len(server.requests) == 1


def _change(outbox: Outbox, change: Callable[[Any], Any]) -> None:
    with outbox.engine.begin() as connection:
        change(connection)


def _withdraw_unsent(outbox: Outbox) -> set[str]:
    with outbox.engine.begin() as connection:
        return set(
            connection.execute(text("DELETE FROM messages WHERE attempts = 0 RETURNING identity_value")).scalars()
        )
