"""A preview says what a query would say, condition by condition and value by value, and saves nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from engage_sync import errors
from engage_sync.definitions.model import DefinitionSpec
from engage_sync.sync.distribution import MOST_BINS, bin_edges
from engage_sync.sync.previewing import preview
from tests.integration import histories
from tests.integration.histories import Player
from tests.oracle.evaluate import is_member
from tests.world import World, audience, trait

T = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BOUGHT, GOLD, SILVER = "event('A').count() >= 1", "trait('plan') = 'gold'", "trait('plan') = 'silver'"


@pytest.fixture
def world(engine: Engine) -> World:
    return World(engine)


def look(world: World, query: str, *specs: DefinitionSpec, sample: int = 10, **given: Any) -> dict[str, Any]:
    return preview(
        world.engine, world.context, query, specs=specs, as_of=T, sample=sample,
        **{"include_anonymous": False, **given},
    )  # fmt: skip


def customers(world: World) -> None:
    """Ten people: six bought, the first four are gold, the next two silver, and the last has a refund too."""
    for number in range(10):
        world.person(f"p{number}", user_id=f"u{number}")
        if number >= 2 and number < 8:
            world.event(f"p{number}", "A", T)
        if number < 6:
            world.trait(f"p{number}", "plan", "gold" if number < 4 else "silver", T)
    world.event("p5", "Refund", T)


def test_each_condition_of_a_conjunction_alone_and_with_those_above(world: World) -> None:
    customers(world)
    found = look(world, f"{BOUGHT} AND ({GOLD} OR {SILVER}) AND NOT event('Refund').exists()")
    assert (found["kind"], found["total"], found["profiles"], len(found["sample"])) == ("audience", 3, 10, 3)
    assert found["waterfall"] == {
        "junction": "AND",
        "conditions": [
            {"condition": BOUGHT, "alone": 6, "cumulative": 6},
            {
                "condition": f"{GOLD} OR {SILVER}",
                "alone": 6,
                "cumulative": 4,
                "waterfall": {
                    "junction": "OR",
                    "conditions": [
                        {"condition": GOLD, "alone": 4, "cumulative": 4},
                        {"condition": SILVER, "alone": 2, "cumulative": 6},
                    ],
                },
            },
            {"condition": "NOT event('Refund').count() >= 1", "alone": 9, "cumulative": 3},
        ],
    }


def test_of_a_disjunction_those_above_add_up_without_counting_anybody_twice(world: World) -> None:
    customers(world)
    found = look(world, f"{BOUGHT} OR {GOLD} OR {SILVER}")
    assert [(each["alone"], each["cumulative"]) for each in found["waterfall"]["conditions"]] == [
        (6, 6), (4, 8), (2, 8)
    ]  # fmt: skip
    assert look(world, BOUGHT)["waterfall"] is None


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    queries=st.lists(histories.conditions(histories.windows), min_size=2, max_size=4),
    word=st.sampled_from([" AND ", " OR "]),
    facts=st.lists(histories.facts, min_size=2, max_size=10),
)
def test_any_waterfall_equals_the_oracle(engine: Engine, queries: list[str], word: str, facts: list[Any]) -> None:
    whole = audience("whole", word.join(queries), include_anonymous=True)
    player = Player(engine, [])
    for fact in facts:
        player.take(fact)
    found = look(player.world, whole.query, include_anonymous=True)
    people = list(player.people.values())
    holds = [
        [is_member(operand, person, T) for person in people]
        for operand in whole.tree.operands  # type: ignore[union-attr]
    ]
    combine = all if word == " AND " else any
    assert [(each["alone"], each["cumulative"]) for each in found["waterfall"]["conditions"]] == [
        (sum(told), sum(combine(earlier[n] for earlier in holds[: number + 1]) for n in range(len(people))))
        for number, told in enumerate(holds)
    ]
    assert found["waterfall"]["conditions"][-1]["cumulative"] == found["total"]


def test_numbers_have_quantiles_and_a_histogram_with_round_edges(world: World) -> None:
    for number in range(1, 101):
        world.person(f"p{number}", user_id=f"u{number}")
        world.event(f"p{number}", "A", T, total=number if number < 100 else 100_000)
    world.person("nothing", user_id="nothing")
    found = look(world, "event('A').sum(property('total'))")
    assert (found["total"], found["profiles"], found["without_value"]) == (100, 101, 1)
    assert {each["quantile"]: each["value"] for each in found["quantiles"]} == {
        0: 1, 0.01: 1, 0.1: 10, 0.25: 25, 0.5: 50, 0.75: 75, 0.9: 90, 0.99: 99, 1: 100_000
    }  # fmt: skip
    # One spender of a thousand times the rest is a bin of its own, not nine empty ones.
    assert found["histogram"] == [
        {"from": 0, "to": 20, "profiles": 19},
        {"from": 20, "to": 40, "profiles": 20},
        {"from": 40, "to": 60, "profiles": 20},
        {"from": 60, "to": 80, "profiles": 20},
        {"from": 80, "to": 100, "profiles": 20},
        {"from": 100, "to": None, "profiles": 1},
    ]


@given(values=st.lists(st.floats(-1e9, 1e9, allow_nan=False), min_size=1, max_size=50), is_whole=st.booleans())
def test_edges_are_few_round_and_around_the_values(values: list[float], is_whole: bool) -> None:
    ordered = sorted(map(round, values) if is_whole else values)
    edges = bin_edges(ordered[0], ordered[0], ordered[-1], ordered[-1], is_whole=is_whole)
    assert 2 <= len(edges) <= MOST_BINS + 1
    assert edges[0] <= Decimal(repr(ordered[0]))
    assert Decimal(repr(ordered[-1])) < edges[-1]
    width = edges[1] - edges[0]
    assert str(width.normalize().as_tuple().digits) in ("(1,)", "(2,)", "(5,)")
    assert not is_whole or width >= 1


def test_texts_have_their_most_frequent_values_and_others(world: World) -> None:
    for number in range(25):
        world.person(f"p{number}", user_id=f"u{number}")
        world.trait(f"p{number}", "city", "Bern" if number < 3 else f"city {number}", T)
    found = look(world, "trait('city')")
    assert (found["distribution"][0], len(found["distribution"])) == ({"value": "Bern", "profiles": 3}, 20)
    assert (found["others"], found["histogram"], found["items"]) == ({"values": 3, "profiles": 3}, [], [])


def test_items_of_lists_are_counted_once_a_person(world: World) -> None:
    for name, skus in (("ann", "aab"), ("bob", "b")):
        world.person(name, user_id=name)
        for sku in skus:
            world.event(name, "A", T, sku=sku)
    found = look(world, "event('A').unique(property('sku'))")
    assert found["items"] == [{"value": "b", "profiles": 2}, {"value": "a", "profiles": 1}]
    assert found["other_items"] == 0


def test_a_key_is_looked_up_in_the_files_and_then_among_what_is_applied(world: World) -> None:
    world.person("ann", user_id="u1")
    world.person("anonymous")
    for name in ("ann", "anonymous"):
        world.event(name, "A", T)
    world.apply(audience("bought", BOUGHT, include_anonymous=True), trait("count", "event('A').count()"))
    assert look(world, "bought")["total"] == 2
    assert look(world, "bought", audience("bought", "event('B').exists()"))["total"] == 0
    assert look(world, "draft", audience("draft", "trait('count') = 1 OR event('A').exists()"))["total"] == 1
    assert look(world, "count")["kind"] == "computed_trait"
    with pytest.raises(errors.NotFound, match="Did you mean 'bought'"):
        look(world, "bougth")


def test_nothing_is_saved_and_what_takes_too_long_says_which_setting_to_change(world: World) -> None:
    world.person("ann", user_id="u1")
    world.apply(audience("bought", BOUGHT))
    with world.engine.begin() as connection:
        before = connection.execute(text("SELECT count(*) FROM pg_class WHERE relpersistence <> 't'")).scalar_one()
    for _ in range(2):
        look(world, f"{BOUGHT} OR {GOLD}")
    with world.engine.begin() as connection:
        after = connection.execute(text("SELECT count(*) FROM pg_class WHERE relpersistence <> 't'")).scalar_one()
        assert after == before
        connection.execute(
            text(
                "CREATE FUNCTION slow(value boolean) RETURNS boolean LANGUAGE sql VOLATILE AS"
                " 'SELECT value FROM pg_sleep(1)';"
                "ALTER TABLE profiles RENAME TO people; CREATE VIEW profiles AS"
                " SELECT id, public_id, created_at, slow(is_known) AS is_known FROM people"
            )
        )
    world.context = replace(world.context, patience=0.2)
    with pytest.raises(errors.ComputationFailed, match="ENGAGE_SYNC_COMPUTE_TIMEOUT"):
        look(world, "event('A').count() = 0")
