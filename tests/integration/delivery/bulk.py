"""Delivery to the stand-in for Iterable, whose requests are read back entry by entry."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from engage_sync.delivery.deliverer import Deliverer
from engage_sync.delivery.report import Report
from engage_sync.destinations import registry
from engage_sync.destinations.protocol import Destination
from engage_sync.outbox.enqueue import Priority
from engage_sync.sandbox.options import BULK_UPDATE, EVENTS_TRACK, TRACK_BULK, USERS_UPDATE, Options
from engage_sync.sandbox.server import SandboxServer
from engage_sync.settings import Settings
from tests.factories.outbox import Outbox
from tests.unit.destinations.calls import Config

# More than the single road sends in a second, at its default rate.
MANY = 600
UNLIMITED = dict.fromkeys((USERS_UPDATE, EVENTS_TRACK, BULK_UPDATE, TRACK_BULK), 0.0)


def unlimited() -> SandboxServer:
    return SandboxServer(Options(rate_limits=UNLIMITED))


def iterable(sandbox: SandboxServer, bulk: str = "backlog", **rate_limits: float) -> Destination:
    settings = {"api_key": sandbox.options.api_key, "base_url": sandbox.url, "bulk": bulk}
    return registry.build(Config(settings=settings, rate_limits=rate_limits))


def deliver(
    outbox: Outbox, sandbox: SandboxServer, bulk: str = "backlog", *, settings: Settings | None = None, **rates: float
) -> Report:
    made = deliverer(outbox, sandbox, bulk, settings=settings, **rates)
    return asyncio.run(made.run_until_empty())


def deliverer(
    outbox: Outbox, sandbox: SandboxServer, bulk: str = "backlog", *, settings: Settings | None = None, **rates: float
) -> Deliverer:
    destinations = {"iterable": iterable(sandbox, bulk, **rates)}
    return Deliverer(outbox.engine, destinations, settings or Settings(), direct_url=outbox.url)


def first_push(outbox: Outbox, people: int = MANY) -> list[str]:
    """So many people wait to be told for the first time; returns their emails."""
    outbox.many_waiting(people, priority=Priority.FIRST_PUSH)
    return [row[0] for row in outbox.rows("SELECT identity_value FROM messages ORDER BY id")]


def entries(request: dict[str, Any]) -> list[dict[str, Any]]:
    body = request["body"]
    found: list[dict[str, Any]] = body.get("users") or body.get("events") or [body]
    return found


def paths(sandbox: SandboxServer) -> Counter[str]:
    """How many requests came, by path."""
    return Counter(each["path"] for each in sandbox.requests())


def roads(sandbox: SandboxServer) -> dict[str, list[str]]:
    """The paths by which each email was told something, in order."""
    found: dict[str, list[str]] = {}
    for request in sandbox.requests():
        for entry in entries(request):
            found.setdefault(entry["email"], []).append(request["path"])
    return found
