"""Definitions of accounts: who is in by what any or all of an account's users did, and whom a change reaches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.world import World, audience, trait

T = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def world(engine: Engine) -> World:
    """Ann and Bob are of Acme, Bob and Cid of Beta; Dan is of none."""
    made = World(engine)
    for name in ("ann", "bob", "cid", "dan"):
        made.person(name, user_id=name)
    made.group("ann", "acme", T - 9 * DAY, plan="gold", seats=2)
    made.group("bob", "acme", T - 8 * DAY)
    made.group("bob", "beta", T - 7 * DAY, plan="free")
    made.group("cid", "beta", T - 6 * DAY)
    return made


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("trait('plan') = 'gold'", {"ann", "bob"}),
        ("trait('plan') != 'gold'", {"bob", "cid"}),
        ("trait('plan').exists()", {"ann", "bob", "cid"}),
        ("trait('colour').absent()", {"ann", "bob", "cid"}),
        ("event('Login').count() >= 2", {"ann", "bob"}),
        ("event('Login').count() = 0", {"bob", "cid"}),
        ("NOT event('Login').exists()", {"bob", "cid"}),
        ("event('Visit').count() >= 2", {"ann", "bob"}),
        ("ANY (event('Visit').count() >= 2)", set()),
        ("ALL (event('Visit').exists())", {"ann", "bob"}),
        ("ANY (event('Login').exists())", {"ann", "bob"}),
        ("ANY (event('Login').count() = 0)", {"ann", "bob", "cid"}),
        ("ALL (event('Login').exists())", set()),
        ("ALL (event('Login').count() = 0)", {"bob", "cid"}),
        ("NOT ANY (event('Login').exists())", {"bob", "cid"}),
        ("NOT ALL (event('Login').count() = 0)", {"ann", "bob"}),
        ("ANY (trait('role') = 'admin') AND trait('plan') = 'gold'", {"ann", "bob"}),
        ("ANY (trait('role') = 'admin') OR trait('plan') = 'free'", {"ann", "bob", "cid"}),
        ("ALL (trait('role') = 'admin')", set()),
        ("ALL (trait('role').exists() OR trait('shy').absent())", {"ann", "bob", "cid"}),
        ("event('Trial').where(event('Paid').within(parent: 1 day).exists()).exists()", {"bob", "cid"}),
        ("ANY (event('Trial').where(event('Paid').within(parent: 1 day).exists()).exists())", set()),
        ("event('Paid').where(property('plan') = trait('plan')).exists()", {"bob", "cid"}),
    ],
)
def test_an_account_qualifies_all_its_users(world: World, query: str, expected: set[str]) -> None:
    world.event("ann", "Login", T - DAY)
    world.event("ann", "Login", T - 3 * DAY)
    world.event("ann", "Visit", T - DAY)
    world.event("bob", "Visit", T - DAY)
    world.trait("ann", "role", "admin", T - DAY)
    world.event("bob", "Trial", T - DAY)
    world.event("cid", "Paid", T - DAY + HOUR, plan="free")
    world.event("dan", "Login", T - DAY)
    world.apply(audience("a", query, of_accounts=True))
    world.compute(as_of=T)
    assert world.members("a") == expected


def test_what_one_user_does_moves_all_of_the_account(world: World) -> None:
    world.apply(audience("active", "event('Login').within(1 day).count() >= 2", of_accounts=True))
    world.compute(as_of=T)
    assert world.members("active") == set()
    world.event("ann", "Login", T)
    world.event("bob", "Login", T)
    report = world.compute(as_of=T + HOUR)["active"]
    assert (report.scope, report.progress.evaluated) == ("dirty", 3)
    assert world.members("active") == {"ann", "bob"}
    assert sorted(world.deliver()) == [("ann", "active", "identify", True), ("bob", "active", "identify", True)]
    assert world.compute(as_of=T + DAY + HOUR)["active"].progress.evaluated == 3
    assert sorted(world.deliver()) == [("ann", "active", "identify", False), ("bob", "active", "identify", False)]
    assert_nothing_is_missing(world, T + DAY + HOUR)


def test_who_joins_changes_what_all_users_do(world: World) -> None:
    world.apply(audience("all_in", "ALL (event('Login').exists())", of_accounts=True))
    for name in ("ann", "bob"):
        world.event(name, "Login", T - DAY)
    world.compute(as_of=T)
    assert world.members("all_in") == {"ann", "bob"}
    world.group("dan", "acme", T)
    world.compute(as_of=T + HOUR)
    assert world.members("all_in") == set()
    world.event("dan", "Login", T)
    world.compute(as_of=T + 2 * HOUR)
    assert world.members("all_in") == {"ann", "bob", "dan"}
    assert_nothing_is_missing(world, T + 2 * HOUR)


def test_a_trait_is_that_of_the_account_named_last(world: World) -> None:
    world.apply(
        trait("logins", "event('Login').count()", of_accounts=True), trait("plan_of", "trait('plan')", of_accounts=True)
    )
    world.event("ann", "Login", T - DAY)
    world.event("cid", "Login", T - DAY)
    world.event("cid", "Login", T - DAY)
    world.compute(as_of=T)
    assert world.values("logins") == {"ann": 1, "bob": 2, "cid": 2}
    assert world.values("plan_of") == {"ann": "gold", "bob": "free", "cid": "free"}
    world.group("bob", "acme", T - HOUR)
    world.compute(as_of=T + HOUR)
    assert world.values("logins") == {"ann": 1, "bob": 1, "cid": 2}
    assert world.values("plan_of") == {"ann": "gold", "bob": "gold", "cid": "free"}
    assert_nothing_is_missing(world, T + HOUR)


def test_an_accounts_newest_trait_counts(world: World) -> None:
    world.apply(audience("gold", "trait('plan') = 'gold'", of_accounts=True))
    world.compute(as_of=T)
    world.group("cid", "beta", T - DAY, plan="gold")
    world.compute(as_of=T + HOUR)
    assert world.members("gold") == {"ann", "bob", "cid"}
    world.group("bob", "beta", T - 2 * DAY, plan="late")
    world.compute(as_of=T + 2 * HOUR)
    assert world.members("gold") == {"ann", "bob", "cid"}
    world.group("cid", "beta", T, plan="late")
    world.compute(as_of=T + 3 * HOUR)
    assert world.members("gold") == {"ann", "bob"}
    assert_nothing_is_missing(world, T + 3 * HOUR)


def test_anonymous_users_count_where_they_are_included(world: World) -> None:
    world.person("guest")
    world.group("guest", "beta", T - DAY)
    world.event("guest", "Login", T - DAY)
    for number, query in enumerate(("event('Login').exists()", "ANY (event('Login').exists())")):
        world.apply(
            audience(f"known_{number}", query, of_accounts=True),
            audience(f"everyone_{number}", query, of_accounts=True, include_anonymous=True),
        )
    world.apply(audience("all_of_them", "ALL (event('Login').count() = 0)", of_accounts=True))
    world.compute(as_of=T)
    for number in range(2):
        assert world.members(f"known_{number}") == set()
        assert world.members(f"everyone_{number}") == {"bob", "cid", "guest"}
    assert world.members("all_of_them") == {"ann", "bob", "cid"}
    world.gain("guest", "email", "guest@x.io")
    world.compute(as_of=T + HOUR)
    assert world.members("known_0") == world.members("known_1") == {"bob", "cid", "guest"}
    assert world.members("all_of_them") == {"ann", "bob"}
    assert_nothing_is_missing(world, T + HOUR)


def test_a_definition_of_people_inside_any_moves_the_account(world: World) -> None:
    world.apply(
        audience("buyer", "event('Order').within(1 day).exists()"),
        audience("of_buyers", "ANY (trait('buyer') = 'true')", of_accounts=True),
        audience("not_of_buyers", "trait('of_buyers').absent() OR trait('of_buyers') = 'false'"),
    )
    world.event("ann", "Order", T)
    world.compute(as_of=T)
    assert world.members("of_buyers") == {"ann", "bob"}
    assert world.members("not_of_buyers") == {"cid", "dan"}
    reports = world.compute(as_of=T + 2 * DAY)
    assert reports["of_buyers"].scope == "dirty"
    assert world.members("of_buyers") == set()
    assert world.members("not_of_buyers") == {"ann", "bob", "cid", "dan"}
    assert_nothing_is_missing(world, T + 2 * DAY)


@pytest.mark.parametrize(
    "query", ["trait('renews').within_next(2 days)", "ANY (trait('renews').within_next(2 days))",
              "ANY (event('Plan').where(property('renews').within_next(2 days)).exists())",
              "event('Plan').where(property('renews').within_next(2 days)).exists()"],
)  # fmt: skip
def test_a_date_that_comes_near_concerns_the_account(world: World, query: str) -> None:
    renews = (T + 10 * DAY).date().isoformat()
    world.group("ann", "acme", T - DAY, renews=renews)
    world.trait("ann", "renews", renews, T - DAY)
    world.event("ann", "Plan", T - DAY, renews=renews)
    world.apply(audience("renewing", query, of_accounts=True))
    world.compute(as_of=T)
    for days, expected in ((7, set()), (8, {"ann", "bob"}), (10, {"ann", "bob"}), (11, set())):
        report = world.compute(as_of=T + days * DAY)["renewing"]
        assert report.scope == "dirty"
        assert world.members("renewing") == expected
    assert_nothing_is_missing(world, T + 11 * DAY)


def assert_nothing_is_missing(world: World, as_of: Any) -> None:
    """What ticks made is what a full computation makes."""
    for report in world.compute(as_of=as_of, full=True).values():
        tally = report.progress.tally
        assert (report.key, tally.entered, tally.exited, tally.changed) == (report.key, 0, 0, 0)
    with world.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM computations WHERE error IS NOT NULL")).scalar() == 0
