"""Real time: at once, for whom was touched, losing nothing to open writers, busy definitions or the future."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from engage_sync.database import locks
from engage_sync.snapshots.runs import Cause
from engage_sync.sync import batches
from engage_sync.sync.catalog import Catalog
from engage_sync.sync.rounds import Round
from tests.world import World, audience, trait

BOUGHT = "event('Order Completed').count() >= 1"


@pytest.fixture
def world(engine: Engine) -> World:
    made = World(engine)
    made.person("ann", emails=("a@x.io",))
    made.apply(
        audience("bought", BOUGHT),
        audience("never", "NOT trait('bought') = 'true'"),
        trait("visits", "event('V').count()"),
    )
    made.compute()
    made.deliver()
    return made


def past() -> datetime:
    return datetime.now(UTC) - timedelta(minutes=1)


def test_what_was_touched_is_told_at_once_with_what_refers_to_it(world: World) -> None:
    assert world.turn() == Round()
    world.event("ann", "Order Completed", past())
    assert world.turn().differences == 2
    assert (world.turn().differences, world.turn().messages) == (0, 0)
    assert world.deliver() == [("a@x.io", "bought", "identify", True), ("a@x.io", "never", "identify", False)]


def test_an_untouched_definition_is_left_alone(world: World) -> None:
    world.event("ann", "Order Completed", past())
    world.turn()
    with world.engine.begin() as connection:
        statement = "SELECT key FROM runs JOIN definitions ON definitions.id = definition_id WHERE cause = 'realtime'"
        assert "visits" not in set(connection.execute(text(statement)).scalars())


def test_a_writer_that_commits_late_loses_nothing(world: World) -> None:
    late = world.engine.connect()
    transaction = late.begin()
    late.execute(
        text("INSERT INTO touches (profile_id, reasons) VALUES (:ann, ARRAY['event:Order Completed'])"),
        {"ann": world.people["ann"]},
    )
    late.execute(
        text(
            "INSERT INTO events (profile_id, name, timestamp, received_at, source_id, type, message_id, properties)"
            " VALUES (:ann, 'Order Completed', now(), now(), 1, 'track', 'm', '{}')"
        ),
        {"ann": world.people["ann"]},
    )
    world.person("bob", emails=("b@x.io",))
    world.event("bob", "Order Completed", past())
    world.turn()
    assert world.members("bought") == {"bob"}
    transaction.commit()
    late.close()
    world.turn()
    assert world.members("bought") == {"ann", "bob"}


def test_a_busy_definition_is_left_for_its_next_turn(world: World) -> None:
    with world.engine.begin() as other:
        bought = other.execute(text("SELECT id FROM definitions WHERE key = 'bought'")).scalar_one()
        locks.wait(other, locks.LockClass.DEFINITION, bought)
        world.event("ann", "Order Completed", past())
        world.turn()
        assert world.members("bought") == set()
    world.turn()
    assert world.members("bought") == {"ann"}


def test_an_event_of_the_future_enters_by_the_sweep(world: World) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    world.event("ann", "Order Completed", soon)
    world.turn(sweeps=True)
    assert world.members("bought") == set()
    with world.engine.begin() as connection:
        connection.execute(text("SELECT pg_sleep(1.1)"))
    world.turn(sweeps=True)
    assert world.members("bought") == {"ann"}


def test_one_that_fails_is_marked_and_the_others_go_on(world: World) -> None:
    with world.engine.begin() as connection:
        connection.execute(
            text(
                """
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no room'; END $$;
                CREATE TRIGGER refuse BEFORE INSERT ON snapshots FOR EACH ROW
                WHEN (NEW.definition_id = 3) EXECUTE FUNCTION refuse()
                """
            )
        )
    world.event("ann", "Order Completed", past())
    world.event("ann", "V", past())
    with world.engine.begin() as connection:
        catalog = Catalog.load(connection)
    reports = {}
    for definition in world.turn().large:
        report = batches.compute_one(world.engine, world.context, catalog, definition, cause=Cause.REALTIME)
        reports[report.key] = report.error
    assert reports["bought"] is None
    assert "no room" in str(reports["visits"])
    assert world.members("bought") == {"ann"}
