"""Why a definition of accounts says what it says of a person: each account and its users, as their reader sees them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from engage_sync.sync.explaining import explain
from tests.integration.test_explain import printed
from tests.world import World, audience, trait

T = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


@pytest.fixture
def world(engine: Engine) -> World:
    """Ann and Bob are of Acme, Bob and Cid of Beta; Dan is of none."""
    made = World(engine)
    for name in ("ann", "bob", "cid", "dan"):
        made.person(name, user_id=name, emails=(f"{name}@x.io",))
    made.group("ann", "acme", T - 9 * DAY, plan="gold", seats="two")
    made.group("bob", "acme", T - 8 * DAY)
    made.group("bob", "beta", T - 7 * DAY, plan="free")
    made.group("cid", "beta", T - 6 * DAY)
    return made


def ask(world: World, key: str, who: str = "bob", **options: Any) -> dict[str, Any]:
    return explain(world.engine, key, f"user_id:{who}", **{"as_of": T, **options})


def test_each_account_is_shown_with_its_users_events_and_what_decided(world: World) -> None:
    world.event("ann", "Login", T - DAY)
    world.event("bob", "Login", T - 30 * DAY)
    world.event("cid", "Login", T - 2 * DAY)
    world.trait("ann", "role", "admin", T - DAY)
    query = "event('Login').within(7 days).exists() AND NOT trait('seats') > 3 AND ANY (trait('role') = 'admin')"
    world.apply(audience("active", query, of_accounts=True))
    world.compute(as_of=T)
    assert printed(ask(world, "active")) == (
        "active (audience of accounts 'active'), as of 2026-03-01 12:00:00 UTC\n"
        ": user_id bob, email bob@x.io\n"
        "\n"
        "✓ member: account acme qualifies\n"
        "Changes by itself at 2026-03-07 12:00:00.000001 UTC: leaves.\n"
        "\n"
        "✓ account acme   (2 users; named by this person 2026-02-21 12:00:00 UTC)\n"
        "  Changes by itself at 2026-03-07 12:00:00.000001 UTC: doesn't qualify any more.\n"
        "  ✓ all of (AND):\n"
        "    ✓ event('Login').within(7 days).count() >= 1\n"
        "        count() = 1\n"
        "          1 event counts; left out: 1 by within(7 days)\n"
        "          ✓ 2026-02-28 12:00:00 UTC  web  of user_id ann\n"
        "          ✗ 2026-01-30 12:00:00 UTC  web  of user_id bob   (by within(7 days))\n"
        "    ✓ not (NOT):\n"
        "      ✗ trait('seats') > 3\n"
        "          trait('seats') = \"two\"   (sent 2026-02-20 12:00:00 UTC; no number, so the comparison is false)\n"
        "    ✓ ANY trait('role') = 'admin'\n"
        "        holds for 1 of 2 users; one is enough\n"
        "        ✗ user_id bob\n"
        "            ✗ trait('role') = 'admin'\n"
        "                trait('role') is absent\n"
        "        ✓ user_id ann\n"
        "            ✓ trait('role') = 'admin'\n"
        "                trait('role') = \"admin\"   (sent 2026-02-28 12:00:00 UTC)\n"
        "\n"
        "✗ account beta   (2 users; named by this person 2026-02-22 12:00:00 UTC)\n"
        "  Never changes by itself.\n"
        "  ✗ all of (AND):\n"
        "    ✓ event('Login').within(7 days).count() >= 1\n"
        "        count() = 1\n"
        "          1 event counts; left out: 1 by within(7 days)\n"
        "          ✓ 2026-02-27 12:00:00 UTC  web  of user_id cid\n"
        "          ✗ 2026-01-30 12:00:00 UTC  web  of user_id bob   (by within(7 days))\n"
        "    ✓ not (NOT):\n"
        "      ✗ trait('seats') > 3\n"
        "          trait('seats') is absent\n"
        "    ✗ ANY trait('role') = 'admin'\n"
        "        holds for 0 of 2 users; one is enough\n"
        "        ✗ user_id bob\n"
        "            ✗ trait('role') = 'admin'\n"
        "                trait('role') is absent\n"
        "        ✗ user_id cid\n"
        "            ✗ trait('role') = 'admin'\n"
        "                trait('role') is absent\n"
        "\n"
        "Snapshot: member since 2026-03-01 12:00:00 UTC; last computed as of 2026-03-01 12:00:00 UTC\n"
        "Told:\n"
        "  iterable  bob@x.io  identify: nothing confirmed, waiting true"
    )


def test_a_trait_is_that_of_the_account_named_last_and_the_others_are_shown_beside_it(world: World) -> None:
    world.event("ann", "Login", T - DAY, n=1)
    world.event("bob", "Login", T - 3 * DAY, n="x")
    world.event("cid", "Login", T - 2 * DAY)
    world.apply(trait("newest", "event('Login').within(7 days).last(property('n'))", of_accounts=True))
    world.compute(as_of=T)
    found = ask(world, "newest")
    assert (found["value"], found["expression"]) == ("x", None)
    assert [(each["group_id"], each["value"], each["is_told"]) for each in found["accounts"]] == [
        ("beta", "x", True),
        ("acme", 1, False),
    ]
    made_by = found["accounts"][1]["expression"]["events"]["made_by"]
    assert (made_by["user"]["user_id"], made_by["user"]["emails"]) == ("ann", ["ann@x.io"])
    shown = printed(found)
    assert '✓ value: "x" (that of account beta, which the newest group call named)' in shown
    assert "✗ account acme: 1   (2 users; named by this person 2026-02-21 12:00:00 UTC, not the newest," in shown
    assert (found["next_change"]["at"], found["next_change"]["value"]) == (T + 4 * DAY + TICK, None)
    assert found["accounts"][1]["next_change"]["at"] == T + 6 * DAY + TICK


def test_values_of_the_wrong_type_are_counted_in_all_users_events(world: World) -> None:
    for name, total in (("ann", "n/a"), ("bob", True), ("bob", 2)):
        world.event(name, "Login", T - DAY, total=total)
    world.apply(trait("spent", "event('Login').sum(property('total'))", of_accounts=True))
    (skipped,) = ask(world, "spent", "ann")["accounts"][0]["expression"]["events"]["skipped"]
    assert (skipped["values"], skipped["skipped"], skipped["example"]) == (3, 2, "n/a")


def test_a_funnel_goes_on_with_another_user(world: World) -> None:
    world.event("bob", "Cart", T - 3 * HOUR, id="c1")
    world.event("cid", "Buy", T - 2 * HOUR, id="c1")
    bought = "event('Buy').within(parent: 1 day).where(property('id') = property(parent: 'id')).exists()"
    world.apply(audience("bought", f"event('Cart').where({bought}).exists()", of_accounts=True))
    world.compute(as_of=T)
    found = ask(world, "bought")
    assert found["value"]
    beta = next(each for each in found["accounts"] if each["group_id"] == "beta")
    (cart,) = beta["expression"]["left"]["events"]["newest"]
    (buy,) = cart["where"][0]["left"]["events"]["newest"]
    assert (cart["user"]["user_id"], buy["user"]["user_id"]) == ("bob", "cid")
    assert printed(found).count('of user_id cid  id: "c1"') == 1


def test_what_users_are_in_moves_along_with_each_of_them(world: World) -> None:
    world.event("ann", "Order", T - DAY)
    world.event("cid", "Order", T - 3 * DAY)
    world.event("bob", "Order", T - 2 * DAY)
    world.apply(
        audience("buyer", "event('Order').within(10 days).exists()"),
        audience("of_buyers", "ALL (trait('buyer') = 'true')", of_accounts=True),
        audience("with_buyers", "trait('of_buyers') = 'true'"),
    )
    world.compute(as_of=T)
    # Beta goes with Cid, Acme a day later with Bob, whose order is two days old.
    found = ask(world, "of_buyers")
    assert [(each["group_id"], each["next_change"]["at"]) for each in found["accounts"]] == [
        ("beta", T + 7 * DAY + TICK),
        ("acme", T + 8 * DAY + TICK),
    ]
    assert (found["next_change"]["at"], found["next_change"]["because"]) == (T + 8 * DAY + TICK, ["buyer"])
    (buyer,) = found["referenced"]
    assert [(each["user"]["user_id"], each["value"]) for each in buyer["of"]] == [("cid", False)]
    shown = printed(found)
    assert "  buyer, which it refers to, turns false for user_id cid by itself at 2026-03-08 12:00:00.000001" in shown
    assert "at 2026-03-08 12:00:00.000001 UTC: doesn't qualify any more, as buyer changes then." in shown
    found = ask(world, "with_buyers")
    assert (found["next_change"]["at"], found["accounts"]) == (T + 8 * DAY + TICK, None)
    assert found["next_change"]["because"] == ["buyer", "of_buyers"]


def test_dates_of_accounts_and_users_are_edges(world: World) -> None:
    world.group("ann", "acme", T - 9 * DAY, renews=(T + 10 * DAY).isoformat())
    world.trait("cid", "birthday", (T + 5 * DAY).isoformat(), T)
    world.apply(
        audience("renewing", "trait('renews').within_next(48 hours)", of_accounts=True),
        audience("celebrating", "ANY (trait('birthday').within_next(48 hours))", of_accounts=True),
    )
    world.compute(as_of=T)
    assert ask(world, "renewing")["next_change"]["at"] == T + 8 * DAY
    assert ask(world, "celebrating")["next_change"]["at"] == T + 3 * DAY


def test_of_many_users_those_who_decide_are_shown_and_of_many_accounts_the_first(world: World) -> None:
    for number in range(20):
        world.person(f"p{number}", user_id=f"p{number}")
        world.group(f"p{number}", "acme", T)
        world.group("ann", f"g{number}", T - 100 * DAY)
    world.event("p7", "Login", T)
    world.apply(
        audience("any_in", "ANY (event('Login').exists())", of_accounts=True),
        audience("not_one", "ALL (event('Login').count() = 0)", of_accounts=True),
    )
    world.compute(as_of=T)
    found = ask(world, "any_in", "ann")
    assert [each["expression"] is not None for each in found["accounts"]] == [True] * 5 + [False] * 16
    acme = found["accounts"][0]
    assert (acme["group_id"], acme["expression"]["users"], acme["expression"]["met"]) == ("acme", 22, 1)
    # Herself, then who it holds for.
    assert [each["user"]["user_id"] for each in acme["expression"]["shown"]][:2] == ["ann", "p7"]
    shown = printed(found)
    assert "\n      … and 19 more" in shown
    assert "… and 16 more accounts, of which 0 qualify" in shown
    (decided,) = ask(world, "not_one", "p8")["accounts"]
    assert [each["user"]["user_id"] for each in decided["expression"]["shown"]][:2] == ["p8", "p7"]


def test_people_without_accounts_and_anonymous_ones_are_told_so(world: World) -> None:
    world.person("guest")
    world.gain("guest", "anonymous_id", "x1")
    world.group("guest", "beta", T - DAY)
    world.event("guest", "Login", T - DAY)
    world.apply(
        audience("known", "event('Login').exists() OR trait('plan') = 'free'", of_accounts=True),
        audience("everybody", "ALL (event('Login').exists())", of_accounts=True, include_anonymous=True),
    )
    world.compute(as_of=T)
    assert "✗ no member: in no account\n" in printed(ask(world, "known", "dan"))
    found = explain(world.engine, "known", "anonymous_id:x1", as_of=T)
    assert (found["value"], found["accounts"][0]["value"], found["accounts"][0]["is_told"]) == (False, True, False)
    assert found["accounts"][0]["expression"]["operands"][0]["value"] is False
    assert "✗ no member\nAnonymous people" in printed(found)
    found = explain(world.engine, "everybody", "anonymous_id:x1", as_of=T)
    assert (found["accounts"][0]["users"], found["accounts"][0]["expression"]["met"]) == (3, 1)


def test_of_several_accounts_the_one_that_decides_is_the_one_whose_change_counts(world: World) -> None:
    for days in (1, 2, 3):
        world.event("ann", "Login", T - days * DAY)
    world.event("cid", "Login", T - 4 * DAY)
    world.apply(
        audience("active", "event('Login').within(7 days).exists() AND trait('plan') = 'gold'", of_accounts=True),
        trait("logins", "event('Login').within(7 days).count()", of_accounts=True),
    )
    world.compute(as_of=T)
    # Bob's other account changes three days before, to no effect.
    found = ask(world, "active")
    assert (found["next_change"]["at"], found["next_change"]["value"]) == (T + 6 * DAY + TICK, False)
    world.group("bob", "acme", T - DAY)
    world.event("bob", "Logout", T)
    for days in (5, 6):
        world.event("cid", "Login", T - days * DAY)
    found = ask(world, "logins")
    assert (found["value"], found["next_change"]["at"], found["next_change"]["value"]) == (3, T + 4 * DAY + TICK, 2)


def test_what_another_user_did_is_why_a_snapshot_differs(world: World) -> None:
    world.apply(audience("active", "event('Login').exists()", of_accounts=True))
    world.compute()
    world.event("ann", "Login", datetime.now(UTC) - HOUR)
    found = ask(world, "active", as_of=None)
    assert (found["value"], found["snapshot"]["value"]) == (True, False)
    assert any(
        "somebody who shares an account has changed" in reason for reason in found["snapshot"]["differs_because"]
    )
    past = ask(world, "active", as_of=T - 300 * DAY)
    assert past["snapshot"]["value"] is False
    assert past["value"] is False
