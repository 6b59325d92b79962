"""Definitions of accounts: who is in by what any or all of an account's users did, and whom a change reaches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from engage_sync import reports
from engage_sync.database import locks, migrate, scratch
from engage_sync.definitions import versions
from engage_sync.evaluation import dirty
from engage_sync.ingest.calls import IncomingCall
from engage_sync.profiles import resolver
from engage_sync.sync import choosing, resolving
from engage_sync.sync import compute as computation
from engage_sync.sync.backtesting import backtest
from engage_sync.sync.catalog import Catalog
from engage_sync.sync.previewing import preview
from tests.integration.resolving import call, reasons, resolve, rows
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


def test_an_account_too_large_for_a_round_is_a_run_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "MOST", 2)
    world.apply(audience("active", "event('Login').count() >= 1", of_accounts=True))
    world.compute(as_of=T)
    world.event("bob", "Login", T)
    report = world.compute(as_of=T + HOUR)["active"]
    assert (report.scope, report.progress.evaluated) == ("dirty", 3)
    assert world.members("active") == {"ann", "bob", "cid"}
    assert_nothing_is_missing(world, T + HOUR)


def test_a_set_that_was_not_read_whole_says_so(world: World) -> None:
    world.apply(audience("active", "event('Login').count() >= 1", of_accounts=True))
    world.compute(as_of=T)
    world.event("bob", "Login", T)
    with world.engine.begin() as connection:
        definition = connection.execute(text("SELECT id FROM definitions")).scalar_one()
        # Bob and those who share an account with him are five rows, himself among them: he is in two accounts.
        watch = dirty.Watch(definition_id=definition, reasons=frozenset({"event:Login"}), of_accounts=True)
        for number in range(20):
            connection.execute(
                text("INSERT INTO account_members VALUES (:profile, (SELECT min(id) FROM accounts), now())"),
                {"profile": 1000 + number},
            )
        small = dirty.sets(connection, [watch], [], 2, dated=[], until=T)
        large = dirty.sets(connection, [watch], [], 100, dated=[], until=T)
    assert small is not None
    assert large is not None
    assert not small[definition].is_whole
    assert large[definition].is_whole
    assert len(large[definition].profiles) == 23


def test_a_backtest_reaches_all_of_an_account(world: World) -> None:
    world.event("ann", "Login", T + DAY)
    world.apply(audience("active", "event('Login').within(1 day).exists()", of_accounts=True))
    found = backtest(world.engine, world.context, (), "active", start=T - T.hour * HOUR, end=T + 3 * DAY)
    assert [(past.members, past.tally.entered, past.tally.exited) for past in found.past] == [
        (0, 0, 0), (0, 0, 0), (2, 2, 0), (0, 0, 2), (0, 0, 0)
    ]  # fmt: skip


def test_a_preview_asks_of_accounts(world: World) -> None:
    world.event("ann", "Login", T)
    given = {"as_of": T, "sample": 10, "include_anonymous": False, "of_accounts": True}
    query = "trait('plan') = 'gold' AND ANY (event('Login').exists())"
    found = preview(world.engine, world.context, query, **given)
    assert [person["user_id"] for person in found["sample"]] == ["ann", "bob"]
    assert [(each["alone"], each["cumulative"]) for each in found["waterfall"]["conditions"]] == [(2, 2), (2, 2)]
    found = preview(world.engine, world.context, "event('Login').count()", **given)
    assert [(person["user_id"], person["value"]) for person in found["sample"]] == [("ann", 1)]


def test_people_are_shown_with_their_accounts(world: World) -> None:
    world.apply(audience("known", "trait('plan').exists()", of_accounts=True))
    world.compute(as_of=T)
    with world.engine.begin() as connection:
        found = reports.members(connection, versions.find(connection, "known"))
        bob = reports.profile(connection, "user_id:bob")
    assert {person["user_id"]: person["accounts"] for person in found["members"]} == {
        "ann": ["acme"], "bob": ["beta", "acme"], "cid": ["beta"]
    }  # fmt: skip
    assert bob["accounts"] == [
        {"group_id": "beta", "timestamp": T - 7 * DAY, "traits": {"plan": "free"}},
        {"group_id": "acme", "timestamp": T - 8 * DAY, "traits": {"plan": "gold", "seats": 2}},
    ]


# --- group calls ----------------------------------------------------------------------------------------------------


def test_a_group_call_makes_an_account_its_traits_and_a_member(engine: Engine) -> None:
    resolve(engine, group("u1", "acme", {"plan": "gold", "none": None}), call(userId="u1", event="E"))
    assert accounts(engine) == {"acme": ({"plan": "gold", "none": None}, {"u1"})}
    assert reasons(engine) == [
        ["account", "account_trait:none", "account_trait:plan", "created", "event:E", "event:Group"]
    ]
    resolve(engine, group("u1", "acme", {"plan": "gold"}), group("u2", "acme"), group("u2", "beta", {"plan": "free"}))
    assert accounts(engine) == {
        "acme": ({"plan": "gold", "none": None}, {"u1", "u2"}),
        "beta": ({"plan": "free"}, {"u2"}),
    }
    # u1 said nothing new.
    assert reasons(engine)[1:] == [["event:Group"], ["account", "account_trait:plan", "created", "event:Group"]]


def test_calls_of_a_person_in_several_accounts_touch_where_their_order_changes(engine: Engine) -> None:
    days = [f"2026-01-0{day}T00:00:00Z" for day in range(1, 6)]
    resolve(engine, group("u1", "a", timestamp=days[0]), group("u1", "b", timestamp=days[2]))
    resolve(engine, group("u1", "a", timestamp=days[1]))
    resolve(engine, group("u1", "b", timestamp=days[3]))
    resolve(engine, group("u1", "a", timestamp=days[4]))
    assert [("account" in found) for found in reasons(engine)] == [True, False, False, True]


def test_a_merge_brings_memberships_together(engine: Engine) -> None:
    resolve(
        engine,
        call("group", anonymousId="a1", groupId="acme", timestamp="2026-01-01T00:00:00Z"),
        group("u1", "beta", timestamp="2026-01-01T00:00:00Z"),
        group("u1", "acme", timestamp="2026-01-02T00:00:00Z"),
    )
    resolve(engine, call("identify", userId="u1", anonymousId="a1"))
    assert accounts(engine) == {"acme": ({}, {"u1"}), "beta": ({}, {"u1"})}
    newest = rows(engine, "SELECT max(timestamp)::date::text AS day FROM account_members")
    assert [row.day for row in newest] == ["2026-01-02"]


def test_calls_from_before_there_were_accounts_make_theirs(engine: Engine) -> None:
    resolve(
        engine,
        group("u1", "acme", {"plan": "old", "seats": 2}, timestamp="2026-01-01T00:00:00Z"),
        group("u2", "acme", {"plan": "new"}, timestamp="2026-01-02T00:00:00Z"),
        group("u2", "beta", timestamp="2026-01-02T00:00:00Z"),
        call(userId="u3", event="Group", properties={"groupId": "track"}),
    )
    before = accounts(engine)
    assert before == {"acme": ({"plan": "new", "seats": 2}, {"u1", "u2"}), "beta": ({}, {"u2"})}
    with engine.connect() as connection:
        configuration = migrate.configuration()
        configuration.attributes["connection"] = connection
        command.downgrade(configuration, "0002")
        command.upgrade(configuration, "head")
        connection.commit()
    assert accounts(engine) == before


# --- calls, merges and turns of real time, at random ----------------------------------------------------------------

_when = st.sampled_from([f"2026-01-0{day}T00:00:00Z" for day in (1, 2, 3)])
_who = st.fixed_dictionaries(
    {"anonymousId": st.sampled_from(["a1", "a2", "a3"])}, optional={"userId": st.sampled_from(["u1", "u2", "u3"])}
)
_said = st.one_of(
    st.builds(lambda event: {"type_": "track", "event": event}, st.sampled_from(["Login", "Order"])),
    st.builds(lambda role: {"type_": "identify", "traits": {"role": role}}, st.sampled_from(["admin", "user"])),
    *[
        st.builds(
            lambda group_id, traits: {"type_": "group", "groupId": group_id, "traits": traits},
            st.sampled_from(["acme", "beta"]),
            st.dictionaries(st.just("plan"), st.sampled_from(["gold", "free"]), max_size=1),
        )
    ]
    * 2,
)
_calls = st.builds(lambda who, said, timestamp: call(**who, **said, timestamp=timestamp), _who, _said, _when)
_DEFINITIONS = [
    audience("admin", "trait('role') = 'admin' AND event('Order').count() >= 1"),
    audience("pool", "event('Login').count() >= 2 AND trait('plan') = 'gold'", of_accounts=True),
    audience("any_admin", "ANY (trait('admin') = 'true')", of_accounts=True),
    audience("nobody", "ALL (event('Login').count() = 0)", of_accounts=True, include_anonymous=True),
    audience("mixed", "NOT ANY (trait('role') = 'admin') OR event('Order').count() >= 2", of_accounts=True),
    audience("free", "trait('any_admin') = 'true' AND event('Login').count() = 0"),
    trait("orders", "event('Order').count()", of_accounts=True),
    trait("plan_of", "trait('plan')", of_accounts=True, include_anonymous=True),
]


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(st.lists(_calls, min_size=1, max_size=4), min_size=1, max_size=6))
def test_real_time_and_merges_leave_nothing_to_a_full_computation(engine: Engine, batches: list[list[Any]]) -> None:
    with engine.begin() as connection:
        scratch.empty(connection)
    world = World(engine)
    world.apply(*_DEFINITIONS)
    world.compute()
    with engine.begin() as connection:
        catalog = Catalog.load(connection)
    for calls in batches:
        found, refused = resolver.read_facts(calls, {})
        assert refused == []
        with engine.begin() as connection:
            locks.wait(connection, locks.LockClass.RESOLVER)
            assert resolving.resolve(connection, found, {}).refused == []
        while computation.turn(engine, world.context, catalog, catalog.definitions, sweeps=True).touched:
            pass
    for report in world.compute(full=True).values():
        tally = report.progress.tally
        assert (report.key, tally.entered, tally.exited, tally.changed) == (report.key, 0, 0, 0)


def group(user: str, group_id: str, traits: Any = None, **body: Any) -> IncomingCall:
    return call("group", userId=user, groupId=group_id, traits=traits or {}, **body)


def accounts(engine: Engine) -> dict[str, tuple[dict[str, Any], set[str]]]:
    """The traits and the members' user ids, by the groupId."""
    found = rows(
        engine,
        """
        SELECT group_id, coalesce((SELECT jsonb_object_agg(name, value) FROM account_traits
                                   WHERE account_id = accounts.id), '{}') AS traits,
               ARRAY(SELECT identities.value FROM account_members JOIN identities USING (profile_id)
                     WHERE account_id = accounts.id AND identities.type = 'user_id') AS members
        FROM accounts
        """,
    )
    return {row.group_id: (row.traits, set(row.members)) for row in found}


def assert_nothing_is_missing(world: World, as_of: Any) -> None:
    """What ticks made is what a full computation makes."""
    for report in world.compute(as_of=as_of, full=True).values():
        tally = report.progress.tally
        assert (report.key, tally.entered, tally.exited, tally.changed) == (report.key, 0, 0, 0)
    with world.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM computations WHERE error IS NOT NULL")).scalar() == 0
