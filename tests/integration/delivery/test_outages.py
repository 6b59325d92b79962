"""A destination that takes nearly nothing is held, for all workers, and its messages lose neither time nor place."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from engage_sync.delivery import circuit
from engage_sync.delivery.circuit import REFUSED_PEOPLE
from engage_sync.delivery.deliverer import Deliverer
from engage_sync.destinations import registry
from engage_sync.destinations.protocol import Destination
from engage_sync.outbox import calls, claim, lanes, outages, workers
from engage_sync.outbox.calls import NewCall
from engage_sync.outbox.claim import Wanted
from engage_sync.outbox.outages import Kind, Outage
from engage_sync.sandbox.options import USERS_UPDATE, Options
from engage_sync.sandbox.server import SandboxServer
from engage_sync.settings import Settings
from tests.factories.http import Server, serving
from tests.factories.outbox import AS_OF, TIMEOUT, Outbox
from tests.integration.delivery.test_deliverer import deliverer, eventually, until_empty


def current(outbox: Outbox) -> list[Outage]:
    with outbox.engine.begin() as connection:
        return outages.current(connection)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outages are noticed, and probed, within a second."""
    monkeypatch.setattr(circuit, "_NOTHING", ((10, 0.5),))
    monkeypatch.setattr(outages, "FIRST_PAUSE", 0.2)


# --- nothing gets through ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("answer", [(500, "down"), None], ids=["errors", "resets"])
def test_outage_holds_everything_and_ends_by_itself(outbox: Outbox, answer: tuple[int, str] | None) -> None:
    outbox.many_waiting(300)
    is_down = True
    server = Server(answer=lambda _: answer if is_down else (200, ""))

    async def run() -> None:
        nonlocal is_down
        stop = asyncio.Event()
        async with serving(server):
            settings = Settings(retry_for=3600, request_timeout=0.5, max_in_flight=4)
            made = deliverer(outbox, server, settings=settings, budgets={"identify": 50.0, "track": 50.0})
            running = asyncio.create_task(made.run(stop))
            await eventually(lambda: bool(current(outbox)))
            await eventually(lambda: server.in_flight == 0)
            at_opening = len(server.requests)
            await eventually(lambda: current(outbox)[0].probes >= 3)
            # A probe each, and what was under way.
            assert len(server.requests) - at_opening <= 5 + 4
            (outage,) = current(outbox)
            assert (outage.destination, outage.kind) == ("iterable", Kind.FAILING)
            assert "nearly nothing gets through" in outage.reason
            is_down = False
            await eventually(lambda: outbox.count("messages") == 0, 40)
            stop.set()
            await running

    asyncio.run(run())
    assert current(outbox) == []
    assert outbox.count("dead_letters") == 0
    assert outbox.rows("SELECT count(*), count(until) FROM outages") == [(1, 1)]
    assert outbox.count("delivered") == 300 == len(set(server.ids))


def test_held_destination_starts_nothing_but_the_probe(outbox: Outbox) -> None:
    outbox.many_waiting(5)
    worker, other = outbox.worker(), outbox.worker()
    (lane, *_) = outbox.claim(worker, limit=1)
    with outbox.engine.begin() as connection:
        assert outages.begin(connection, outbox.destination, Kind.FAILING, "down", ago=60)
        assert not outages.begin(connection, outbox.destination, Kind.FAILING, "again", ago=0)
    assert outbox.claim(other) == []
    assert outbox.start(worker, lane) == {}
    with outbox.engine.begin() as connection:
        patience = outages.FIRST_PAUSE
        assert outages.take_probe(connection, outbox.destination, patience=patience) is None, "others go first"
    with outbox.engine.begin() as connection:
        assert outages.take_probe(connection, outbox.destination) is Kind.FAILING
        (probe,) = claim.claim(connection, outbox.destination, other, 1, is_probe=True)
    with outbox.engine.begin() as connection:
        assert outages.take_probe(connection, outbox.destination) is None, "one probe for all workers"
        wanted = [Wanted(probe.messages[0].id, probe.profile_id, is_probe=True)]
        assert len(claim.start(connection, other, wanted, TIMEOUT)) == 1
    with outbox.engine.begin() as connection:
        lasted = outages.end(connection, outbox.destination)
        assert lasted is not None
        assert 60 <= lasted < 90
        assert outages.end(connection, outbox.destination) is None
    assert len(outbox.claim(other)) == 3
    assert len(outbox.start(worker, lane)) == 1


def test_without_anything_due_there_is_no_probe_and_the_pause_doesn_t_grow(outbox: Outbox) -> None:
    with outbox.engine.begin() as connection:
        outages.begin(connection, outbox.destination, Kind.FAILING, "down", ago=0)
        outages.hurry(connection)
        assert outages.take_probe(connection, outbox.destination) is None
    assert [outage.probes for outage in current(outbox)] == [0]


def test_time_of_an_outage_doesn_t_count_against_what_it_held(outbox: Outbox) -> None:
    """A day's outage, and an earlier one: of the message's time nothing is used up by them."""
    message = outbox.waiting_message()
    with outbox.engine.begin() as connection:
        given = {"id": message, "destination": outbox.destination}
        connection.execute(
            text("UPDATE messages SET attempts = 3, first_started_at = clock_timestamp() - interval '30 hours'"), given
        )
        connection.execute(
            text(
                """
                INSERT INTO outages (destination_id, since, until, kind, reason, probe_at)
                SELECT :destination, now() - since * interval '1 hour', now() - until * interval '1 hour', 'failing',
                       'down', now()
                FROM (VALUES (99, 98), (31, 27), (25, 1)) AS outage (since, until)
                """
            ),
            given,
        )
    worker = outbox.worker()
    started = outbox.start(worker, *outbox.claim(worker))[message]
    # 30 hours less three of the first and 24 of the last.
    assert 2.99 < (started.started_at - started.first_started_at).total_seconds() / 3600 < 3.01


@pytest.mark.usefixtures("soon")
def test_until_empty_waits_for_an_outage_as_long_as_for_a_message_and_leaves_it_waiting(outbox: Outbox) -> None:
    outbox.many_waiting(30)
    report = until_empty(outbox, Server(answer=lambda _: (503, "down")), settings=Settings(retry_for=4.0))
    assert (report.delivered, report.failed, report.waiting) == (0, 0, 30)
    assert len(current(outbox)) == 1


def test_worker_that_alone_is_cut_off_holds_up_nobody_and_recovers(
    outbox: Outbox, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers, of which one gets no connection until somebody listens where it calls."""
    monkeypatch.setattr(circuit, "_NOTHING", ((10, 1.0),))
    monkeypatch.setattr(outages, "FIRST_PAUSE", 0.2)
    people = 2_000
    outbox.many_waiting(people)

    def in_vain() -> int:
        """How often something was started that wasn't delivered by it."""
        ((started,),) = outbox.rows("SELECT (SELECT coalesce(sum(attempts), 0) FROM messages)"
                                    " + (SELECT coalesce(sum(attempts - 1), 0) FROM delivered)")  # fmt: skip
        return int(started)

    def cut_off() -> list[tuple[str, int]]:
        with outbox.engine.begin() as connection:
            return [(each.destination, each.process) for each in workers.cut_off(connection)]

    async def run(healthy: Deliverer, alone: Deliverer, here: SandboxServer) -> None:
        stop = asyncio.Event()
        both = [asyncio.create_task(each.run(stop)) for each in (healthy, alone)]
        await eventually(lambda: "unreachable_from_here" in events(), 60)
        await eventually(lambda: cut_off() == [("iterable", os.getpid())])
        assert outbox.count("messages") > people / 4
        before = in_vain()
        await eventually(lambda: outbox.count("messages") < 200, 120)
        # It tried with a person now and then, and neither its failures nor its probes held anybody.
        assert in_vain() - before < 30
        # A second one would have met the other with nothing in hand before it had ended the first.
        assert outbox.count("outages") <= 2
        await eventually(lambda: outbox.count("messages") == 0, 60)
        assert len(here.users()) == people
        with SandboxServer(here.options, port=free_port) as there:
            number = 0
            while not there.users():
                number += 1
                outbox.waiting_message(f"later{number}@x.io")
                await asyncio.sleep(0.05)
            await eventually(lambda: "reached_again" in events() and outbox.count("messages") == 0, 60)
            assert len(here.users()) + len(there.users()) == people + number
            await eventually(lambda: cut_off() == [])
            stop.set()
            await asyncio.gather(*both)

    with SandboxServer(Options(rate_limits={USERS_UPDATE: 0})) as here, capture_logs() as logs:

        def events() -> list[str]:
            return [each["event"] for each in logs]

        healthy, alone = (
            Deliverer(outbox.engine, {"iterable": iterable(url)}, Settings(max_in_flight=8), direct_url=outbox.url)
            for url in (here.url, f"http://127.0.0.1:{free_port}")
        )
        asyncio.run(run(healthy, alone, here))
        assert events().count("unreachable_from_here") == events().count("reached_again") == 1
    assert current(outbox) == []
    assert outbox.count("dead_letters") == 0


def iterable(url: str) -> Destination:
    settings = {"api_key": Options().api_key, "base_url": url, "bulk": "never"}
    config = SimpleNamespace(slug="iterable", type="iterable", settings=settings, rate_limits={"identify": 100.0})
    return registry.build(config)  # type: ignore[arg-type]


def test_workers_that_are_all_cut_off_hold_the_destination(outbox: Outbox) -> None:
    """One is told apart from all by what others have in hand, or ended, as long as the destination isn't held."""
    outbox.many_waiting(3)
    one, other = outbox.worker(), outbox.worker()

    def others_send(worker: int, apart: float = 3600) -> bool:
        with outbox.engine.begin() as connection:
            return outages.others_send(connection, outbox.destination, worker, apart=apart)

    assert not others_send(one)
    outbox.claim(other, limit=1)
    assert (others_send(one), others_send(other)) == (True, False)
    with outbox.engine.begin() as connection:
        outages.begin(connection, outbox.destination, Kind.FAILING, "down", ago=0)
    assert not others_send(one)
    with outbox.engine.begin() as connection:
        connection.execute(text("DELETE FROM messages"))
        connection.execute(text("DELETE FROM lanes"))
        outages.end(connection, outbox.destination)
    # Nobody has anything in hand: who ended it gets through; but nobody is there any more, or it was long ago.
    assert others_send(one)
    assert not others_send(one, apart=0)
    with outbox.engine.begin() as connection:
        connection.execute(text("UPDATE outages SET until = until - interval '11 minutes'"))
    assert not others_send(one)
    with outbox.engine.begin() as connection:
        connection.execute(text("UPDATE outages SET until = until + interval '11 minutes'"))
        connection.execute(text("DELETE FROM workers WHERE id <> :one"), {"one": one})
    assert not others_send(one)


# --- everybody is refused ---------------------------------------------------------------------------------------


def test_when_everybody_is_refused_they_wait_instead_of_filling_the_dead_letters(outbox: Outbox) -> None:
    outbox.many_waiting(400)
    server = Server(answer=lambda _: (400, "no such field"))
    report = until_empty(outbox, server, settings=Settings(max_in_flight=4))
    assert (report.failed, report.waiting) == (0, 400)
    assert REFUSED_PEOPLE <= len(server.requests) < 150
    (outage,) = current(outbox)
    assert (outage.kind, outage.reason) == (
        Kind.REFUSING,
        "50 people in a row were refused; the last one: no such field",
    )
    assert outbox.rows("SELECT DISTINCT attempts, first_started_at, started_at FROM messages") == [(0, None, None)]
    # A probe that is due is sent, whoever delivers.
    hurry(outbox)
    report = until_empty(outbox, Server(answer=lambda _: (400, "still no such field")))
    assert (report.failed, report.waiting) == (0, 400)
    assert [outage.probes for outage in current(outbox)] == [1]
    # What is mended ends it by the next one.
    hurry(outbox)
    assert until_empty(outbox, Server()).delivered == 400
    assert current(outbox) == []


def hurry(outbox: Outbox) -> None:
    with outbox.engine.begin() as connection:
        outages.hurry(connection)
        lanes.hurry(connection, [outbox.destination], TIMEOUT)


def test_few_that_are_refused_are_dead_letters(outbox: Outbox) -> None:
    outbox.many_waiting(REFUSED_PEOPLE - 1)
    report = until_empty(outbox, Server(answer=lambda _: (400, "no")))
    assert report.failed == REFUSED_PEOPLE - 1
    assert current(outbox) == []


def test_one_person_who_is_refused_again_and_again_holds_nobody(outbox: Outbox) -> None:
    outbox.many_waiting(2, messages=60)
    assert until_empty(outbox, Server(answer=lambda _: (400, "no"))).failed == 120
    assert current(outbox) == []


def test_refusals_for_different_reasons_are_about_messages(outbox: Outbox) -> None:
    outbox.many_waiting(120)
    server = Server()
    server.answer = lambda _: (400, f"400 Code{len(server.requests) % 3}: no")
    assert until_empty(outbox, server, settings=Settings(max_in_flight=4)).failed == 120


def test_a_delivery_between_them_says_that_they_are_to_blame(outbox: Outbox) -> None:
    outbox.many_waiting(200)
    server = Server()
    server.answer = lambda _: (200, "") if len(server.requests) % 20 == 0 else (400, "no")
    report = until_empty(outbox, server, settings=Settings(max_in_flight=4))
    assert (report.delivered, report.failed) == (10, 190)
    assert current(outbox) == []


def test_a_source_that_sends_garbage_holds_nobody(outbox: Outbox) -> None:
    """Its calls are dead letters each, however many; what definitions say goes on."""
    with outbox.engine.begin() as connection:
        source = connection.execute(text("INSERT INTO sources (slug) VALUES ('web') RETURNING id")).scalar_one()
        for number in range(120):
            calls.append(connection, [forwarded(outbox, connection, f"p{number}@x.io", source)])
    for name in ("ann", "bob"):
        outbox.waiting_message(f"{name}@x.io")
    report = until_empty(outbox, Server(answer=lambda r: (400, "no") if r.path == "/track" else (200, "")))
    assert (report.delivered, report.failed) == (2, 120)
    assert current(outbox) == []


def forwarded(outbox: Outbox, connection: Any, email: str, source: int) -> NewCall:
    call = f'{{"type": "track", "event": "x", "messageId": "{email}", "context": {{"traits": {{"email": "{email}"}}}}}}'
    return NewCall(
        destination_id=outbox.destination,
        profile_id=outbox.profile(connection, email),
        source_id=source,
        identity_type="email",
        identity_value=email,
        call_type="track",
        value='"x"',
        call=call,
        as_of=AS_OF,
    )
