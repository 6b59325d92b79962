from __future__ import annotations

import asyncio
import bisect

from tests.factories.http import Server, serving
from tests.factories.outbox import Outbox
from tests.integration.delivery.test_deliverer import deliverer, eventually

RATE = 200.0


def test_two_workers_together_hold_the_rate(outbox: Outbox) -> None:
    outbox.many_waiting(1000)
    server = Server()

    async def run() -> None:
        stop = asyncio.Event()
        async with serving(server):
            budgets = {"identify": RATE, "track": RATE}
            workers = [asyncio.create_task(deliverer(outbox, server, budgets=budgets).run(stop)) for _ in range(2)]
            await eventually(lambda: len(server.requests) >= 3 * RATE)
            stop.set()
            await asyncio.gather(*workers)

    asyncio.run(run())
    times = [request.at for request in server.requests]
    worst = max(bisect.bisect_left(times, moment + 1.0) - number for number, moment in enumerate(times))
    assert worst <= RATE * 1.01
    assert len(times) / (times[-1] - times[0]) > 0.8 * RATE
