"""Whether a source's own calls, forwarded to Iterable as they come, leave without a growing backlog.

    python benchmarks/forwarding.py [--seconds 60] [--rate 1000] [--people 20000]

Of the calls six in ten are events, one an order, one a page and two say who somebody is; they come in batches of 20, of
people who come again and again. Real time keeps two audiences beside. The sandbox has Iterable's limits of 500 and
2,000 requests a second. Printed: how many messages waited at each tenth of the time, how long the rest took in the end,
and that each call arrived once and each person's in the order in which they were sent.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import time
from collections import defaultdict
from typing import Any

import aiohttp
import httpx
import orjson
import psycopg
import uvloop
from stack import Stack, stack

from engage_sync.database import embedded

AUDIENCES = {
    "audiences/bought.yml": "name: Bought\nquery: event('Order Completed').count() >= 3\n"
    "destinations: {iterable: {identify: true}}\n",
    "audiences/active.yml": "name: Active\nquery: event('Event 1').count() >= 5\n"
    "destinations: {iterable: {identify: true}}\n",
}
BATCH = 20


def call(number: int, people: int) -> dict[str, Any]:
    person = (number * 7919) % people
    common = {
        "userId": f"person-{person}",
        "messageId": f"call-{number}",
        "context": {"traits": {"email": f"person-{person}@example.com"}},
    }
    match number % 10:
        case 0 | 1:
            traits = {"email": f"person-{person}@example.com", "number": number, "plan": "gold"}
            return {"type": "identify", "traits": traits, **common}
        case 2:
            products = [{"product_id": f"p{number % 100}", "name": "Thing", "price": 9.5, "quantity": 2}]
            properties = {"order_id": f"o{number}", "total": 19.0, "products": products, "number": number}
            return {"type": "track", "event": "Order Completed", "properties": properties, **common}
        case 3:
            return {"type": "page", "name": "Home", "properties": {"url": "https://x.io/", "number": number}, **common}
        case _:
            properties = {"number": number, "color": "red"}
            return {"type": "track", "event": f"Event {number % 5}", "properties": properties, **common}


async def send(made: Stack, given: argparse.Namespace, watch: psycopg.AsyncConnection[Any]) -> list[int]:
    """Send at a steady rate; how many messages waited in the outbox at each tenth of the time."""
    credentials = base64.b64encode(f"{made.write_key}:".encode()).decode()
    headers = {"authorization": f"Basic {credentials}", "content-type": "application/json"}
    waiting: list[int] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=20), headers=headers) as client:

        async def post(first: int) -> None:
            body = orjson.dumps({"batch": [call(number, given.people) for number in range(first, first + BATCH)]})
            async with client.post(f"{made.api}/v1/batch", data=body) as answer:
                answer.raise_for_status()
                await answer.read()

        total, began = int(given.rate * given.seconds), time.monotonic()
        for first in range(0, total, BATCH):
            await asyncio.sleep(max(0.0, began + first / given.rate - time.monotonic()))
            # One after the other, as a client sends them: so each person's order is that of the numbers.
            await post(first)
            if (first // BATCH + 1) * 10 // (total // BATCH) > len(waiting):
                waiting.append(await left(watch))
        print(f"{total:,} calls accepted in {time.monotonic() - began:.0f} s")
    return waiting


async def left(watch: psycopg.AsyncConnection[Any]) -> int:
    cursor = await watch.execute("SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM messages)")
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


def check(made: Stack, total: int, people: int) -> str:
    """What arrived, against what was sent."""
    answer = httpx.get(f"{made.sandbox}/sandbox/requests", params={"limit": 10_000_000}, timeout=300)
    numbers: dict[str, list[int]] = defaultdict(list)
    for request in answer.json()["requests"]:
        body = request["body"]
        for entry in body.get("users") or body.get("events") or [body]:
            number = (entry.get("dataFields") or {}).get("number")
            user = entry.get("user") or entry
            if number is not None and request["status"] == 200:
                numbers[user["email"]].append(int(number))
    arrived = [number for own in numbers.values() for number in own]
    disordered = sum(own != sorted(own) for own in numbers.values())
    lost, doubled = len(set(range(total)) - set(arrived)), len(arrived) - len(set(arrived))
    return (
        f"{len(set(arrived)):,} arrived, {lost} lost, {doubled} doubled, {disordered} of {people:,} people in disorder"
    )


async def run(made: Stack, given: argparse.Namespace) -> None:
    url = embedded.start(made.folder / ".engage-sync")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as watch:
        waiting = await send(made, given, watch)
        began = time.monotonic()
        while await left(watch):
            time.sleep(0.1)  # noqa: ASYNC251 - nothing else is left to do
        print(f"waiting at each tenth: {', '.join(map(str, waiting))}; empty {time.monotonic() - began:.1f} s later")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--people", type=int, default=20_000)
    given = parser.parse_args()
    with stack(AUDIENCES, forwards=True) as made, made.stand_in():
        made.run("apply", "--yes")
        made.run("compute")
        with made.up():
            uvloop.run(run(made, given))
            print(check(made, int(given.rate * given.seconds), given.people))


if __name__ == "__main__":
    main()
