"""Edges that were found by experiment, each of which loses, doubles or misdates something where it isn't minded."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from engage_sync.database import channels, locks
from engage_sync.database.listener import Listener
from engage_sync.definitions.model import HOURLY
from engage_sync.scheduler import Scheduler
from engage_sync.snapshots.runs import Cause
from engage_sync.sync import compute as computation
from engage_sync.sync import staging, writing
from tests.world import World, audience, trait

BOUGHT = "event('Order Completed').count() >= 1"
RECENT = "event('Order Completed').within(1 day).count() >= 1"


@pytest.fixture
def world(engine: Engine) -> World:
    """Seven people who bought a minute ago."""
    made = World(engine)
    for number in range(7):
        made.person(f"p{number}", emails=(f"p{number}@x.io",))
        made.event(f"p{number}", "Order Completed", past())
    return made


def past(**ago: float) -> datetime:
    return datetime.now(UTC) - timedelta(**(ago or {"minutes": 1}))


def one(world: World, statement: str, **given: Any) -> Any:
    with world.engine.begin() as connection:
        return connection.execute(text(statement), given).scalar_one()


def do(world: World, statement: str, **given: Any) -> None:
    with world.engine.begin() as connection:
        connection.execute(text(statement), given)


def state(world: World, column: str) -> Any:
    return one(world, f"SELECT {column} FROM computations")


# --- time -----------------------------------------------------------------------------------------------------------


def test_the_instant_is_read_after_the_lock_is_held(world: World) -> None:
    """An event that came while a computation waited for the lock is no event of its future."""
    world.apply(audience("bought", BOUGHT))
    world.compute()
    do(world, "DELETE FROM touches")
    definition = one(world, "SELECT id FROM definitions")
    done: list[Any] = []
    with world.engine.begin() as holder:
        locks.wait(holder, locks.LockClass.DEFINITION, definition)
        waiting = threading.Thread(target=lambda: done.append(world.compute()["bought"]))
        waiting.start()
        time.sleep(0.3)
        assert not done
        released = holder.execute(text("SELECT clock_timestamp()")).scalar_one()
    waiting.join(30)
    assert done[0].as_of >= released


def test_instants_never_go_back(world: World) -> None:
    world.apply(audience("bought", BOUGHT), audience("recent", RECENT))
    ahead = datetime.now(UTC) + timedelta(hours=2)
    world.compute(as_of=ahead)
    world.event("p0", "Order Completed", past())
    assert {report.as_of for report in world.compute().values()} == {ahead}


def test_real_time_reads_touches_and_leaves_the_edges_to_whoever_sweeps(world: World) -> None:
    world.apply(audience("recent", RECENT))
    world.compute()
    swept_to = state(world, "swept_to")
    world.event("p0", "Order Completed", past())
    world.turn()
    assert state(world, "swept_to") == swept_to
    world.turn(sweeps=True)
    assert state(world, "swept_to") > swept_to


# --- runs in batches ------------------------------------------------------------------------------------------------


def test_batches_have_instants_of_their_own_and_the_sweep_begins_at_the_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "BATCH", 2)
    world.apply(audience("bought", BOUGHT))
    report = world.compute()["bought"]
    assert report.progress.tally.entered == 7
    assert one(world, "SELECT count(DISTINCT as_of) FROM changes") == 4
    assert state(world, "swept_to") <= one(world, "SELECT min(as_of) FROM changes")
    assert report.as_of == state(world, "swept_to")


def test_as_of_a_given_instant_all_batches_have_that_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "BATCH", 2)
    world.apply(audience("bought", BOUGHT))
    instant = datetime.now(UTC)
    world.compute(as_of=instant)
    assert one(world, "SELECT array_agg(DISTINCT as_of) FROM changes") == [instant]


def test_a_run_that_died_is_repeated_and_says_nothing_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "BATCH", 2)
    world.apply(audience("bought", BOUGHT))
    write = writing.write
    calls = iter(range(100))

    def dies(*given: Any, **named: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return write(*given, **named)

    monkeypatch.setattr(writing, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        world.compute()
    assert len(world.members("bought")) == 4
    assert state(world, "swept_to") is None
    said = world.deliver()
    world.compute()
    said += world.deliver()
    assert sorted(said) == [(f"p{number}@x.io", "bought", "identify", True) for number in range(7)]


def test_a_definition_that_is_changed_under_a_run_ends_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "BATCH", 2)
    world.apply(audience("bought", BOUGHT))
    write = writing.write
    changed = iter([True])

    def changes(*given: Any, **named: Any) -> Any:
        done = write(*given, **named)
        if next(changed, False):
            threading.Thread(target=world.apply, args=(audience("bought", RECENT),)).start()
            time.sleep(0.5)
        return done

    monkeypatch.setattr(writing, "write", changes)
    reports = computation.compute(world.engine, world.context, cause=Cause.MANUAL)
    assert "changed meanwhile" in (reports[0].error or "")
    world.compute()
    assert len(world.members("bought")) == 7
    assert sorted(world.deliver()) == [(f"p{number}@x.io", "bought", "identify", True) for number in range(7)]


def test_where_much_changed_everybody_is_looked_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "BATCH", 1)
    monkeypatch.setattr("engage_sync.sync.choosing.MOST", 1)
    world.apply(audience("bought", BOUGHT))
    world.compute()
    world.event("p0", "Order Completed", past())
    assert world.compute()["bought"].scope == "dirty"
    for number in range(3):
        world.event(f"p{number}", "Order Completed", past())
    assert world.compute()["bought"].scope == "all"


# --- the log of touches ---------------------------------------------------------------------------------------------


def test_two_touches_of_one_person_at_once_wait_for_nobody(world: World) -> None:
    world.apply(trait("orders", "event('Order Completed').count()"))
    world.compute()
    one_, other = world.engine.connect(), world.engine.connect()
    for connection in (one_, other):
        connection.execute(text("SET lock_timeout = '2s'"))
        connection.execute(
            text("INSERT INTO touches (profile_id, reasons) VALUES (:p0, ARRAY['event:Order Completed'])"),
            {"p0": world.people["p0"]},
        )
        connection.execute(
            text(
                "INSERT INTO events (profile_id, name, timestamp, received_at, source_id, type, message_id, properties)"
                " VALUES (:p0, 'Order Completed', now(), now(), 1, 'track', gen_random_uuid()::text, '{}')"
            ),
            {"p0": world.people["p0"]},
        )
    one_.commit()
    world.turn()
    assert world.values("orders")["p0"] == 2
    other.commit()
    world.turn()
    assert world.values("orders")["p0"] == 3
    one_.close()
    other.close()


def test_after_a_restore_everybody_is_looked_at_again(world: World, database_url: str) -> None:
    """A dump carries the ids of another server's transactions: none of this server's would ever seem new."""
    world.apply(audience("bought", BOUGHT), audience("recent", RECENT))
    world.compute()
    world.deliver()
    do(world, "UPDATE computations SET touches_seen = CAST('900000000:900000000:' AS pg_snapshot)")
    world.person("new", emails=("new@x.io",))
    world.event("new", "Order Completed", past())
    listener = Listener(database_url, [channels.INBOX, channels.TOUCHES])
    scheduler = Scheduler(world.engine, database_url, world.context, lookback=HOURLY, limits={}, listener=listener)
    scheduler.run_due()
    scheduler.until_alone_are_done()
    told = [("new@x.io", key, "identify", True) for key in ("bought", "recent")]
    assert sorted(world.deliver()) == told, "each is computed in a thread of its own"
    assert (
        one(world, "SELECT count(*) FROM computations WHERE pg_snapshot_xmax(touches_seen)::text::bigint < 900000000")
        == 2
    )


# --- records --------------------------------------------------------------------------------------------------------


def test_real_time_keeps_one_run_a_minute_and_definition(world: World) -> None:
    world.apply(audience("bought", "event('Order Completed').count() >= 2"))
    world.compute()
    for number in range(5):
        world.event(f"p{number}", "Order Completed", past())
        world.turn()
    minutes = one(world, "SELECT count(DISTINCT minute) FROM runs WHERE cause = 'realtime'")
    assert minutes in (1, 2)
    assert one(world, "SELECT count(*) FROM runs WHERE cause = 'realtime'") == minutes
    assert one(world, "SELECT sum(entered) FROM runs WHERE cause = 'realtime'") == 5
