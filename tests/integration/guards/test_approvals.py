"""What was held goes when it is approved, as far as that allows; what is discarded waits for the next tick."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from engage_sync import errors
from engage_sync.definitions.model import Guard
from engage_sync.snapshots.differences import Tally
from engage_sync.sync import approving, writing
from engage_sync.sync.batches import RunReport
from engage_sync.sync.rounds import Round
from tests.integration.guards.held import BOUGHT, DAY, HALF, HOUR, PEOPLE, RECENT, T, approve, runs, turn
from tests.world import World, ago, audience


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


def test_what_follows_small_changes_counts_from_the_approval_on(world: World) -> None:
    world.apply(audience("recent", RECENT, guard=HALF))
    world.compute(as_of=T)
    world.event(PEOPLE[0], "Order Completed", T + DAY)
    world.compute(as_of=T + 30 * DAY + HOUR)
    assert approve(world).status == "done"
    world.event(PEOPLE[1], "Order Completed", T + 30 * DAY)
    assert world.compute(as_of=T + 30 * DAY + HOUR)["recent"].status == "held", "as many as there are members"
    assert runs(world)[0] == ("held", 1, 0, 0)


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
