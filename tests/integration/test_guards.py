"""What a guard holds is written by nobody until it is approved; what it doesn't hold is as it was without it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from engage_sync import errors
from engage_sync.definitions.model import DEFAULT_GUARD, DefinitionSpec, Guard, Workspace
from engage_sync.snapshots.differences import Tally
from engage_sync.sync import approving, batches, planning, writing
from engage_sync.sync import compute as computation
from engage_sync.sync.batches import RunReport
from engage_sync.sync.catalog import Catalog
from engage_sync.sync.rounds import Round
from tests.world import BOTH, World, audience, trait

T = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
RECENT = "event('Order Completed').within(30 days).count() >= 1"
BOUGHT = "event('Order Completed').count() >= 1"
HALF = Guard(max_change=0.5)
PEOPLE = [f"p{number}" for number in range(10)]


@pytest.fixture
def world(engine: Engine) -> World:
    """Ten people who ordered at T: all are members for 30 days."""
    made = World(engine)
    for name in PEOPLE:
        made.person(name, emails=(f"{name}@x.io",))
        made.event(name, "Order Completed", T)
    return made


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


def turn(world: World, *, sweeps: bool = False) -> Round:
    """A turn of real time, with what it leaves to runs of their own."""
    with world.engine.begin() as connection:
        catalog = Catalog.load(connection)
    done = computation.turn(world.engine, world.context, catalog, catalog.definitions, sweeps=sweeps)
    for definition in done.large:
        batches.compute_one(world.engine, world.context, catalog, definition)
    return done


def runs(world: World, key: str = "recent") -> list[tuple[Any, ...]]:
    """(status, entered, left, changed), newest first."""
    with world.engine.begin() as connection:
        rows = connection.execute(
            text(
                "SELECT status, entered, exited, changed FROM runs JOIN definitions ON definitions.id = definition_id"
                " WHERE key = :key ORDER BY runs.id DESC"
            ),
            {"key": key},
        )
        return [tuple(row) for row in rows]


def written(world: World) -> dict[str, Sequence[Any]]:
    """All that a computation writes, but for runs and holds."""
    with world.engine.begin() as connection:
        return {
            table: connection.execute(text(f"SELECT * FROM {table} ORDER BY {order}")).all()
            for table, order in (
                ("snapshots", "profile_id, definition_id"),
                ("changes", "profile_id, definition_id, recorded_at"),
                ("told", "identity_value, definition_id, call_type"),
                ("messages", "id"),
                ("edges", "profile_id"),
            )
        } | {"t0": connection.execute(text("SELECT swept_to, touches_seen, members FROM computations")).all()}


def approve(world: World, key: str = "recent", counts: Tally | None = None) -> RunReport:
    return approving.approve(world.engine, world.context, key, counts)


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


def test_what_grew_by_more_than_a_tenth_is_held_again(world: World) -> None:
    world.apply(audience("recent", RECENT, guard=Guard(max_change=0.1)))
    world.compute(as_of=T)
    for name in PEOPLE[5:]:
        world.event(name, "Order Completed", T + DAY)
    world.deliver()
    world.compute(as_of=T + 30 * DAY + HOUR)
    assert approving.counts(world.engine.connect(), "recent") == Tally(exited=5)
    # Seen were five; meanwhile it would be ten.
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE holds SET looked_at = :at"), {"at": T + 32 * DAY})
    report = approve(world)
    assert (report.status, report.progress.tally) == ("held", Tally(exited=10))
    assert "more than what was approved and a tenth" in (report.held or "")
    assert world.waiting() == []
    assert [status for status, *_ in runs(world)] == ["held", "approved", "done"]
    assert approve(world).status == "done"
    assert len(world.deliver()) == 10


def test_what_is_discarded_waits_for_the_next_tick(world: World) -> None:
    world.apply(audience("recent", RECENT, guard=HALF))
    world.compute(as_of=T)
    world.deliver()
    world.compute(as_of=T + 31 * DAY)
    approving.discard(world.engine, "recent")
    assert runs(world)[0] == ("discarded", 0, 10, 0)
    with pytest.raises(errors.UsageError, match="was discarded"):
        approve(world)
    for name in PEOPLE[:8]:
        world.event(name, "Order Completed", T + 31 * DAY)
    turn(world, sweeps=True)
    assert world.waiting() == []
    assert world.compute(as_of=T + 31 * DAY)["recent"].status == "done"
    assert world.members("recent") == set(PEOPLE[:8])
    with pytest.raises(errors.UsageError, match="isn't held"):
        approving.discard(world.engine, "recent")


def test_real_time_waits_while_it_is_held_and_loses_nothing(world: World) -> None:
    world.apply(audience("bought", BOUGHT, guard=HALF), audience("never", "event('Order Completed').count() = 0"))
    world.compute()
    world.deliver()
    new = [f"n{number}" for number in range(6)]
    for name in new:
        world.person(name, emails=(f"{name}@x.io",))
        world.event(name, "Order Completed", ago(minutes=1))
    assert [definition.key for definition in turn(world).large] == ["bought"]
    assert runs(world, "bought")[0] == ("held", 6, 0, 0)
    assert world.members("bought") == set(PEOPLE)
    assert turn(world) == Round(), "what is held has nothing new to read"
    world.person("late", emails=("late@x.io",))
    world.event("late", "Order Completed", ago(minutes=1))
    turn(world)
    assert world.members("bought") == set(PEOPLE)
    # Seven are more than six and a tenth, rounded up to one.
    assert approve(world, "bought").status == "done"
    assert world.members("bought") == {*PEOPLE, *new, "late"}
    world.person("later", emails=("later@x.io",))
    world.event("later", "Order Completed", ago(minutes=1))
    assert turn(world).differences == 1
    world.deliver()
    assert world.compute("bought", full=True)["bought"].progress.tally == Tally()


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


def test_what_follows_small_changes_counts_from_the_approval_on(world: World) -> None:
    world.apply(audience("recent", RECENT, guard=HALF))
    world.compute(as_of=T)
    world.event(PEOPLE[0], "Order Completed", T + DAY)
    world.compute(as_of=T + 30 * DAY + HOUR)
    assert approve(world).status == "done"
    world.event(PEOPLE[1], "Order Completed", T + 30 * DAY)
    assert world.compute(as_of=T + 30 * DAY + HOUR)["recent"].status == "held", "as many as there are members"
    assert runs(world)[0] == ("held", 1, 0, 0)


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


def test_an_approval_survives_the_death_of_its_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engage_sync.sync.staging.BATCH", 3)
    world.apply(audience("recent", RECENT, guard=HALF))
    world.compute(as_of=T)
    world.deliver()
    world.compute(as_of=T + 31 * DAY)
    write, calls = writing.write, []

    def die(*given: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return write(*given, **more)

    with monkeypatch.context() as dying:
        dying.setattr(writing, "write", die)
        with pytest.raises(KeyboardInterrupt):
            approve(world)
    assert len(world.members("recent")) == 4
    with pytest.raises(errors.UsageError, match="only where that fails"):
        approving.discard(world.engine, "recent")
    # Six are written, four of them are left, and one for the tenth.
    with world.engine.begin() as connection:
        assert connection.execute(text("SELECT allowed, allowed_exited FROM holds")).one() == (5, 5)
    assert turn(world) == Round(), "real time still waits"
    assert world.compute(as_of=T + 31 * DAY)["recent"].status == "done"
    assert sorted(world.deliver()) == [(f"{name}@x.io", "recent", "identify", False) for name in PEOPLE]
    with world.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM holds")).scalar_one() == 0


@pytest.fixture
def broken(world: World) -> World:
    """What was approved fails in its third batch of three people; six left before that."""
    world.apply(audience("recent", RECENT, guard=HALF))
    world.compute(as_of=T)
    world.deliver()
    world.compute(as_of=T + 31 * DAY)
    with world.engine.begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'broken'; END $$;"
                " CREATE TRIGGER fail BEFORE INSERT ON changes FOR EACH ROW"
                f" WHEN (NEW.profile_id = {world.people[PEOPLE[7]]}) EXECUTE FUNCTION fail()"
            )
        )
    return world


def test_what_was_approved_and_fails_can_be_discarded(broken: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engage_sync.sync.staging.BATCH", 3)
    report = approve(broken)
    assert (report.status, report.progress.tally, len(broken.members("recent"))) == ("failed", Tally(exited=6), 4)
    approving.discard(broken.engine, "recent")
    assert runs(broken)[:2] == [("failed", 0, 6, 0), ("discarded", 0, 10, 0)]
    with pytest.raises(errors.UsageError, match="was discarded"):
        approve(broken)
    with broken.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER fail ON changes"))
        assert connection.execute(text("SELECT approved_at, allowed FROM holds")).one() == (None, None)
    # The approval is over: what is left is judged anew.
    report = broken.compute(as_of=datetime.now(UTC) + HOUR)["recent"]
    assert (report.status, report.progress.tally, len(broken.members("recent"))) == ("held", Tally(exited=4), 4)
    assert len(broken.deliver()) == 6


def test_a_run_whose_approval_is_discarded_meanwhile_writes_no_more(
    broken: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engage_sync.sync.staging.BATCH", 3)
    with broken.engine.begin() as connection:
        # Live, as runs as of an instant keep the lock.
        connection.execute(text("UPDATE holds SET is_live = true"))
    assert approve(broken).status == "failed"
    with broken.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER fail ON changes"))
    left = broken.members("recent")

    def discard(_key: str, done: int, _total: int) -> None:
        if done:
            approving.discard(broken.engine, "recent")

    report = approving.approve(broken.engine, broken.context, "recent", watch=discard)
    assert report.error == "It was discarded meanwhile; what was written until then stands."
    assert len(left - broken.members("recent")) == report.progress.tally.exited == 3
    assert broken.compute()["recent"].status == "held"


def test_an_approval_beside_ticks_writes_everything_once(world: World) -> None:
    world.apply(audience("bought", BOUGHT, guard=HALF))
    world.compute()
    world.deliver()
    for number in range(8):
        world.person(f"n{number}", emails=(f"n{number}@x.io",))
        world.event(f"n{number}", "Order Completed", ago(minutes=1))
    world.compute()
    ticks = [threading.Thread(target=world.compute) for _ in range(3)]
    for tick in ticks:
        tick.start()
    report = approve(world, "bought")
    for tick in ticks:
        tick.join()
    assert report.status == "done"
    assert sorted(world.deliver()) == [(f"n{number}@x.io", "bought", "identify", True) for number in range(8)]
    assert world.compute("bought", full=True)["bought"].progress.tally == Tally()


def test_a_run_beside_an_approved_one_writes_nothing_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engage_sync.sync.staging.BATCH", 3)
    world.apply(audience("recent", RECENT, guard=HALF, compute_cadence="realtime"))
    world.compute(as_of=ago(days=(datetime.now(UTC) - T).days - 20))
    world.deliver()
    world.compute()
    beside: list[RunReport] = []

    def tick(_key: str, done: int, _total: int) -> None:
        if done and not beside:
            beside.extend(world.compute().values())

    report = approving.approve(world.engine, world.context, "recent", watch=tick)
    assert (report.status, [each.status for each in beside]) == ("done", ["done"])
    assert report.progress.tally + beside[0].progress.tally == Tally(exited=10)
    with world.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM changes WHERE after = 'false'")).scalar_one() == 10
        assert connection.execute(text("SELECT members FROM computations")).scalar_one() == 0
    assert len(world.deliver()) == 10


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
