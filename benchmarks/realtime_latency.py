"""How long from an accepted call to its message's request at the destination: API, resolver, real time and delivery.

    python benchmarks/realtime_latency.py [--definitions 50] [--rate 300] [--seconds 20]
    python benchmarks/realtime_latency.py --rate 1000 --batch 20 --changing 0.2
    python benchmarks/realtime_latency.py --push 200000

Each call is a new person's event, which makes them enter one audience; with `--changing` only that share of the calls,
the others being of no interest to any definition. `--batch`: so many calls in a request. `--push`: meanwhile the first
push of an audience of so many people is under way. All processes, the sandbox and this client share the machine.
Prints percentiles in milliseconds, from the client's 200 to the request's arrival at the sandbox.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import statistics
import time
from collections.abc import Sequence
from typing import Any

import aiohttp
import httpx
import orjson
import uvloop
from stack import Stack, stack

PUSHED = "name: Pushed\nquery: event('Pushed').count() >= 1\ndestinations: {iterable: {identify: true}}\n"


async def send(made: Stack, given: argparse.Namespace, seconds: float, offset: int) -> dict[str, float]:
    """Send calls at a steady rate; the instant (Unix) at which each that changes something was accepted, by email.

    The client shares the two cores with what it measures: so it's the lightest one there is.
    """
    accepted: dict[str, float] = {}
    credentials = base64.b64encode(f"{made.write_key}:".encode()).decode()
    headers = {"authorization": f"Basic {credentials}", "content-type": "application/json"}
    connector = aiohttp.TCPConnector(limit=100)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as client:

        async def post(numbers: Sequence[int]) -> None:
            calls = [_call(number, offset, given) for number in numbers]
            path, body = ("/v1/batch", {"batch": calls}) if given.batch > 1 else ("/v1/track", calls[0])
            async with client.post(f"{made.api}{path}", data=orjson.dumps(body)) as answer:
                answer.raise_for_status()
                await answer.read()
            now = time.time()
            accepted.update((each["context"]["traits"]["email"], now) for each in calls if each["event"] != "Other")

        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for first in range(0, int(given.rate * seconds), given.batch):
                await asyncio.sleep(max(0.0, began + first / given.rate - time.monotonic()))
                tasks.create_task(post(range(first, first + given.batch)))
    return accepted


def _call(number: int, offset: int, given: argparse.Namespace) -> dict[str, Any]:
    changes = (number * 7919) % 1000 < given.changing * 1000
    person = f"person-{offset + number}"
    return {
        "type": "track",
        "userId": person,
        "event": f"Event {number % given.definitions}" if changes else "Other",
        "properties": {"total": number},
        "context": {"traits": {"email": f"{person}@example.com"}},
    }


def arrived(made: Stack, accepted: dict[str, float]) -> dict[str, float]:
    """When each email's request came to the sandbox."""
    found: dict[str, float] = {}
    for _ in range(100):
        answer = httpx.get(f"{made.sandbox}/sandbox/requests", params={"limit": 1_000_000}, timeout=60)
        found = {}
        for request in answer.json()["requests"]:
            found.setdefault(request["body"].get("email", ""), request["unix"])
        if accepted.keys() <= found.keys():
            break
        time.sleep(0.2)
    return found


def begin_push(made: Stack, people: int) -> None:
    """People with an event, and an audience of them that was never computed."""
    file = made.folder / "pushed.jsonl"
    with file.open("wb") as lines:
        for number in range(people):
            call = {
                "type": "track",
                "userId": f"pushed-{number}",
                "event": "Pushed",
                "messageId": f"pushed-{number}",
                "timestamp": "2026-01-01T00:00:00Z",
                "context": {"traits": {"email": f"pushed-{number}@example.com"}},
            }
            lines.write(orjson.dumps(call) + b"\n")
    made.run("import", str(file))
    (made.folder / "audiences" / "pushed.yml").write_text(PUSHED)
    made.run("apply", "--yes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--definitions", type=int, default=50)
    parser.add_argument("--rate", type=float, default=300)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--changing", type=float, default=1.0)
    parser.add_argument("--push", type=int, default=0)
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
        if given.push:
            begin_push(made, given.push)
        with made.up():
            warm = uvloop.run(send(made, given, 5, 0))
            arrived(made, warm)
            accepted = uvloop.run(send(made, given, given.seconds, 1_000_000))
            requests = arrived(made, accepted)
    missing = [email for email in accepted if email not in requests]
    waits = sorted((requests[email] - accepted[email]) * 1000 for email in accepted if email in requests)
    cuts = statistics.quantiles(waits, n=100)
    print(
        f"{given.definitions} definitions, {given.rate:.0f} calls a second for {given.seconds:.0f} s"
        f"{f' in batches of {given.batch}' if given.batch > 1 else ''}"
        f"{f', {given.changing:.0%} of them changing something' if given.changing < 1 else ''}"
        f"{f', during a first push of {given.push:,}' if given.push else ''}:"
        f" p50 {cuts[49]:.0f} ms, p90 {cuts[89]:.0f} ms, p99 {cuts[98]:.0f} ms, longest {waits[-1]:.0f} ms,"
        f" {len(missing)} missing of {len(accepted)}"
    )


if __name__ == "__main__":
    main()
