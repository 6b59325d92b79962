from __future__ import annotations

import asyncio

from engage_sync.delivery import deliverer as deliverers
from engage_sync.settings import Settings
from tests.factories.http import Server, serving
from tests.factories.outbox import Outbox
from tests.integration.delivery.test_deliverer import deliverer, eventually


def test_living_worker_takes_over_from_a_dead_one(outbox: Outbox) -> None:
    """One lane was started and waits for its time; the others go at once; nobody is told twice at once."""
    for name in ("ann", "bob", "cid"):
        outbox.waiting_message(f"{name}@x.io")
    dead = outbox.worker()
    ann = outbox.claim(dead)[0]
    started = outbox.start(dead, ann)[ann.messages[0].id]
    server = Server()

    async def run() -> None:
        stop = asyncio.Event()
        async with serving(server):
            made = deliverer(outbox, server, settings=Settings(request_timeout=6.0))
            running = asyncio.create_task(made.run(stop))
            await asyncio.sleep(0.2)
            outbox.kill(dead)
            await eventually(lambda: len(server.requests) == 2, deliverers.RECLAIM_EVERY * 3)
            assert {request.email for request in server.requests} == {"bob@x.io", "cid@x.io"}
            await eventually(lambda: outbox.count("messages") == 0)
            stop.set()
            await running

    asyncio.run(run())
    ((again,),) = outbox.rows("SELECT attempts FROM delivered WHERE identity_value = 'ann@x.io'")
    assert again == 2
    ((waited,),) = outbox.rows(
        "SELECT delivered_at - CAST(:started AS timestamptz) >= interval '6 seconds' FROM delivered"
        " WHERE identity_value = 'ann@x.io'",
        started=started.started_at,
    )
    assert waited


def test_workers_that_are_cut_off_lose_and_double_nothing(outbox: Outbox) -> None:
    """Sessions end in the middle again and again: every message arrives, in each person's order."""
    outbox.many_waiting(40, messages=5)
    server = Server(delay=0.005)

    async def run() -> None:
        async with serving(server):
            settings = Settings(request_timeout=1.0, max_in_flight=8)
            for _ in range(5):
                made = deliverer(outbox, server, settings=settings)
                cut = asyncio.create_task(made.run(asyncio.Event()))
                before = len(server.requests)
                await eventually(lambda before=before: len(server.requests) >= before + 15)
                cut.cancel()
                await asyncio.gather(cut, return_exceptions=True)
            await deliverer(outbox, server, settings=settings).run_until_empty()

    asyncio.run(run())
    assert outbox.count("delivered") == len(set(server.ids)) == 200
    for email in {request.email for request in server.requests}:
        own = [request.body["messageId"] for request in server.requests if request.email == email]
        # A request that was cut off is sent again, before anything newer of that person.
        firsts = list(dict.fromkeys(own))
        assert own == sorted(own, key=firsts.index)
