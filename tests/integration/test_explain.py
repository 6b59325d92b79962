"""Why a definition says what it says of a person: each construct of the language, as its reader sees it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from engage_sync import errors
from engage_sync.cli.explanation import lines
from engage_sync.evaluation.explain import turning
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


def asked(world: World, query: str, **options: Any) -> dict[str, Any]:
    world.apply(audience("it", query, **options))
    return ask(world, "it")


def printed(found: dict[str, Any]) -> str:
    """The lines, with the ids that chance made left out."""
    made = "\n".join(lines(found))
    return re.sub(r"  [0-9a-f-]{36}|use_[0-9a-f]{32}", "", made)


def change(found: dict[str, Any]) -> tuple[Any, Any]:
    return found["next_change"]["at"], found["next_change"]["value"]


def test_a_member_sees_her_events_and_when_she_leaves(world: World) -> None:
    world.event("ann", "Order Completed", T - DAY, total=20)
    world.event("ann", "Order Completed", T - 40 * DAY, total=30)
    world.event("ann", "Order Completed", T + HOUR, total=40)
    world.apply(audience("recent", "event('Order Completed').within(30 days).count() >= 1"))
    world.compute(as_of=T)
    assert printed(ask(world, "recent")) == (
        "recent (audience 'recent'), as of 2026-03-01 12:00:00 UTC\n"
        ": user_id u1, email ann@x.io\n"
        "\n"
        "✓ member\n"
        "Changes by itself at 2026-03-31 13:00:00.000001 UTC: leaves.\n"
        "\n"
        "✓ event('Order Completed').within(30 days).count() >= 1\n"
        "    count() = 1\n"
        "      1 event counts; left out: 1 of the future, 1 by within(30 days)\n"
        "      ✓ 2026-02-28 12:00:00 UTC  web\n"
        "      ✗ 2026-03-01 13:00:00 UTC  web   (of the future)\n"
        "      ✗ 2026-01-20 12:00:00 UTC  web   (by within(30 days))\n"
        "\n"
        "Snapshot: member since 2026-03-01 12:00:00 UTC; last computed as of 2026-03-01 12:00:00 UTC\n"
        "Told:\n"
        "  iterable  ann@x.io  identify: nothing confirmed, waiting true"
    )


def test_junctions_read_like_the_query_with_traits_and_references(world: World) -> None:
    world.trait("ann", "plan", "gold", T - DAY)
    world.event("ann", "Order Completed", T - DAY, total=20)
    world.apply(
        trait("spent", "event('Order Completed').within(90 days).sum(property('total'))"),
        audience("big", "trait('spent') > 100 AND (trait('plan') = 'gold' OR NOT trait('plan') > 3)"),
    )
    world.compute(as_of=T)
    assert printed(ask(world, "big")) == (
        "big (audience 'big'), as of 2026-03-01 12:00:00 UTC\n"
        ": user_id u1, email ann@x.io\n"
        "\n"
        "✗ no member\n"
        "Never changes by itself.\n"
        "  spent, which it refers to, loses its value by itself at 2026-05-29 12:00:00.000001 UTC.\n"
        "\n"
        "✗ all of (AND):\n"
        "  ✗ trait('spent') > 100\n"
        "      trait('spent') = 20.0   (since 2026-03-01 12:00:00 UTC)\n"
        "  ✓ any of (OR):\n"
        "    ✓ trait('plan') = 'gold'\n"
        "        trait('plan') = \"gold\"   (sent 2026-02-28 12:00:00 UTC)\n"
        "    ✓ not (NOT):\n"
        "      ✗ trait('plan') > 3\n"
        "          trait('plan') = \"gold\"   (sent 2026-02-28 12:00:00 UTC; no number, so the comparison is false)\n"
        "\n"
        "Snapshot: no member; last computed as of 2026-03-01 12:00:00 UTC\n"
        "Told: nothing, to nobody."
    )


def test_what_is_asked_twice_is_shown_each_time_as_it_is_written(world: World) -> None:
    world.event("ann", "Buy", T - HOUR, n=1)
    asks = [f"event('Buy').where(property('n') = {number}).count() > 0" for number in ("1", "1.0", "1")]
    found = asked(world, " OR ".join(asks))
    shown = [each["left"]["events"]["newest"][0]["where"][0] for each in found["expression"]["operands"]]
    assert [each["text"] for each in shown] == ["property('n') = 1", "property('n') = 1.0", "property('n') = 1"]
    assert [each["position"]["column"] for each in shown] == [
        place.start() + 1 for place in re.finditer("property", " OR ".join(asks))
    ]


def test_a_funnel_shows_each_outer_event_and_what_followed_it(world: World) -> None:
    world.event("ann", "Cart", T - 3 * HOUR, id="c1")
    world.event("ann", "Cart", T - 30 * HOUR, id="c2")
    world.event("ann", "Buy", T - 29 * HOUR, id="c2")
    world.event("ann", "Cart", T - 50 * HOUR, id="c3")
    world.event("ann", "Buy", T - 49 * HOUR, id="c2")
    bought = "event('Buy').within(parent: 1 day).where(property('id') = property(parent: 'id')).count() = 0"
    found = asked(world, f"event('Cart').within(2 days).where({bought}).count() >= 1")
    assert not found["value"]
    assert change(found) == (T + 21 * HOUR, True)
    events = found["expression"]["left"]["events"]
    assert (events["matched"], {each["by"]: each["events"] for each in events["left_out"]}) == (
        0,
        {"window": 1, "where": 2},
    )
    waiting, refused, old = events["newest_left_out"]
    assert old["left_out_by"] == {"by": "window", "text": "within(2 days)"}
    assert "where" not in old
    (condition,) = waiting["where"]
    assert (condition["value"], condition["open_until"]) == (None, T + 21 * HOUR)
    assert condition["left"]["value"] == 0
    (condition,) = refused["where"]
    assert (condition["value"], condition["left"]["value"], "open_until" in condition) == (False, 1, False)
    followed = condition["left"]["events"]
    assert [each["timestamp"] for each in followed["newest"]] == [T - 29 * HOUR]
    # That of the third cart came a day too late for the second.
    assert "window open until 2026-03-02 09:00:00 UTC: not decided yet" in printed(found)


def test_levels_of_a_funnel_are_followed_down(world: World) -> None:
    for name, hours in (("A", 10), ("B", 9), ("C", 8)):
        world.event("ann", name, T - hours * HOUR, step=name)
    found = asked(
        world, "event('A').where(event('B').where(event('C').where(property('step') = 'C').exists()).exists()).exists()"
    )
    assert found["value"]
    level = found["expression"]["left"]["events"]
    for name in ("A", "B"):
        (event,) = level["newest"]
        assert (level["event"], event["where"][0]["value"]) == (name, True)
        level = event["where"][0]["left"]["events"]
    assert (level["event"], level["matched"], level["newest"][0]["properties"]) == ("C", 1, {"step": "C"})


def test_values_of_the_wrong_type_are_counted_with_an_example(world: World) -> None:
    for total in (10, "20", "n/a", True, None):
        world.event("ann", "Order Completed", T - HOUR, total=total)
    world.event("ann", "Order Completed", T - HOUR, items=[{"price": 1}, {"price": "free"}])
    world.apply(
        trait("spent", "event('Order Completed').sum(property('total'))"),
        trait("prices", "event('Order Completed').sum(property('items.$.price'))"),
        audience("dear", "event('Order Completed').where(property('total') > 15).count() >= 1"),
        audience("dated", "event('Order Completed').where(property('total').within_last(1 day)).count() >= 1"),
    )
    skipped = {}
    for key in ("spent", "prices", "dear", "dated"):
        expression = ask(world, key)["expression"]
        (skipped[key],) = expression.get("left", expression)["events"]["skipped"]
    assert {key: (each["values"], each["skipped"], each["expected"]) for key, each in skipped.items()} == {
        "spent": (4, 2, "number"),
        "prices": (2, 1, "number"),
        "dear": (4, 2, "number"),
        "dated": (4, 3, "date"),
    }
    assert skipped["prices"]["example"] == "free"
    assert "1 of 2 values of property('items.$.price') are no number and skipped" in printed(ask(world, "prices"))


@pytest.mark.parametrize(("reducer", "total"), [("first", 3), ("last", 2), ("min", 1), ("max", 4)])
def test_the_event_that_makes_the_value_is_named(world: World, reducer: str, total: int) -> None:
    for hours, value in ((9, None), (8, 3), (7, 1), (6, 4), (5, 2), (4, None)):
        world.event("ann", "Order Completed", T - hours * HOUR, total=value)
    world.apply(trait("it", f"event('Order Completed').{reducer}(property('total'))"))
    found = ask(world, "it", events=1)
    events = found["expression"]["events"]
    assert (found["value"], events["made_by"]["properties"]) == (total, {"total": total})
    assert len(events["newest"]) == 1
    assert "★" in printed(found)


def test_each_filter_says_how_many_it_leaves_out(world: World) -> None:
    world.event("ann", "View", T - HOUR, source="app", page="a")
    world.event("ann", "View", T - HOUR, page="a")
    world.event("ann", "View", T - HOUR, page="b")
    world.event("ann", "View", T - 30 * DAY, page="a")
    found = asked(
        world, "event('View').where(property('page') = 'a').sources(exclude: 'app').between(0 days, 7 days).exists()"
    )
    events = found["expression"]["left"]["events"]
    assert [(each["by"], each["text"], each["events"]) for each in events["left_out"]] == [
        ("window", "between(0 days, 7 days)", 1),
        ("sources", "sources(exclude: 'app')", 1),
        ("where", "where(property('page') = 'a')", 1),
    ]
    assert events["matched"] == 1


def test_history_that_is_left_out_is_said(world: World) -> None:
    now = datetime.now(UTC)
    world.event("ann", "View", now - DAY)
    world.apply(audience("it", "event('View').exists()", include_historical_data=False))
    found = ask(world, "it", as_of=None)
    assert not found["value"]
    (reason,) = found["expression"]["left"]["events"]["left_out"]
    assert (reason["by"], reason["events"]) == ("history", 1)
    assert "don't count (include_historical_data)." in printed(found)


def test_anonymous_people_do_not_count_unless_they_are_included(world: World) -> None:
    world.person("nobody")
    world.gain("nobody", "anonymous_id", "x1")
    world.event("nobody", "View", T - HOUR)
    world.apply(
        audience("known", "event('View').within(1 day).exists()"),
        audience("everybody", "event('View').within(1 day).exists()", include_anonymous=True),
    )
    found = ask(world, "known", "anonymous_id:x1")
    assert (found["value"], found["expression"]["value"], change(found)) == (False, True, (None, None))
    assert "Anonymous people" in printed(found)
    found = ask(world, "everybody", "anonymous_id:x1")
    assert (found["value"], change(found)) == (True, (T + 23 * HOUR + TICK, False))


def test_what_was_told_says_confirmed_and_waiting(world: World) -> None:
    world.event("ann", "View", T - HOUR)
    world.apply(audience("it", "event('View').within(1 day).exists()"))
    world.compute(as_of=T)
    world.deliver()
    world.compute(as_of=T + 2 * DAY)
    (told,) = ask(world, "it")["told"]
    assert told == {
        "destination": "iterable", "identity_type": "email", "identity_value": "ann@x.io", "call_type": "identify",
        "confirmed": True, "enqueued": False, "is_unknown": False,
    }  # fmt: skip


def test_a_snapshot_that_differs_says_why(world: World) -> None:
    world.apply(audience("it", "event('View').within(1 day).exists()"))
    assert "Not computed yet: engage-sync compute it" in printed(ask(world, "it"))
    world.compute()
    world.event("ann", "View", datetime.now(UTC) - HOUR)
    found = ask(world, "it", as_of=None)
    assert (found["value"], found["snapshot"]["value"]) == (True, False)
    assert "something about this person has changed since" in printed(found)
    world.compute()
    assert ask(world, "it", as_of=None)["snapshot"]["differs_because"] == []
    world.apply(audience("it", "event('View').within(1 day).count() > 5"))
    assert any("version 2" in reason for reason in ask(world, "it", as_of=None)["snapshot"]["differs_because"])
    past = ask(world, "it", as_of=T)
    assert past["snapshot"]["value"] is False


def test_the_ledger_says_what_was_said_at_an_instant(world: World) -> None:
    world.event("ann", "View", T - HOUR)
    world.apply(audience("it", "event('View').within(1 day).exists()"))
    world.compute(as_of=T)
    world.compute(as_of=T + 2 * DAY)
    assert (ask(world, "it")["snapshot"]["value"], ask(world, "it")["snapshot"]["since"]) == (True, T)
    later = ask(world, "it", as_of=T + 3 * DAY)["snapshot"]
    assert (later["value"], later["since"]) == (False, T + 2 * DAY)


@pytest.mark.parametrize(
    ("query", "at", "value"),
    [
        # At exactly e + W it still counts.
        ("event('View').within(1 day).exists()", T + 23 * HOUR + TICK, False),
        ("event('View').between(1 day, 2 days).exists()", T + 23 * HOUR, True),
        ("event('Later').exists()", T + HOUR, True),
        ("event('View').exists()", None, None),
        ("event('Nothing').within(1 day).exists()", None, None),
        ("trait('joined').within_last(2 days)", datetime(2026, 3, 2, tzinfo=UTC), False),
        ("trait('joined').within_last(48 hours)", T + 2 * HOUR + TICK, False),
        ("trait('joined').before_last(72 hours)", T + 26 * HOUR, True),
        ("literal(2026-03-05).within_next(1 day)", datetime(2026, 3, 4, tzinfo=UTC), True),
        ("event('View').where(event('Buy').within(parent: 3 hours).count() = 0).exists()", T + 2 * HOUR, True),
        ("event('View').where(property('due').within_next(2 hours)).exists()", T + 4 * HOUR, True),
    ],
)
def test_it_changes_by_itself_at_the_edge(world: World, query: str, at: datetime | None, value: bool | None) -> None:
    world.event("ann", "View", T - HOUR, due=(T + 6 * HOUR).isoformat())
    world.event("ann", "Later", T + HOUR)
    world.trait("ann", "joined", (T - 46 * HOUR).isoformat(), T)
    assert change(asked(world, query)) == (at, value)


def test_thousands_of_edges_that_change_nothing_are_searched_through(world: World) -> None:
    with world.engine.begin() as connection:
        connection.execute(
            text(
                """
                INSERT INTO events (profile_id, name, timestamp, received_at, source_id, type, message_id, properties)
                SELECT :profile, 'View', CAST(:at AS timestamptz) - number * interval '1 minute', now(), id, 'track',
                       number::text, jsonb_build_object('total', number % 7)
                FROM generate_series(1, 5000) AS number, sources WHERE slug = 'web'
                """
            ),
            {"profile": world.people["ann"], "at": T},
        )
    world.apply(
        audience("some", "event('View').within(7 days).count() >= 3"),
        audience("much", "NOT event('View').within(7 days).sum(property('total')) > 3"),
        trait("newest", "event('View').within(7 days).last(property('total'))"),
        trait("average", "event('View').within(7 days).mode(property('total'), 1)"),
    )
    end = T + 7 * DAY + TICK
    minute = timedelta(minutes=1)
    assert change(ask(world, "some")) == (end - 3 * minute, False)
    # The last are 1, 2 and 3: what is left is no more than 3 when only 1 and 2 are.
    assert change(ask(world, "much")) == (end - 3 * minute, True)
    assert change(ask(world, "newest")) == (end - minute, None)
    # The most frequent is any value at any time: the search ends where it has read enough, and says so.
    average = ask(world, "average")["next_change"]
    assert average["at"] is not None or not average["is_complete"]


def test_sums_that_something_is_taken_off_are_not_searched_by_halves(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turning, "FIRST_LOOK", 0)
    for hours, total in ((10, -1), (8, 5), (6, -4), (4, 0)):
        world.event("ann", "View", T - hours * HOUR, total=total)
    found = asked(world, "event('View').within(1 day).sum(property('total')) > 0")
    # 0 now; 1 without the first, and never above 0 again.
    assert (found["value"], change(found)) == (False, (T + 14 * HOUR + TICK, True))


def test_what_a_definition_refers_to_changes_it_too(world: World) -> None:
    for days, total in ((1, 60), (2, 60), (5, 200)):
        world.event("ann", "Order Completed", T - days * DAY, total=total)
    world.apply(
        trait("spent", "event('Order Completed').within(30 days).sum(property('total'))"),
        audience("big", "trait('spent') >= 100"),
        audience("bigger", "trait('big') = 'true' AND event('Order Completed').exists()"),
        audience("was_big", "trait('big') = 'false'"),
    )
    world.compute(as_of=T)
    # 320, then 120 (still enough), then 60.
    assert [each["next_change"]["value"] for each in ask(world, "big")["referenced"]] == [120.0]
    for key, because, value in (("big", "spent", False), ("bigger", "big", False), ("was_big", "big", True)):
        found = ask(world, key)
        assert change(found) == (T + 28 * DAY + TICK, value), key
        assert because in found["next_change"]["because"]
    assert ": leaves, as spent changes then." in printed(ask(world, "big"))


def test_unknown_keys_and_people_are_named(world: World) -> None:
    world.apply(audience("recent", "event('View').exists()"))
    with pytest.raises(errors.NotFound, match="Did you mean 'recent'"):
        ask(world, "recnet")
    with pytest.raises(errors.NotFound, match="user_id:u9"):
        ask(world, "recent", "user_id:u9")
    with pytest.raises(errors.UsageError, match="email:"):
        ask(world, "recent", "u1")


def test_a_disabled_definition_is_explained_too(world: World) -> None:
    world.event("ann", "View", T - HOUR)
    found = asked(world, "event('View').exists()", enabled=False)
    assert found["value"]
    assert "the definition is disabled, and not computed" in found["snapshot"]["differs_because"]


def test_nothing_is_written_and_no_more_is_shown_than_asked_for(world: World) -> None:
    for number in range(20):
        world.event("ann", "View", T - number * HOUR)
    world.apply(audience("it", "event('View').within(10 hours).exists()"))
    events = ask(world, "it", events=3)["expression"]["left"]["events"]
    assert (events["matched"], len(events["newest"]), len(events["newest_left_out"])) == (11, 3, 3)
    assert "… and 8 more" in printed(ask(world, "it", events=3))
    with world.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM snapshots")).scalar_one() == 0
