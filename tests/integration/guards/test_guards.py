"""What a guard holds is written by nobody; what it doesn't hold is as it was without it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from engage_sync import errors
from engage_sync.definitions.model import DEFAULT_GUARD, DefinitionSpec, Guard, Workspace
from engage_sync.snapshots.differences import Tally
from engage_sync.sync import planning
from tests.integration.guards.held import BOUGHT, DAY, HALF, HOUR, PEOPLE, RECENT, T, approve, runs, turn, written
from tests.world import BOTH, World, ago, audience, trait


def test_a_mass_exit_is_held_and_approving_sends_exactly_it(world: World) -> None:
    world.apply(audience("recent", RECENT, guard=HALF, destinations=BOTH))
    world.compute(as_of=T)
    assert len(world.deliver()) == 20
    before = written(world)
    report = world.compute(as_of=T + 31 * DAY)["recent"]
    assert (report.status, report.members, report.progress.tally, report.progress.messages) == (
        "held", 10, Tally(exited=10), 20
    )  # fmt: skip
    assert report.held == "10 would leave, of 10 members: more than the 50% that the guard allows within an hour."
    assert written(world) == before
    assert runs(world)[0] == ("held", 0, 10, 0)
    assert approve(world).status == "done"
    assert sorted(world.deliver()) == sorted(
        (f"{name}@x.io", "recent", call, False) for name in PEOPLE for call in ("identify", "track")
    )
    assert runs(world)[:2] == [("done", 0, 10, 0), ("approved", 0, 10, 0)]
    assert world.compute(as_of=T + 32 * DAY)["recent"].status == "done"
    assert (world.deliver(), world.members("recent")) == ([], set())


def test_half_is_still_allowed_and_a_first_push_never_held(world: World) -> None:
    world.apply(audience("recent", RECENT, guard=HALF))
    assert world.compute(as_of=T)["recent"].push is not None
    for name in PEOPLE[:5]:
        world.event(name, "Order Completed", T + DAY)
    assert world.compute(as_of=T + DAY + 30 * DAY)["recent"].progress.tally == Tally(exited=5)
    assert world.members("recent") == set(PEOPLE[:5])


def test_a_later_tick_counts_anew_in_the_same_run_and_goes_through_when_nothing_speaks_against_it(
    world: World,
) -> None:
    world.apply(audience("recent", RECENT, guard=HALF))
    world.compute(as_of=T)
    world.deliver()
    world.compute(as_of=T + 31 * DAY)
    for name in PEOPLE[:4]:
        world.event(name, "Order Completed", T + 31 * DAY)
    assert world.compute(as_of=T + 31 * DAY + HOUR)["recent"].progress.tally == Tally(exited=6)
    assert runs(world) == [("held", 0, 6, 0), ("done", 10, 0, 0)]
    world.event(PEOPLE[4], "Order Completed", T + 31 * DAY)
    assert world.compute(as_of=T + 31 * DAY + HOUR)["recent"].status == "done"
    assert [status for status, *_ in runs(world)] == ["done", "lapsed", "done"]
    assert sorted(world.deliver()) == [(f"{name}@x.io", "recent", "identify", False) for name in PEOPLE[5:]]


def test_small_rounds_count_together_within_the_hour(world: World) -> None:
    world.apply(audience("bought", BOUGHT, guard=HALF))
    world.compute()
    for number in range(5):
        world.person(f"n{number}", emails=(f"n{number}@x.io",))
        world.event(f"n{number}", "Order Completed", ago(minutes=1))
        assert turn(world).differences == 1, number
    world.person("n5", emails=("n5@x.io",))
    world.event("n5", "Order Completed", ago(minutes=1))
    turn(world)
    assert runs(world, "bought")[0] == ("held", 1, 0, 0)
    assert len(world.members("bought")) == 15
    # An hour later nothing speaks against it any more.
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE computations SET recent_slot = recent_slot - 12"))
    assert world.compute()["bought"].status == "done"
    assert "n5" in world.members("bought")


def test_the_hour_is_one_of_the_instants_that_are_computed(world: World) -> None:
    world.apply(audience("recent", RECENT, guard=HALF))
    world.compute(as_of=T)
    for number, name in enumerate(PEOPLE):
        world.event(name, "Order Completed", T + number * 10 * timedelta(minutes=1))
    statuses = [
        world.compute(as_of=T + 30 * DAY + minutes * timedelta(minutes=1) + timedelta(seconds=1))["recent"].status
        for minutes in range(0, 60, 10)
    ]
    assert statuses == ["done"] * 5 + ["held"], "the sixth of ten within the hour"


def test_small_audiences_and_those_whose_guard_is_off_are_never_held(world: World) -> None:
    world.context = replace(world.context, guard=DEFAULT_GUARD)
    world.apply(
        audience("small", RECENT),
        audience("off", RECENT, guard=Guard(max_change="off", silence="off", from_members=1)),
        audience("on", RECENT, guard=Guard(from_members=10)),
    )
    world.compute(as_of=T)
    reports = world.compute(as_of=T + 31 * DAY)
    assert {key: report.status for key, report in reports.items()} == {"small": "done", "off": "done", "on": "held"}


def test_what_is_held_stops_no_other_and_who_refers_to_it_reads_what_stands(world: World) -> None:
    world.apply(
        audience("recent", RECENT, guard=HALF),
        audience("also", RECENT, guard=HALF),
        audience("lapsed", "NOT trait('recent') = 'true'"),
        trait("orders", "event('Order Completed').within(30 days).count()"),
    )
    world.compute(as_of=T)
    world.deliver()
    reports = world.compute(as_of=T + 31 * DAY)
    assert {key: report.status for key, report in reports.items()} == {
        "recent": "held", "also": "held", "lapsed": "done", "orders": "done"
    }  # fmt: skip
    assert world.members("lapsed") == set()
    assert {key for _, key, _, _ in world.deliver()} == {"orders"}
    approve(world, "recent")
    world.compute(as_of=T + 31 * DAY)
    assert (world.members("lapsed"), world.members("also")) == (set(PEOPLE), set(PEOPLE))


def test_a_changed_definition_is_guarded_too_and_an_edit_of_its_guard_lets_it_through(world: World) -> None:
    world.apply(audience("recent", RECENT, guard=HALF))
    world.compute(as_of=T)
    edited = audience("recent", "event('Order Completed').within(30 days).count() >= 2", guard=HALF)
    world.apply(edited)
    assert world.compute(as_of=T + HOUR)["recent"].status == "held"
    world.apply(replace(edited, guard=Guard(max_change="off")))
    with pytest.raises(errors.UsageError, match="was changed since"):
        approve(world)
    assert world.compute(as_of=T + HOUR)["recent"].status == "done"
    assert world.members("recent") == set()
    assert [status for status, *_ in runs(world)] == ["done", "lapsed", "done"]


def planned(world: World, *specs: DefinitionSpec) -> dict[str, tuple[int, int | None, str | None]]:
    """By key: how many would change, how many the guard allows, and why it would be held."""
    workspace = Workspace(path=Path(), definitions=specs)
    made = planning.plan(world.engine, workspace, {}, world.context, delete=())
    return {each.key: (each.entering + each.leaving + each.changing, each.allowed, each.held) for each in made.effects}


def test_a_plan_says_that_a_changed_query_would_be_held_and_what_refers_to_it_reads_what_stands(world: World) -> None:
    first = audience("bought", BOUGHT, guard=HALF)
    assert planned(world, first) == {"bought": (10, None, None)}
    world.apply(first)
    world.compute()
    before = written(world)
    edited = audience("bought", "event('Order Completed').count() >= 2", guard=HALF)
    refers = audience("lapsed", "NOT trait('bought') = 'true'", guard=HALF)
    assert planned(world, edited, refers) == {
        "bought": (10, 5, "10 would leave, of 10 members: more than the 50% that the guard allows within an hour."),
        "lapsed": (0, None, None),
    }
    off = replace(edited, guard=Guard(max_change="off"))
    assert planned(world, off, refers) == {"bought": (10, None, None), "lapsed": (10, None, None)}
    for name in PEOPLE[:5]:
        world.event(name, "Order Completed", ago(minutes=1))
    assert planned(world, edited) == {"bought": (5, 5, None)}
    assert (written(world), runs(world, "bought")) == (before, [("done", 10, 0, 0)])


def test_a_trait_counts_values_that_change(world: World) -> None:
    world.apply(trait("orders", "event('Order Completed').count()", guard=HALF))
    world.compute()
    for name in PEOPLE[:6]:
        world.event(name, "Order Completed", ago(minutes=1))
    turn(world)
    assert runs(world, "orders")[0] == ("held", 0, 0, 6)
    approve(world, "orders")
    assert sorted(world.values("orders").values()) == [1] * 4 + [2] * 6
    # A counter that counts on, is what it should do.
    for name in (*PEOPLE, *PEOPLE):
        world.event(name, "Order Completed", ago(minutes=1))
        assert turn(world).differences == 1


def test_a_dirty_set_of_several_batches_is_counted_before_the_first_is_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engage_sync.sync.choosing.MOST", 1)
    monkeypatch.setattr("engage_sync.sync.staging.BATCH", 3)
    monkeypatch.setattr("engage_sync.sync.staging._ALL_ABOVE", 2.0)
    world.apply(audience("recent", RECENT, guard=HALF))
    world.compute(as_of=T)
    before = written(world)
    assert world.compute(as_of=T + 31 * DAY)["recent"].held is not None
    assert (runs(world)[0], written(world)) == (("held", 0, 10, 0), before)
    report = approve(world)
    assert (report.scope, report.progress.tally, world.members("recent")) == ("dirty", Tally(exited=10), set())


def test_without_history_what_is_so_at_first_counts_as_told(world: World) -> None:
    never = "event('Order Completed').count() = 0"
    world.apply(audience("quiet", never, include_historical_data=False, destinations=BOTH))
    report = world.compute()["quiet"]
    assert (report.progress.tally.entered, report.progress.messages, report.push) == (10, 0, None)
    assert world.deliver() == []
    world.event("p0", "Order Completed", datetime.now(UTC))
    world.person("new", emails=("new@x.io",))
    world.compute()
    assert sorted(world.deliver()) == [
        ("new@x.io", "quiet", "identify", True),
        ("new@x.io", "quiet", "track", True),
        ("p0@x.io", "quiet", "identify", False),
        ("p0@x.io", "quiet", "track", False),
    ]
