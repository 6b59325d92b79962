"""What is kept only for a time goes, in bounded steps; what anybody still needs stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from engage_sync.sync import retention
from tests.world import World, audience

KEEP = timedelta(days=14)


@pytest.fixture
def world(engine: Engine) -> World:
    return World(engine)


def do(world: World, statement: str, **given: Any) -> None:
    with world.engine.begin() as connection:
        connection.execute(text(statement), given)


def count(world: World, table: str) -> int:
    with world.engine.begin() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def day(world: World, table: str, ago: int) -> None:
    """The partition of a day so many days ago."""
    begins = (datetime.now(UTC) - timedelta(days=ago)).date()
    do(
        world,
        f"CREATE TABLE {table}_p{begins:%Y%m%d} PARTITION OF {table}"
        f" FOR VALUES FROM ('{begins}') TO ('{begins + timedelta(days=1)}')",
    )


def touch(world: World, ago: int) -> None:
    do(
        world,
        "INSERT INTO touches (profile_id, reasons, touched_at)"
        " VALUES (1, ARRAY['event:X'], now() - :ago * interval '1 day')",
        ago=ago,
    )


def deliver(world: World, ago: int, number: int = 1) -> None:
    do(
        world,
        """
        INSERT INTO delivered (id, delivered_at, destination_id, profile_id, definition_id, definition_version, run_id,
                               identity_type, identity_value, call_type, value, told_version, as_of, enqueued_at,
                               attempts)
        SELECT n, now() - :ago * interval '1 day', 1, 1, 1, 1, 1, 'email', 'a@x.io', 'identify', 'true', 1, now(),
               now(), 1
        FROM generate_series(1, :number) AS n
        """,
        ago=ago,
        number=number,
    )


def test_delivered_messages_go_by_whole_days(world: World) -> None:
    for ago in (14, 15, 16):
        day(world, "delivered", ago)
        deliver(world, ago)
    deliver(world, 0)
    assert retention.clean(world.engine, KEEP)["delivered_days"] == 2
    assert count(world, "delivered") == 2
    assert retention.clean(world.engine, KEEP)["delivered_days"] == 0


def test_those_of_a_day_without_a_partition_go_in_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 4)
    deliver(world, 20, number=9)
    deliver(world, 0)
    assert retention.clean(world.engine, KEEP)["delivered"] == 9
    assert count(world, "delivered") == 1


def test_touches_go_when_everybody_has_read_them(world: World) -> None:
    world.person("ann", emails=("a@x.io",))
    world.apply(audience("bought", "event('X').count() >= 1"))
    world.compute()
    day(world, "touches", 20)
    touch(world, 20)
    assert retention.clean(world.engine, KEEP)["touches_days"] == 0
    world.compute()
    # Another transaction, so that the last one is past every snapshot.
    touch(world, 0)
    world.compute()
    assert retention.clean(world.engine, KEEP)["touches_days"] == 1


def test_a_partition_in_use_is_left_for_the_next_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_LOCK_PATIENCE", text("SET LOCAL lock_timeout = '100ms'"))
    day(world, "delivered", 20)
    deliver(world, 20)
    with world.engine.begin() as reader:
        reader.execute(text("SELECT count(*) FROM delivered"))
        assert retention.clean(world.engine, KEEP)["delivered_days"] == 0
    assert retention.clean(world.engine, KEEP)["delivered_days"] == 1


def test_rejects_minutes_and_closed_dead_letters_go_and_open_ones_stay(world: World) -> None:
    world.apply(audience("bought", "event('X').count() >= 1"))
    do(
        world,
        "INSERT INTO rejects (source_id, received_at, call, reason)"
        " SELECT 1, now() - ago * interval '1 day', '{}', 'r' FROM unnest(ARRAY[1, 20]) AS ago",
    )
    do(
        world,
        "INSERT INTO runs (definition_id, version, cause, scope, minute)"
        " SELECT 1, 1, 'realtime', 'touched', now() - ago * interval '1 day' FROM unnest(ARRAY[1, 20]) AS ago",
    )
    do(world, "INSERT INTO runs (definition_id, version, cause, scope) VALUES (1, 1, 'tick', 'dirty')")
    do(
        world,
        """
        INSERT INTO dead_letters (message_id, destination_id, profile_id, definition_id, definition_version, run_id,
                                  identity_type, identity_value, call_type, value, told_version, as_of, attempts,
                                  reason, status, failed_at)
        SELECT 1, 1, 1, 1, 1, 1, 'email', 'a@x.io', 'identify', 'true', 1, now(), 1, 'r', status,
               now() - interval '20 days'
        FROM unnest(ARRAY['open', 'discarded', 'replayed']) AS status
        """,
    )
    gone = retention.clean(world.engine, KEEP)
    assert (gone["rejects"], gone["runs"], gone["dead_letters"]) == (1, 1, 2)
    assert (count(world, "rejects"), count(world, "runs"), count(world, "dead_letters")) == (1, 2, 1)
