"""From facts and definitions to snapshots and messages: the seed case, and the rules of who is told what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from engage_sync import errors
from engage_sync.sync import compute as use_case
from tests.world import BOTH, TRAIT_BOTH, World, audience, trait

T = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
RECENT = "event('Order Completed').within(30 days).count() >= 1"


@pytest.fixture
def world(engine: Engine) -> World:
    return World(engine)


def test_an_order_within_30_days_is_told_once_and_its_end_once(world: World) -> None:
    world.person("ann", user_id="u1", emails=("ann@x.io",))
    world.event("ann", "Order Completed", T, total=12.5)
    world.apply(audience("order_completed_last_30days", RECENT))

    assert world.compute(as_of=T)["order_completed_last_30days"].members == 1
    assert world.deliver() == [("ann@x.io", "order_completed_last_30days", "identify", True)]
    for hours in (1, 24, 29 * 24, 30 * 24):
        world.compute(as_of=T + hours * HOUR)
        assert world.deliver() == [], hours
    world.compute(as_of=T + 30 * DAY + timedelta(microseconds=1))
    assert world.deliver() == [("ann@x.io", "order_completed_last_30days", "identify", False)]
    world.compute(as_of=T + 31 * DAY)
    assert world.deliver() == []


def test_three_emails_are_three_calls_and_no_identifier_is_none(world: World) -> None:
    world.person("three", user_id="u1", emails=("a@x.io", "b@x.io", "c@x.io"))
    world.person("user", user_id="u2")
    world.person("nobody")
    for name in ("three", "user", "nobody"):
        world.event(name, "Order Completed", T)
    world.apply(audience("recent", RECENT), audience("recent_all", RECENT, include_anonymous=True))
    world.compute(as_of=T)
    assert sorted(world.deliver()) == [
        (identity, key, "identify", True)
        for identity in ("a@x.io", "b@x.io", "c@x.io", "u2")
        for key in ("recent", "recent_all")
    ]
    assert world.members("recent") == {"three", "user"}
    assert world.members("recent_all") == {"three", "user", "nobody"}


def test_identify_goes_before_track(world: World) -> None:
    world.person("ann", emails=("a@x.io",))
    world.event("ann", "Order Completed", T)
    world.apply(audience("recent", RECENT, destinations=BOTH))
    world.compute(as_of=T)
    assert world.deliver() == [("a@x.io", "recent", "identify", True), ("a@x.io", "recent", "track", True)]
    world.compute(as_of=T + 40 * DAY)
    assert world.deliver() == [("a@x.io", "recent", "identify", False), ("a@x.io", "recent", "track", False)]


def test_a_late_event_counts_by_its_own_timestamp(world: World) -> None:
    world.person("ann", emails=("a@x.io",))
    world.apply(audience("recent", RECENT), trait("orders", "event('Order Completed').count()"))
    world.compute(as_of=T)
    world.event("ann", "Order Completed", T - 10 * DAY)
    world.compute(as_of=T + HOUR)
    assert world.deliver() == [("a@x.io", "recent", "identify", True), ("a@x.io", "orders", "identify", 1)]
    world.compute(as_of=T + 21 * DAY)
    assert world.deliver() == [("a@x.io", "recent", "identify", False)]


def test_an_event_of_the_future_counts_from_its_timestamp_on(world: World) -> None:
    world.person("ann", emails=("a@x.io",))
    world.event("ann", "Order Completed", T + 2 * HOUR)
    world.apply(audience("bought", "event('Order Completed').count() >= 1"))
    world.compute(as_of=T)
    world.compute(as_of=T + HOUR)
    assert world.deliver() == []
    world.compute(as_of=T + 2 * HOUR)
    assert world.deliver() == [("a@x.io", "bought", "identify", True)]


def test_time_alone_lets_people_enter(world: World) -> None:
    world.person("ann", emails=("a@x.io",))
    world.person("bob", emails=("b@x.io",))
    world.event("ann", "Order Completed", T)
    world.apply(
        audience("lapsed", "event('Order Completed').count() >= 1 AND NOT " + RECENT),
        audience("quiet", "event('Order Completed').within(30 days).count() = 0"),
        audience("once", "event('Order Completed').between(5 days, 10 days).count() < 1"),
    )
    world.compute(as_of=T)
    assert (world.members("lapsed"), world.members("quiet"), world.members("once")) == (set(), {"bob"}, {"ann", "bob"})
    world.compute(as_of=T + 5 * DAY)
    assert world.members("once") == {"bob"}
    world.compute(as_of=T + 31 * DAY)
    assert (world.members("lapsed"), world.members("quiet"), world.members("once")) == (
        {"ann"}, {"ann", "bob"}, {"ann", "bob"}
    )  # fmt: skip


def test_a_new_email_hears_what_is_true_and_only_that(world: World) -> None:
    world.person("ann", emails=("a@x.io",))
    world.event("ann", "Order Completed", T, total=10)
    world.apply(
        audience("recent", RECENT),
        audience("never", "event('Order Completed').count() = 0"),
        trait("spent", "event('Order Completed').sum(property('total'))"),
    )
    world.compute(as_of=T)
    world.deliver()
    world.gain("ann", "email", "new@x.io")
    world.compute(as_of=T + HOUR)
    assert world.deliver() == [("new@x.io", "recent", "identify", True), ("new@x.io", "spent", "identify", 10.0)]


def test_the_first_email_succeeds_the_user_id(world: World) -> None:
    world.person("ann", user_id="u1")
    world.event("ann", "Order Completed", T)
    world.apply(audience("recent", RECENT))
    world.compute(as_of=T)
    assert world.deliver() == [("u1", "recent", "identify", True)]
    world.gain("ann", "email", "a@x.io")
    world.compute(as_of=T + HOUR)
    assert world.deliver() == [("a@x.io", "recent", "identify", True)]
    world.compute(as_of=T + 40 * DAY)
    assert world.deliver() == [("a@x.io", "recent", "identify", False)]


def test_an_email_that_leaves_is_told_false_unless_another_member_has_it(world: World) -> None:
    world.person("ann", user_id="u1", emails=("a@x.io", "b@x.io", "c@x.io"))
    world.person("bob", user_id="u2", emails=("bob@x.io",))
    for name in ("ann", "bob"):
        world.event(name, "Order Completed", T)
    world.apply(audience("recent", RECENT))
    world.compute(as_of=T)
    world.deliver()
    world.lose("ann", "email", "b@x.io")
    world.lose("ann", "email", "c@x.io")
    world.gain("bob", "email", "c@x.io")
    world.compute(as_of=T + HOUR)
    assert world.deliver() == [("b@x.io", "recent", "identify", False)]


def test_what_was_never_sent_is_replaced_or_taken_back(world: World) -> None:
    world.person("ann", emails=("a@x.io",))
    world.event("ann", "Order Completed", T, total=1)
    world.apply(
        trait("orders", "event('Order Completed').count()", destinations=TRAIT_BOTH), audience("recent", RECENT)
    )
    world.compute(as_of=T)
    world.event("ann", "Order Completed", T, total=1)
    world.compute(as_of=T + HOUR)
    # Identifies are replaced while they wait; each track event is said.
    assert world.waiting() == [
        ("a@x.io", "orders", "track", 1),
        ("a@x.io", "recent", "identify", True),
        ("a@x.io", "orders", "identify", 2),
        ("a@x.io", "orders", "track", 2),
    ]
    world.compute("recent", as_of=T + 40 * DAY)
    assert [said for said in world.waiting() if said[1] == "recent"] == []


def test_what_is_under_way_is_followed_by_what_is_true(world: World) -> None:
    world.person("ann", emails=("a@x.io",))
    world.trait("ann", "plan", "gold", T)
    world.apply(audience("gold", "trait('plan') = 'gold'"))
    world.compute(as_of=T)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE messages SET attempts = 1, started_at = now()"))
    for hour, plan in enumerate(("none", "gold", "none"), start=1):
        world.trait("ann", "plan", plan, T + hour * HOUR)
        world.compute(as_of=T + hour * HOUR)
    # The first one may arrive any time: what is true now waits behind it, though nothing was ever confirmed.
    assert world.waiting() == [("a@x.io", "gold", "identify", True), ("a@x.io", "gold", "identify", False)]


def test_values_of_emptied_windows_are_told_as_nothing(world: World) -> None:
    world.person("ann", emails=("a@x.io",))
    world.person("bob", emails=("b@x.io",))
    world.event("ann", "Order Completed", T, total="12.50", coupon="A")
    for key, query in {
        "count": "count()", "sum": "sum(property('total'))", "avg": "avg(property('total'))",
        "first": "first(property('coupon'))", "unique": "unique(property('coupon'))",
        "unique_count": "unique(property('coupon')).count()", "mode": "mode(property('coupon'), 1)",
        "max": "max(property('total'))",
    }.items():  # fmt: skip
        world.apply(trait(key, f"event('Order Completed').within(1 day).{query}"))
    world.compute(as_of=T)
    assert sorted(world.deliver(), key=lambda said: said[1]) == [
        ("a@x.io", "avg", "identify", 12.5), ("a@x.io", "count", "identify", 1), ("a@x.io", "first", "identify", "A"),
        ("a@x.io", "max", "identify", 12.5), ("a@x.io", "mode", "identify", "A"),
        ("a@x.io", "sum", "identify", 12.5), ("a@x.io", "unique", "identify", ["A"]),
        ("a@x.io", "unique_count", "identify", 1),
    ]  # fmt: skip
    world.compute(as_of=T + 2 * DAY)
    assert sorted(world.deliver(), key=lambda said: said[1]) == [
        ("a@x.io", "avg", "identify", None), ("a@x.io", "count", "identify", 0), ("a@x.io", "first", "identify", None),
        ("a@x.io", "max", "identify", None), ("a@x.io", "mode", "identify", None), ("a@x.io", "sum", "identify", 0.0),
        ("a@x.io", "unique", "identify", []), ("a@x.io", "unique_count", "identify", 0),
    ]  # fmt: skip
    assert world.values("sum") == {}


def test_definitions_that_use_others_follow_in_the_same_run(world: World) -> None:
    world.person("ann", emails=("a@x.io",))
    world.apply(
        audience("big", "trait('spent') >= 100 AND trait('recent') = 'true'"),
        trait("spent", "event('Order Completed').sum(property('total'))"),
        audience("recent", RECENT),
        audience("not_recent", "NOT trait('recent') = 'true'"),
    )
    world.compute(as_of=T)
    assert world.members("not_recent") == {"ann"}
    world.event("ann", "Order Completed", T, total=150)
    world.compute(as_of=T + HOUR)
    assert (world.members("big"), world.members("not_recent")) == ({"ann"}, set())
    world.compute("big", as_of=T + 31 * DAY)
    assert world.members("big") == set()


def test_a_second_run_and_a_full_run_change_nothing(world: World) -> None:
    for number in range(5):
        world.person(f"p{number}", emails=(f"p{number}@x.io",))
        world.event(f"p{number}", "Order Completed", T - number * 10 * DAY, total=number)
    world.apply(audience("recent", RECENT), trait("spent", "event('Order Completed').sum(property('total'))"))
    world.compute(as_of=T)
    assert len(world.deliver()) == 9
    for full in (False, True):
        for report in world.compute(as_of=T, full=full).values():
            assert report.progress.tally.entered == report.progress.messages == 0
            assert report.scope == ("all" if full else "dirty")
    assert world.deliver() == []


def test_the_past_is_refused_and_the_last_instant_may_be_repeated(world: World) -> None:
    world.person("ann", emails=("a@x.io",))
    world.apply(audience("recent", RECENT))
    world.compute(as_of=T)
    world.event("ann", "Order Completed", T - HOUR)
    assert world.compute(as_of=T)["recent"].progress.tally.entered == 1
    with pytest.raises(errors.NotMonotonic, match="recent was last computed as of"):
        world.compute(as_of=T - timedelta(microseconds=1))


def test_a_changed_query_sends_only_the_differences(world: World) -> None:
    for name, days in (("ann", 1), ("bob", 20)):
        world.person(name, emails=(f"{name}@x.io",))
        world.event(name, "Order Completed", T - days * DAY)
    world.apply(audience("recent", RECENT))
    world.compute(as_of=T)
    world.deliver()
    world.apply(audience("recent", RECENT.replace("30", "7")))
    world.compute(as_of=T + HOUR)
    assert world.deliver() == [("bob@x.io", "recent", "identify", False)]
    world.apply(audience("recent", RECENT.replace("30", "7"), destinations=BOTH))
    world.compute(as_of=T + 2 * HOUR)
    assert world.deliver() == [("ann@x.io", "recent", "track", True)]


def test_a_definition_that_fails_is_marked_and_the_others_go_on(world: World) -> None:
    world.person("ann", emails=("a@x.io",))
    world.event("ann", "Order Completed", T)
    world.apply(audience("recent", RECENT), audience("other", RECENT))
    with world.engine.begin() as connection:
        # The other one meets a statement that Postgres refuses.
        connection.execute(
            text(
                """
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no room'; END $$;
                CREATE TRIGGER refuse BEFORE INSERT ON snapshots FOR EACH ROW WHEN (NEW.definition_id = 2)
                EXECUTE FUNCTION refuse()
                """
            )
        )

    reports = {report.key: report for report in use_case.compute(world.engine, world.context, as_of=T)}
    assert reports["recent"].error is None
    assert reports["other"].error is not None
    assert reports["other"].error.startswith("no room")
    assert world.deliver() == [("a@x.io", "recent", "identify", True)]
    with world.engine.begin() as connection:
        assert connection.execute(text("SELECT error FROM computations WHERE definition_id = 2")).scalar_one()
