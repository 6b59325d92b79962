"""Replaying dead letters: what is true now is said, once, and nothing older behind something newer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from engage_sync.database.engine import connect_directly
from engage_sync.definitions import versions
from engage_sync.definitions.model import DefinitionSpec, Tells, TrackNames
from engage_sync.outbox import calls, claim, settle, workers
from engage_sync.outbox.calls import NewCall
from engage_sync.outbox.dead_letters import Chosen
from engage_sync.outbox.settle import Failed, Settlement, Taken
from engage_sync.snapshots import states
from engage_sync.sync import replaying
from engage_sync.sync.replaying import Replayed
from tests.world import BOTH, World, audience, trait

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BUYERS = "event('Order Completed').within(30 days).count() >= 1"
SPENT = "event('Order Completed').sum(property('total'))"


@pytest.fixture
def world(engine: Engine, database_url: str) -> World:
    made = World(engine)
    made.url = database_url  # type: ignore[attr-defined]
    made.person("ann", user_id="u1", emails=("ann@x.io",))
    return made


def settled(world: World, how: Callable[[Any], Settlement]) -> list[tuple[str, str, Any, int]]:
    """All that waits ends; returns (identity, call type, value, told version) in the order in which it would go."""
    with connect_directly(world.url, application="test") as direct:  # type: ignore[attr-defined]
        worker = workers.register(direct)
        with world.engine.begin() as connection:
            lanes = claim.claim(connection, world.context.destinations["iterable"], worker, 100)
            messages = [message for lane in lanes for message in lane.messages]
            settle.settle(connection, worker, [how(message) for message in messages])
            connection.execute(text("DELETE FROM lanes"))
    return [(each.identity_value, each.call_type, each.value, each.told_version or 0) for each in messages]


def refused(world: World) -> list[tuple[str, str, Any, int]]:
    return settled(world, lambda message: Failed(message=message, reason="400 BadParams: no"))


def given_up(world: World) -> list[tuple[str, str, Any, int]]:
    return settled(world, lambda message: Failed(message=message, reason="no answer", is_unknown=True))


def taken(world: World) -> list[tuple[str, str, Any, int]]:
    return settled(world, lambda message: Taken(message=message))


def replay(world: World, **chosen: Any) -> Replayed:
    return replaying.replay(world.engine, world.context, Chosen(**chosen))


def rows(world: World, statement: str) -> list[tuple[Any, ...]]:
    with world.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def bought(world: World, at: datetime = NOW, **properties: Any) -> None:
    world.event("ann", "Order Completed", at, **properties)


def test_what_is_still_true_is_the_same_message_again(world: World) -> None:
    world.apply(audience("buyers", BUYERS, destinations=BOTH))
    bought(world)
    world.compute(as_of=NOW)
    assert refused(world) == [("ann@x.io", "identify", True, 1), ("ann@x.io", "track", True, 1)]
    assert replay(world).document() == {"replayed": 2, "obsolete": 0}
    assert replay(world).waiting == 0
    assert taken(world) == [("ann@x.io", "identify", True, 1), ("ann@x.io", "track", True, 1)]
    assert rows(world, "SELECT DISTINCT status FROM dead_letters") == [("replayed",)]
    assert rows(world, "SELECT DISTINCT confirmed, enqueued FROM told") == [(True, None)]


def test_who_left_since_is_told_nothing(world: World) -> None:
    """Neither the field nor the event: the destination never knew of it."""
    world.apply(audience("buyers", BUYERS, destinations=BOTH))
    bought(world)
    world.compute(as_of=NOW)
    refused(world)
    world.compute(as_of=NOW + timedelta(days=31))
    assert world.waiting() == []
    assert (replay(world).waiting, world.waiting()) == (0, [])
    assert rows(world, "SELECT DISTINCT status FROM dead_letters") == [("obsolete",)]


def test_who_left_since_and_may_have_heard_of_it_is_told(world: World) -> None:
    """Its answer was lost: the destination may hold the field, and have seen the event."""
    world.apply(audience("buyers", BUYERS, destinations=BOTH))
    bought(world)
    world.compute(as_of=NOW)
    given_up(world)
    world.compute(as_of=NOW + timedelta(days=31))
    assert taken(world) == [("ann@x.io", "identify", False, 2), ("ann@x.io", "track", False, 2)]
    assert (replay(world).waiting, world.waiting()) == (0, [])


def test_what_may_have_arrived_is_not_forgotten_over_what_was_refused_since(world: World) -> None:
    world.apply(audience("buyers", BUYERS))
    bought(world)
    world.compute(as_of=NOW)
    given_up(world)
    world.compute(as_of=NOW + timedelta(days=31))
    assert refused(world) == [("ann@x.io", "identify", False, 2)]
    assert replay(world).waiting == 1
    assert taken(world) == [("ann@x.io", "identify", False, 2)]


def test_what_may_have_arrived_is_not_forgotten_over_what_was_taken_back_since(world: World) -> None:
    """True may have arrived; then false was enqueued, and taken back unsent: true is said again."""
    world.apply(audience("buyers", BUYERS))
    bought(world)
    world.compute(as_of=NOW)
    assert taken(world) == [("ann@x.io", "identify", True, 1)]
    world.compute(as_of=NOW + timedelta(days=31))
    assert given_up(world) == [("ann@x.io", "identify", False, 2)]
    bought(world, NOW + timedelta(days=32))
    world.compute(as_of=NOW + timedelta(days=32))
    world.compute(as_of=NOW + timedelta(days=63))
    bought(world, NOW + timedelta(days=64))
    world.compute(as_of=NOW + timedelta(days=64))
    assert [(value, version) for _, _, value, version in taken(world)] == [(True, 5)]


def test_what_was_told_since_is_not_overwritten(world: World) -> None:
    world.apply(trait("spent", SPENT))
    bought(world, total=1)
    world.compute(as_of=NOW)
    refused(world)
    bought(world, total=2)
    world.compute(as_of=NOW + timedelta(hours=1))
    assert taken(world) == [("ann@x.io", "identify", 3.0, 2)]
    done = replay(world)
    assert (done.waiting, done.obsolete, world.waiting()) == (0, 1, [])


def test_what_waits_already_is_not_said_twice(world: World) -> None:
    world.apply(trait("spent", SPENT))
    bought(world, total=1)
    world.compute(as_of=NOW)
    refused(world)
    bought(world, total=2)
    world.compute(as_of=NOW + timedelta(hours=1))
    assert replay(world).obsolete == 1
    assert taken(world) == [("ann@x.io", "identify", 3.0, 2)]


def test_of_several_about_one_thing_the_truth_is_said_once(world: World) -> None:
    world.apply(trait("spent", SPENT))
    for hours in range(3):
        bought(world, total=1)
        world.compute(as_of=NOW + timedelta(hours=hours))
        refused(world)
    done = replay(world)
    assert (done.waiting, done.obsolete) == (1, 2)
    assert taken(world) == [("ann@x.io", "identify", 3.0, 3)]


def test_an_older_one_alone_says_what_is_true_under_a_new_id(world: World) -> None:
    world.apply(trait("spent", SPENT))
    for hours in range(2):
        bought(world, total=1)
        world.compute(as_of=NOW + timedelta(hours=hours))
        refused(world)
    first = rows(world, "SELECT min(id) FROM dead_letters")[0][0]
    assert replay(world, ids=[first]).waiting == 1
    assert replay(world).document()["obsolete"] == 1
    assert taken(world) == [("ann@x.io", "identify", 2.0, 3)]


def test_only_what_is_chosen_is_said(world: World) -> None:
    world.gain("ann", "email", "b@x.io")
    world.apply(audience("buyers", BUYERS), trait("spent", SPENT))
    bought(world, total=5)
    world.compute(as_of=NOW)
    assert len(refused(world)) == 4
    assert replay(world, key="spent").waiting == 2
    assert [said[2] for said in taken(world)] == [5.0, 5.0]
    assert rows(world, "SELECT count(*) FROM dead_letters WHERE status = 'open'") == [(2,)]


def test_a_mended_definition_says_its_event_by_the_new_name(world: World) -> None:
    def named(name: str) -> DefinitionSpec:
        tells = {"iterable": Tells(identify=False, track=TrackNames(entered=name, exited=None))}
        return audience("buyers", BUYERS, destinations=tells)

    world.apply(named("Bad Name"))
    bought(world)
    world.compute(as_of=NOW)
    refused(world)
    world.apply(named("Good Name"))
    done = replay(world)
    assert (done.waiting, done.left_open) == (0, 1)
    assert "engage-sync compute buyers" in done.document()["notes"][0]
    with world.engine.begin() as connection:
        states.carry_over(connection, ["buyers"])
    assert replay(world).waiting == 1
    assert rows(world, "SELECT definition_version, told_version FROM messages") == [(2, 1)]


def test_a_deleted_definition_and_calls_that_are_told_no_more_are_said_to_be_so(world: World) -> None:
    world.apply(audience("buyers", BUYERS, destinations=BOTH), audience("others", BUYERS, destinations=BOTH))
    bought(world)
    world.compute(as_of=NOW)
    refused(world)
    with world.engine.begin() as connection:
        versions.apply(connection, [audience("others", BUYERS)])
        states.carry_over(connection, ["others"])
        connection.execute(text("UPDATE definitions SET deleted_at = now() WHERE key = 'buyers'"))
    done = replay(world)
    assert (done.waiting, done.obsolete, done.deleted, done.untold) == (1, 3, {"buyers": 2}, {"others": 1})
    assert [note.split(":")[0] for note in done.notes()] == ["2 of buyers", "1 of others"]
    assert [said[:3] for said in taken(world)] == [("ann@x.io", "identify", True)]


def test_a_destination_that_is_gone_leaves_them_open(world: World) -> None:
    world.apply(audience("buyers", BUYERS))
    bought(world)
    world.compute(as_of=NOW)
    refused(world)
    configured = world.context
    world.context = type(configured)(destinations={})
    done = replay(world)
    assert (done.waiting, done.obsolete, done.unconfigured) == (0, 0, {"iterable": 1})
    world.context = configured
    assert replay(world).waiting == 1


def test_calls_of_several_kinds_keep_the_order_of_their_person(world: World) -> None:
    """Forwarded calls are facts: they go as they are, between what definitions say."""
    destination, profile = world.context.destinations["iterable"], world.people["ann"]

    def forwarded(event: str) -> None:
        with world.engine.begin() as connection:
            call = NewCall(
                destination_id=destination, profile_id=profile, source_id=world.source, identity_type="email",
                identity_value="ann@x.io", call_type="track", value=f'"{event}"', call="{}", as_of=NOW,
            )  # fmt: skip
            calls.append(connection, [call])

    world.apply(audience("buyers", BUYERS, destinations=BOTH))
    forwarded("first")
    bought(world)
    world.compute(as_of=NOW)
    forwarded("last")
    before = refused(world)
    assert [said[2] for said in before] == ["first", True, True, "last"]
    assert replay(world).waiting == 4
    assert taken(world) == before
