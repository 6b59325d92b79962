"""What the options of a definition do: cadence, history, dates in real time; changing them repeats nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from engage_sync.definitions.model import DefinitionSpec, Workspace
from engage_sync.sync import planning
from tests.world import World, ago, audience, trait

MINUTE = "event('V').within(1 minutes).count() >= 1"


@pytest.fixture
def world(engine: Engine) -> World:
    made = World(engine)
    made.person("ann", emails=("a@x.io",))
    made.person("bob", emails=("b@x.io",))
    return made


def pass_time(world: World, seconds: float) -> None:
    with world.engine.begin() as connection:
        connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})


def apply(world: World, *specs: DefinitionSpec) -> None:
    planning.apply(world.engine, Workspace(path=Path(), definitions=specs), delete=())


def runs_of(world: World, key: str) -> list[tuple[Any, ...]]:
    with world.engine.begin() as connection:
        statement = "SELECT cause, scope FROM runs JOIN definitions ON definitions.id = definition_id WHERE key = :key"
        return [tuple(row) for row in connection.execute(text(statement + " ORDER BY runs.id"), {"key": key})]


def test_a_window_in_real_time_is_entered_at_once_and_left_as_its_edge_passes(world: World) -> None:
    world.apply(audience("lately", MINUTE, compute_cadence="realtime"))
    world.compute()
    world.event("ann", "V", ago(seconds=58.5))
    world.turn(sweeps=True)
    assert world.deliver() == [("a@x.io", "lately", "identify", True)]
    pass_time(world, 2)
    world.turn(sweeps=True)
    assert world.deliver() == [("a@x.io", "lately", "identify", False)]
    assert world.turn(sweeps=True).touched == 0


def test_a_date_in_real_time_counts_from_its_edge_on(world: World) -> None:
    world.apply(audience("ends_soon", "trait('trial_ends').within_next(1 hours)", compute_cadence="realtime"))
    world.compute()
    world.trait("ann", "trial_ends", (datetime.now(UTC) + timedelta(hours=1, seconds=1.5)).isoformat(), ago(days=1))
    world.turn(sweeps=True)
    assert world.members("ends_soon") == set()
    pass_time(world, 2)
    world.turn(sweeps=True)
    assert world.members("ends_soon") == {"ann"}


def test_changing_the_cadence_recomputes_nothing_and_says_nothing(world: World) -> None:
    hourly = audience("lately", "event('V').within(1 day).count() >= 1")
    realtime = replace(hourly, compute_cadence="realtime")
    apply(world, hourly)
    world.event("ann", "V", ago(hours=1))
    world.compute()
    world.deliver()
    apply(world, realtime)
    world.event("bob", "V", ago(hours=1))
    world.turn(sweeps=True)
    apply(world, hourly)
    world.compute()
    assert world.deliver() == [("b@x.io", "lately", "identify", True)]
    assert runs_of(world, "lately") == [("first", "all"), ("realtime", "touched"), ("manual", "dirty")]


def test_an_edited_query_recomputes_and_says_only_what_differs(world: World) -> None:
    apply(world, audience("buyers", "event('Order').count() >= 1"))
    for person in ("ann", "bob", "bob"):
        world.event(person, "Order", ago(hours=1))
    world.compute()
    world.deliver()
    apply(world, audience("buyers", "event('Order').count() >= 2"))
    world.compute()
    assert world.deliver() == [("a@x.io", "buyers", "identify", False)]
    apply(world, audience("buyers", "  event('Order').count()   >= 2"))
    world.compute()
    assert world.deliver() == []
    assert runs_of(world, "buyers")[-1] == ("manual", "dirty"), "the same query in other words"


def test_one_that_was_disabled_has_missed_what_happened(world: World) -> None:
    buyers = audience("buyers", "event('Order').count() >= 1")
    apply(world, buyers)
    world.compute()
    apply(world, replace(buyers, enabled=False))
    world.event("ann", "Order", ago(hours=1))
    world.compute()
    apply(world, buyers)
    world.compute()
    assert world.deliver() == [("a@x.io", "buyers", "identify", True)]
    assert runs_of(world, "buyers")[-1][1] == "all"


def test_history_may_be_left_out_or_bounded(world: World) -> None:
    count = "event('Order').count()"
    world.event("ann", "Order", ago(days=10))
    world.event("ann", "Order", ago(days=2))
    world.apply(
        trait("all_history", count),
        trait("no_history", count, include_historical_data=False),
        trait("some_history", count, include_historical_data=5),
        audience("nothing_new", "event('Order').count() = 0", include_historical_data=False),
    )
    world.compute()
    assert [world.values(key).get("ann") for key in ("all_history", "no_history", "some_history")] == [2, None, 1]
    assert world.members("nothing_new") == {"ann", "bob"}
    world.event("ann", "Order", datetime.now(UTC))
    world.compute()
    assert [world.values(key).get("ann") for key in ("all_history", "no_history", "some_history")] == [3, 1, 2]
    assert world.members("nothing_new") == {"bob"}


def test_a_literal_that_is_compared_with_now_turns_for_everybody(world: World) -> None:
    world.apply(audience("sale", "literal('2026-03-01T00:00:00Z').within_last(2 days) AND trait('plan').exists()"))
    start = datetime(2026, 2, 28, 23, tzinfo=UTC)
    world.trait("ann", "plan", "gold", start - timedelta(days=30))
    world.compute(as_of=start)
    assert world.members("sale") == set()
    assert world.compute(as_of=start + timedelta(hours=1))["sale"].scope == "all"
    assert world.members("sale") == {"ann"}
    assert world.compute(as_of=start + timedelta(hours=2))["sale"].scope == "dirty"
    world.compute(as_of=start + timedelta(days=4))
    assert world.members("sale") == set()
