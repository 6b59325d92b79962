"""How long from an accepted call to its message's request at the destination: API, resolver, real time and delivery.

    python benchmarks/realtime_latency.py [--definitions 20] [--rate 100] [--seconds 20]

Each call is a new person's event, which makes them enter one audience. All processes, the sandbox and this client
share the machine. Prints percentiles in milliseconds, from the client's 200 to the request's arrival at the sandbox.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import statistics
import time

import aiohttp
import httpx
import orjson
import uvloop
from stack import Stack, stack


async def send(made: Stack, rate: float, seconds: float, definitions: int, offset: int) -> dict[str, float]:
    """Send calls at a steady rate; the instant (Unix) at which each was accepted, by email.

    The client shares the two cores with what it measures: so it's the lightest one there is.
    """
    accepted: dict[str, float] = {}
    credentials = base64.b64encode(f"{made.write_key}:".encode()).decode()
    headers = {"authorization": f"Basic {credentials}", "content-type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100), headers=headers) as client:

        async def call(number: int) -> None:
            email = f"person-{offset + number}@example.com"
            body = {
                "userId": f"person-{offset + number}",
                "event": f"Event {number % definitions}",
                "properties": {"total": number},
                "context": {"traits": {"email": email}},
            }
            async with client.post(f"{made.api}/v1/track", data=orjson.dumps(body)) as answer:
                answer.raise_for_status()
                await answer.read()
            accepted[email] = time.time()

        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                tasks.create_task(call(number))
    return accepted


def arrived(made: Stack, expected: int) -> dict[str, float]:
    """When each email's request came to the sandbox."""
    found: dict[str, float] = {}
    for _ in range(100):
        answer = httpx.get(f"{made.sandbox}/sandbox/requests", params={"limit": 1_000_000}, timeout=60)
        found = {}
        for request in answer.json()["requests"]:
            found.setdefault(request["body"].get("email", ""), request["unix"])
        if len(found) >= expected:
            break
        time.sleep(0.2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--definitions", type=int, default=20)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    files = {
        f"audiences/event_{number}.yml": f"name: Event {number}\n"
        f"query: event('Event {number}').count() >= 1\n"
        "destinations: {iterable: {identify: true}}\n"
        for number in range(given.definitions)
    }
    with stack(files) as made, made.stand_in():
        made.run("apply", "--yes")
        made.run("compute")
        with made.up():
            warm = uvloop.run(send(made, given.rate, 3, given.definitions, 0))
            arrived(made, len(warm))
            accepted = uvloop.run(send(made, given.rate, given.seconds, given.definitions, 1_000_000))
            requests = arrived(made, len(warm) + len(accepted))
    missing = [email for email in accepted if email not in requests]
    waits = sorted((requests[email] - accepted[email]) * 1000 for email in accepted if email in requests)
    cuts = statistics.quantiles(waits, n=100)
    print(
        f"{given.definitions} definitions, {given.rate:.0f} calls a second for {given.seconds:.0f} s:"
        f" p50 {cuts[49]:.0f} ms, p90 {cuts[89]:.0f} ms, p99 {cuts[98]:.0f} ms, longest {waits[-1]:.0f} ms,"
        f" {len(missing)} missing of {len(accepted)}"
    )


if __name__ == "__main__":
    main()
