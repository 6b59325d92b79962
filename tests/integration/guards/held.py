"""What tests of guards have in common: ten people, definitions, and what is written and what isn't."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from engage_sync.definitions.model import Guard
from engage_sync.snapshots.differences import Tally
from engage_sync.sync import approving, batches
from engage_sync.sync.batches import RunReport
from engage_sync.sync.catalog import Catalog
from engage_sync.sync.rounds import Round
from tests.world import World

T = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
RECENT = "event('Order Completed').within(30 days).count() >= 1"
BOUGHT = "event('Order Completed').count() >= 1"
HALF = Guard(max_change=0.5)
PEOPLE = [f"p{number}" for number in range(10)]


def turn(world: World, *, sweeps: bool = False) -> Round:
    """A turn of real time, with what it leaves to runs of their own."""
    done = world.turn(sweeps=sweeps)
    with world.engine.begin() as connection:
        catalog = Catalog.load(connection)
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
