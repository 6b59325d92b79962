"""What is due is computed: in rounds, or alone where it takes long, so that one slow definition delays no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from engage_sync.database import channels
from engage_sync.database.listener import Listener
from engage_sync.definitions.model import HOURLY, Guard
from engage_sync.scheduler import Scheduler, is_due
from engage_sync.snapshots import guards, holds
from engage_sync.snapshots.differences import Tally
from engage_sync.snapshots.runs import Cause
from tests.world import World, audience

RECENT = "event('Order Completed').within(1 day).count() >= 1"
EVER = "event('Order Completed').count() >= 1"


@pytest.fixture
def world(engine: Engine) -> World:
    made = World(engine)
    made.person("ann", emails=("a@x.io",))
    made.person("bob", emails=("b@x.io",))
    made.event("ann", "Order Completed", past())
    return made


@pytest.fixture
def scheduler(world: World, database_url: str) -> Iterator[Scheduler]:
    listener = Listener(database_url, [channels.INBOX, channels.TOUCHES])
    made = Scheduler(world.engine, database_url, world.context, lookback=HOURLY, limits={}, listener=listener)
    yield made
    world.context.stopping.set()
    made.until_alone_are_done()


def past(**ago: float) -> datetime:
    return datetime.now(UTC) - timedelta(**(ago or {"minutes": 1}))


def an_hour_passes(world: World) -> None:
    """As if everything had last been computed an hour ago."""
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE computations SET swept_to = swept_to - interval '1 hour'"))


def is_slow(world: World, key: str, seconds: float) -> None:
    """Writing a definition's snapshot takes so long."""
    with world.engine.begin() as connection:
        definition = connection.execute(text("SELECT id FROM definitions WHERE key = :key"), {"key": key}).scalar_one()
        connection.exec_driver_sql(
            "CREATE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$;"
            " CREATE TRIGGER take_long BEFORE INSERT ON snapshots FOR EACH ROW"
            f" WHEN (NEW.definition_id = {definition}) EXECUTE FUNCTION take_long()"
        )


def errors_of(world: World) -> dict[str, Any]:
    with world.engine.begin() as connection:
        rows = connection.execute(text("SELECT key, error FROM computations JOIN definitions ON id = definition_id"))
        return {row.key: row.error for row in rows}


def test_new_definitions_are_computed_alone_and_due_ones_together(world: World, scheduler: Scheduler) -> None:
    world.apply(audience("recent", RECENT), audience("ever", EVER))
    assert scheduler.run_due() == []
    assert {(report.key, report.cause) for report in scheduler.until_alone_are_done()} == {
        ("recent", Cause.FIRST),
        ("ever", Cause.FIRST),
    }
    assert scheduler.run_due() == []
    an_hour_passes(world)
    world.event("bob", "Order Completed", past())
    # Time alone can't change the other one: it is computed in real time.
    assert [(report.key, report.cause) for report in scheduler.run_due()] == [("recent", Cause.TICK)]
    assert (world.members("recent"), world.members("ever")) == ({"ann", "bob"}, {"ann"})
    scheduler.turn(sweeps=True)
    assert world.members("ever") == {"ann", "bob"}


def test_what_refers_to_a_definition_that_runs_alone_comes_after_it(world: World, scheduler: Scheduler) -> None:
    world.apply(audience("recent", RECENT), audience("not_recent", "NOT trait('recent') = 'true'"))
    for _ in range(2):
        scheduler.run_due()
        scheduler.until_alone_are_done()
    assert world.members("not_recent") == {"bob"}


def test_one_slow_definition_delays_no_other(world: World, scheduler: Scheduler) -> None:
    world.apply(audience("recent", RECENT))
    scheduler.run_due()
    scheduler.until_alone_are_done()
    world.apply(audience("recent", RECENT), audience("slow", "event('V').within(1 day).count() = 0"))
    is_slow(world, "slow", 1.5)
    an_hour_passes(world)
    world.event("bob", "Order Completed", past())
    began = time.monotonic()
    assert [report.key for report in scheduler.run_due()] == ["recent"]
    assert scheduler.run_due() == [], "the slow one is under way, and not begun twice"
    assert time.monotonic() - began < 1.5
    assert world.members("recent") == {"ann", "bob"}
    scheduler.until_alone_are_done()
    assert world.members("slow") == {"ann", "bob"}


def test_one_that_takes_too_long_fails_alone_and_keeps_its_snapshot(world: World, database_url: str) -> None:
    world.apply(audience("recent", RECENT), audience("slow", "event('V').within(1 day).count() = 0"))
    is_slow(world, "slow", 5)
    context = replace(world.context, patience=0.3)
    listener = Listener(database_url, [channels.INBOX])
    scheduler = Scheduler(world.engine, database_url, context, lookback=HOURLY, limits={}, listener=listener)
    scheduler.run_due()
    scheduler.until_alone_are_done()
    assert world.members("recent") == {"ann"}
    assert world.values("slow") == {}
    assert "ENGAGE_SYNC_COMPUTE_TIMEOUT" in errors_of(world)["slow"]
    assert errors_of(world)["recent"] is None
    an_hour_passes(world)
    assert [report.key for report in scheduler.run_due()] == ["recent"], "what failed is no part of a round"
    scheduler.until_alone_are_done()


def test_stop_cuts_short_what_is_under_way_and_blames_nobody(world: World, database_url: str) -> None:
    world.apply(audience("slow", "event('V').count() = 0"))
    is_slow(world, "slow", 30)

    async def run() -> float:
        stop = asyncio.Event()
        listener = Listener(database_url, [channels.INBOX, channels.TOUCHES])
        scheduler = Scheduler(world.engine, database_url, world.context, lookback=HOURLY, limits={}, listener=listener)
        running = asyncio.create_task(scheduler.run(stop))
        async with asyncio.timeout(20):
            while not scheduler._alone:  # noqa: ASYNC110 - nothing tells when it has begun
                await asyncio.sleep(0.05)
        began = time.monotonic()
        stop.set()
        await running
        return time.monotonic() - began

    assert asyncio.run(run()) < 15
    assert errors_of(world) == {}


def test_a_missed_hour_is_one_larger_tick() -> None:
    at = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    assert is_due(HOURLY, None, at)
    assert is_due(HOURLY, at - timedelta(hours=5), at)
    assert is_due(HOURLY, at - timedelta(minutes=31), at)
    assert not is_due(HOURLY, at - timedelta(minutes=30), at)


def test_one_that_failed_is_not_tried_again_at_once(world: World, scheduler: Scheduler) -> None:
    """What fails after minutes would otherwise be all that the database does."""
    world.apply(audience("recent", RECENT))
    is_slow(world, "recent", 0)
    with world.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$"
        )
    for _ in range(4):
        scheduler.run_due()
        scheduler.until_alone_are_done()
    with world.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM runs WHERE status = 'failed'")).scalar_one() == 1


def test_one_that_fails_in_real_time_keeps_no_other_from_its_rounds(world: World, scheduler: Scheduler) -> None:
    world.apply(audience("ever", EVER), audience("twice", "event('Order Completed').count() >= 2"))
    scheduler.run_due()
    scheduler.until_alone_are_done()
    is_slow(world, "twice", 0)
    with world.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$"
        )
    world.event("ann", "Order Completed", past())
    scheduler.turn(sweeps=True)
    scheduler.until_alone_are_done()
    assert set(errors_of(world)) == {"ever", "twice"}
    assert "never" in errors_of(world)["twice"]
    world.event("bob", "Order Completed", past())
    done = scheduler.turn(sweeps=True)
    assert (done.differences, [each.key for each in done.large]) == (1, ["twice"])
    assert world.members("ever") == {"ann", "bob"}


def test_a_definition_that_is_mended_is_computed_at_once(world: World, scheduler: Scheduler) -> None:
    world.apply(audience("recent", RECENT))
    is_slow(world, "recent", 0)
    with world.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$"
        )
    scheduler.run_due()
    scheduler.until_alone_are_done()
    with world.engine.begin() as connection:
        connection.exec_driver_sql("DROP FUNCTION take_long CASCADE")
    world.apply(audience("recent", EVER))
    scheduler.run_due()
    scheduler.until_alone_are_done()
    assert world.members("recent") == {"ann"}


def test_what_is_held_is_counted_anew_by_ticks_and_by_nothing_else(world: World, scheduler: Scheduler) -> None:
    held = Guard(max_change=0.5)
    world.apply(audience("ever", EVER, guard=held), audience("recent", RECENT))
    scheduler.run_due()
    scheduler.until_alone_are_done()
    world.person("cy", emails=("c@x.io",))
    for name in ("bob", "cy"):
        world.event(name, "Order Completed", past())
    assert [each.key for each in scheduler.turn(sweeps=True).large] == ["ever"]
    assert [report.held is not None for report in scheduler.until_alone_are_done() if report.key == "ever"] == [True]

    def counted() -> int:
        with world.engine.begin() as connection:
            return int(connection.execute(text("SELECT entered FROM runs WHERE status = 'held'")).scalar_one())

    assert counted() == 2
    world.person("dan", emails=("d@x.io",))
    world.event("dan", "Order Completed", past())
    assert scheduler.turn(sweeps=True).large == []
    scheduler.run_due()
    scheduler.until_alone_are_done()
    assert counted() == 2, "the next tick isn't due"
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE holds SET looked_at = looked_at - interval '1 hour'"))
    an_hour_passes(world)
    assert [report.key for report in scheduler.run_due()] == ["recent"]
    scheduler.until_alone_are_done()
    assert counted() == 3
    assert world.members("ever") == {"ann"}
    assert world.members("recent") == {"ann", "bob", "cy", "dan"}


def test_an_approval_whose_process_died_is_written_by_the_scheduler(world: World, scheduler: Scheduler) -> None:
    world.apply(audience("ever", EVER, guard=Guard(max_change=0.5)))
    scheduler.run_due()
    scheduler.until_alone_are_done()
    world.event("bob", "Order Completed", past())
    scheduler.turn(sweeps=True)
    scheduler.until_alone_are_done()
    with world.engine.begin() as connection:
        definition = connection.execute(text("SELECT definition_id FROM holds")).scalar_one()
        holds.approve(connection, definition, guards.allowance(Tally(entered=1)))
    scheduler.run_due()
    scheduler.until_alone_are_done()
    assert world.members("ever") == {"ann"}, "whoever approved it may still be at it"
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE holds SET approved_at = approved_at - interval '2 minutes'"))
    scheduler.run_due()
    scheduler.until_alone_are_done()
    assert world.members("ever") == {"ann", "bob"}
