"""Random people, histories and definitions: what `explain` says is what the oracle says, and so is when it changes."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from engage_sync.definitions.language import references, tree
from engage_sync.definitions.model import DefinitionSpec
from engage_sync.evaluation.explain import turning
from engage_sync.sync.explaining import explain
from tests.integration import histories
from tests.integration.histories import MICROSECOND, Player
from tests.oracle.evaluate import Person, is_member
from tests.oracle.evaluate import _events as matching
from tests.oracle.told import same

# HYPOTHESIS_PROFILE=thorough looks ten times as long.
EXAMPLES = 400 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 30
# How far from an event anything may happen: windows, windows after windows, and days.
HOURS = (0, 1, 1.5, 2, 12, 24, 30, 48, 72, 7 * 24, 9 * 24)
SAMPLED = 40

scripts = st.lists(st.one_of(histories.facts, histories.facts, histories.facts, histories.moves), max_size=12)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(specs=histories.specs(), script=scripts)
def test_value_and_next_change_are_the_oracles(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, specs: list[DefinitionSpec], script: list[Any]
) -> None:
    monkeypatch.setattr(turning, "FIRST_LOOK", 0)
    player = Player(engine, specs)
    for step in script:
        player.take(step)
    player.world.compute(as_of=player.now)
    player.expect(player.now)
    with engine.begin() as connection:
        ids = {row.id: row.public_id for row in connection.execute(text("SELECT id, public_id FROM profiles"))}
    for name in player.people:
        edges = _edges(player.people[name], player.now)
        for spec in specs:
            found = explain(engine, spec.key, ids[player.world.people[name]], as_of=player.now, events=50)
            check_values(player, spec, name, found)
            check_change(player, spec, name, found, edges)


def check_values(player: Player, spec: DefinitionSpec, name: str, found: dict[str, Any]) -> None:
    person = player.people[name]
    assert same(found["value"], said(player, spec, name, player.now)), (spec.query, found)
    if spec.kind == "audience" and found["counts_person"]:
        assert found["expression"]["value"] == found["value"]
    for node, document in zip(_nodes(spec.tree), _documents(found["expression"]), strict=True):
        if isinstance(node, tree.Aggregate):
            events = document["events"]
            counted = matching(node.stream, person, player.now, None)
            assert events["matched"] == len(counted), (spec.query, events)
            assert [each["timestamp"] for each in events["newest"]] == [each.timestamp for each in counted[::-1]]
            of_that_name = [each for each in person.events if each.name == node.stream.event]
            assert sum(each["events"] for each in events["left_out"]) == len(of_that_name) - len(counted)
            for event in events["newest"]:
                assert all(condition["value"] is True for condition in event.get("where", ()))
        elif isinstance(node, tree.And | tree.Or | tree.Not | tree.Comparison):
            assert document["value"] is is_member(node, person, player.now), (spec.query, document)


def check_change(
    player: Player, spec: DefinitionSpec, name: str, found: dict[str, Any], edges: Sequence[datetime]
) -> None:
    """At the instant it is something else, and at no instant before; what it refers to changes along."""
    change = found["next_change"]
    assert change["is_complete"]
    entered = _entered(player, spec, name, edges)
    end = change["at"] or player.now + timedelta(days=3652)
    if change["at"] is not None:
        after = said_then(player, spec, name, change["at"], entered)
        assert not same(after, found["value"]), (spec.query, change)
        assert same(after, change["value"]), (spec.query, change, after)
    between = [at for at in edges if at < end]
    for at in (end - MICROSECOND, *random.Random(0).sample(between, min(SAMPLED, len(between)))):
        assert same(said_then(player, spec, name, at, entered), found["value"]), (spec.query, change, at)


def said(player: Player, spec: DefinitionSpec, name: str, at: datetime) -> Any:
    value = player._evaluate(spec, name, at)
    return bool(value) if spec.kind == "audience" else value


def said_then(player: Player, spec: DefinitionSpec, name: str, at: datetime, entered: Mapping[str, datetime]) -> Any:
    """What it says when what it refers to has been kept up to date until then."""
    person = player.people[name]
    before = dict(person.definitions)
    referred = references(spec.tree)
    for other in player.specs:
        if other.key in referred:
            value = player._evaluate(other, name, at)
            if other.kind == "audience" and not value:
                # Who ever was in it is told that she isn't; who never was, nothing.
                was = other.key in before or entered.get(other.key, at) < at
                value = False if was else None
            if value is None:
                person.definitions.pop(other.key, None)
            else:
                person.definitions[other.key] = value
    found = said(player, spec, name, at)
    person.definitions = before
    return found


def _entered(player: Player, spec: DefinitionSpec, name: str, edges: Sequence[datetime]) -> dict[str, datetime]:
    """When the person first will be in each audience that a definition refers to."""
    referred = references(spec.tree)
    others = [each for each in player.specs if each.key in referred and each.kind == "audience"]
    instants = {each.key: next((at for at in edges if player._evaluate(each, name, at)), None) for each in others}
    return {key: at for key, at in instants.items() if at is not None}


def _edges(person: Person, start: datetime) -> list[datetime]:
    """Instants at which something may happen, and those beside them."""
    bases = [each.timestamp for each in person.events] + [start.replace(hour=0)]
    edges = {
        base + timedelta(hours=one + other) + nudge * MICROSECOND
        for base in bases
        for one in HOURS
        for other in HOURS
        for nudge in (-1, 0, 1)
    }
    return sorted(at for at in edges if at > start)


def _nodes(node: Any) -> Iterator[tree.Node]:
    yield node
    match node:
        case tree.And() | tree.Or():
            for each in node.operands:
                yield from _nodes(each)
        case tree.Not():
            yield from _nodes(node.operand)
        case tree.Comparison():
            for each in (node.left, *node.arguments):
                yield from _nodes(each)


def _documents(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield document
    below = [*document.get("operands", ()), *([document["left"]] if "left" in document else ())]
    for each in [*below, *document.get("arguments", ())]:
        yield from _documents(each)
