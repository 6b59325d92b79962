"""Why a definition says what it says of a person: each construct of the language, as its reader sees it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from engage_sync.cli.explanation import lines
from engage_sync.sync.explaining import explain
from tests.world import World, audience, trait

T = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


@pytest.fixture
def world(engine: Engine) -> World:
    made = World(engine)
    made.person("ann", user_id="u1", emails=("ann@x.io",))
    return made


def ask(world: World, key: str, identifier: str = "user_id:u1", **options: Any) -> dict[str, Any]:
    return explain(world.engine, key, identifier, **{"as_of": T, **options})


def test_show(world: World) -> None:
    for hours in (1, 30, 50, 24 * 40, -5):
        world.event("ann", "Order Completed", T - hours * HOUR, total=20 + hours)
    world.event("ann", "Order Completed", T - HOUR, total="n/a")
    world.event("ann", "Cart", T - 3 * HOUR, id="c1")
    world.event("ann", "Cart", T - 30 * HOUR, id="c2")
    world.event("ann", "Buy", T - 29 * HOUR, id="c2")
    world.trait("ann", "plan", "gold", T)
    world.apply(
        audience("recent", "event('Order Completed').within(30 days).count() >= 1"),
        trait("spent", "event('Order Completed').within(30 days).sum(property('total'))"),
        trait("largest", "event('Order Completed').where(property('total') > 10).max(property('total'))"),
        audience(
            "big",
            "trait('recent') = 'true' AND (trait('spent') > 1000 OR NOT trait('plan') > 3) AND event('X').count() = 0",
        ),
        audience(
            "abandoned",
            "event('Cart').within(7 days).where(event('Buy').within(parent: 1 day).where(property('id') = property(parent: 'id')).count() = 0).count() >= 1",
        ),
    )
    world.compute(as_of=T)
    for key in ("recent", "spent", "largest", "big", "abandoned"):
        print()
        for line in lines(ask(world, key, events=3)):
            print(line)
