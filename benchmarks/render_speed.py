"""How many Segment calls a second one core turns into Iterable's requests.

    python benchmarks/render_speed.py --calls 100000

Prints a line for each mix of calls: from parsed calls, as delivery does it, and from JSON lines, as `render` does it.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from engage_sync.destinations import registry
from engage_sync.destinations.protocol import Destination
from engage_sync.destinations.render import render_line

DIFFERENT = 5_000
FROM = datetime(2026, 3, 1, 10, 20, 30, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Config:
    slug: str = "iterable"
    type: str = "iterable"
    settings: Mapping[str, Any] = field(default_factory=lambda: {"api_key": "benchmark", "email_change": "update"})
    rate_limits: Mapping[str, float] = field(default_factory=dict)


def common(kind: str, number: int, chance: random.Random) -> dict[str, Any]:
    return {
        "type": kind,
        "messageId": f"personas_{chance.getrandbits(128):027x}",
        "timestamp": "2026-03-01T10:20:30.000Z",
        "userId": f"user-{number}",
        "integrations": {"All": False, "Iterable": True},
    }


def membership(number: int, chance: random.Random) -> dict[str, Any]:
    """What an audience tells by identify, or by track."""
    if number % 2:
        return {**common("identify", number, chance), "traits": {"big_spenders": True, "email": f"u{number}@shop.io"}}
    return {
        **common("track", number, chance),
        "event": "Audience Entered",
        "properties": {"audience_key": "big_spenders", "big_spenders": True},
        "context": {"traits": {"email": f"u{number}@shop.io"}},
    }


def forwarded(number: int, chance: random.Random) -> dict[str, Any]:
    """A call of a connected source: twenty fields, of which two are dates."""
    fields = {f"field_{place}": chance.choice([place, f"text {place}", place / 4, True]) for place in range(18)}
    fields |= {"since": "2025-11-02T07:08:09.123Z", "nested": {"list": [{"on": "2025-11-02"}, "plain"]}}
    call = membership(number, chance)
    call["traits" if number % 2 else "properties"] |= fields
    return call


def purchase(number: int, chance: random.Random) -> dict[str, Any]:
    products = [
        {"product_id": f"p{place}", "name": f"Product {place}", "price": place + 0.5, "category": "Tea", "brand": "B"}
        for place in range(5)
    ]
    properties = {"order_id": f"o{number}", "total": 99.5, "products": products}
    return {**common("track", number, chance), "event": "Order Completed", "properties": properties}


def cart(number: int, chance: random.Random) -> dict[str, Any]:
    call = purchase(number, chance)
    return {**call, "event": ("Product Added", "product_removed")[number % 2], "context": context(number)}


def page(number: int, chance: random.Random) -> dict[str, Any]:
    """Pages and screens, a third of them without a name or category and so not sent."""
    call = {**common(("page", "screen")[number % 2], number, chance), "context": context(number)}
    labels = ({"name": f"Page {number % 50}"}, {"category": "Shop"}, {})[number % 3]
    return {**call, **labels, "properties": {"url": f"https://shop.io/{number}", "title": "Shop", "referrer": ""}}


def alias(number: int, chance: random.Random) -> dict[str, Any]:
    return {**common("alias", number, chance), "previousId": f"u{number}@shop.io", "userId": f"new{number}@shop.io"}


def refused(number: int, chance: random.Random) -> dict[str, Any]:
    """What ends as a dead letter: nobody's call, no total, a name with a period deep down."""
    call = purchase(number, chance)
    if number % 3 == 0:
        return {**call, "userId": None}
    if number % 3 == 1:
        return {**call, "properties": {**call["properties"], "total": None}}
    return {**call, "event": "Seen", "properties": {"products": [{"a": {"b.c": number}}]}}


def context(number: int) -> dict[str, Any]:
    return {"traits": {"email": f"u{number}@shop.io"}, "ip": "1.2.3.4", "locale": "en-US"}


def with_phone(number: int, chance: random.Random) -> dict[str, Any]:
    call = {**common("identify", number, chance)}
    phone = f"+1 (415) {chance.randrange(200, 999)}-{chance.randrange(10_000):04}"
    return {**call, "traits": {"email": f"u{number}@shop.io", "phone": phone}}


MIXES: Mapping[str, Callable[[int, random.Random], dict[str, Any]]] = {
    "identify and track of an audience": membership,
    "identify and track with 20 fields": forwarded,
    "purchases of five products": purchase,
    "identify with a phone number": with_phone,
    "carts of five products": cart,
    "pages and screens": page,
    "changes of an email": alias,
    "calls that are refused": refused,
}


def rate(calls: int, work: Callable[[int], object]) -> float:
    begin = time.perf_counter()
    for number in range(calls):
        work(number % DIFFERENT)
    return calls / (time.perf_counter() - begin)


def measure(destination: Destination, made: list[dict[str, Any]], calls: int) -> tuple[float, float]:
    """Calls a second: from a parsed call to its request, and from a JSON line to a JSON line."""
    lines = [orjson.dumps(call) for call in made]

    def render(number: int) -> bytes:
        rendered = render_line(destination, lines[number], message_id=lambda: "filled", timestamp=FROM)
        return orjson.dumps(rendered)

    return rate(calls, lambda number: destination.requests(made[number])), rate(calls, render)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000, help="calls a mix")
    arguments = parser.parse_args()
    destination = registry.build(Config())
    for name, make in MIXES.items():
        chance = random.Random(1)
        made = [make(number, chance) for number in range(DIFFERENT)]
        parsed, lines = measure(destination, made, arguments.calls)
        print(f"{name:36} {parsed:>10,.0f} calls/s {lines:>10,.0f} lines/s")


if __name__ == "__main__":
    main()
