"""Random people, accounts and definitions of accounts: what `explain` says of each account is what the oracle says."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from engage_sync.definitions.language import tree
from engage_sync.definitions.model import DefinitionSpec
from engage_sync.evaluation.explain import turning, users
from engage_sync.sync.explaining import explain
from tests.integration import histories
from tests.integration.histories import MICROSECOND, Membership, Player, asked_of
from tests.integration.test_property_explain import HOURS
from tests.oracle.evaluate import Account, Person, is_member, value_of
from tests.oracle.evaluate import _events as matching
from tests.oracle.told import same

EXAMPLES = 300 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 20
SAMPLED = 15

scripts = st.lists(
    st.one_of(histories.facts, histories.facts, histories.groups, histories.groups, histories.moves), max_size=14
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(specs=histories.specs_of_accounts(), script=scripts)
def test_each_account_is_explained_as_the_oracle_has_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, specs: list[DefinitionSpec], script: list[Any]
) -> None:
    monkeypatch.setattr(turning, "FIRST_LOOK", 0)
    monkeypatch.setattr(users, "SHOWN", 100)
    player = Player(engine, specs)
    for step in script:
        player.take(step)
    player.world.compute(as_of=player.now)
    player.expect(player.now)
    player.check_snapshots()
    with engine.begin() as connection:
        ids = {row.id: row.public_id for row in connection.execute(text("SELECT id, public_id FROM profiles"))}
    people = {ids[profile]: name for name, profile in player.world.people.items()}
    turns = Turns(player)
    for public, name in people.items():
        for spec in specs:
            if not spec.of_accounts:
                continue
            found = explain(engine, spec.key, public, as_of=player.now, events=50)
            # The verdict is the snapshot, which is the oracle's.
            assert same(found["value"], said(player, spec, name, player.now)), (spec.query, found)
            assert found["snapshot"]["differs_because"] == []
            check_accounts(player, turns, spec, name, found, people)
            turns.check(found["next_change"], found["value"], lambda at, s=spec, n=name: said(player, s, n, at), spec)


def check_accounts(
    player: Player, turns: Turns, spec: DefinitionSpec, name: str, found: dict[str, Any], people: dict[str, str]
) -> None:
    mine = {group_id: each for group_id, each in player.accounts.items() if name in each.members}
    assert {each["group_id"] for each in found["accounts"]} == set(mine)
    told = [each["value"] for each in found["accounts"] if each["is_told"]]
    if spec.kind == "audience":
        assert bool(told) is found["value"]
    else:
        assert same(told[0] if told else None, found["value"])
    for each in found["accounts"]:
        membership = mine[each["group_id"]]
        account = player._account(membership, spec)
        assert each["users"] == len(account.users)
        assert same(each["value"], of_account(player, spec, membership, player.now)), (spec.query, each)
        check_expression(player, spec, asked_of(spec), account, each["expression"], people)
        turns.check(
            each["next_change"],
            each["value"],
            lambda at, spec=spec, its=membership: of_account(player, spec, its, at),
            spec,
        )


def check_expression(
    player: Player,
    spec: DefinitionSpec,
    node: Any,
    subject: Person | Account,
    document: dict[str, Any],
    people: dict[str, str],
) -> None:
    match node:
        case tree.And() | tree.Or() | tree.Not():
            below = (node.operand,) if isinstance(node, tree.Not) else node.operands
            for each, its in zip(below, document["operands"], strict=True):
                check_expression(player, spec, each, subject, its, people)
        case tree.AnyUser() | tree.AllUsers():
            assert isinstance(subject, Account)
            holds = [user for user in subject.users if is_member(node.operand, user, player.now)]
            assert (document["users"], document["met"]) == (len(subject.users), len(holds))
            for shown in document["shown"]:
                user = player.people[people[shown["user"]["profile_id"]]]
                assert shown["value"] is any(user is each for each in holds)
                check_expression(player, spec, node.operand, user, shown["expression"], people)
        case tree.Comparison():
            if isinstance(node.left, tree.Aggregate):
                check_events(player, node.left, subject, document["left"]["events"], people)
        case tree.Aggregate():
            check_events(player, node, subject, document["events"], people)
    if isinstance(node, tree.Aggregate | tree.TraitRef):
        assert same(document["value"], value_of(node, subject, player.now)) or document["value"] == 0
    else:
        assert document["value"] is is_member(node, subject, player.now), (spec.query, document)


def check_events(
    player: Player, node: tree.Aggregate, subject: Person | Account, events: dict[str, Any], people: dict[str, str]
) -> None:
    counted = matching(node.stream, subject, player.now, None)
    assert events["matched"] == len(counted)
    assert [each["timestamp"] for each in events["newest"]] == [each.timestamp for each in counted[::-1]]
    assert events["matched"] + sum(each["events"] for each in events["left_out"]) == sum(
        each.name == node.stream.event for each in subject.events
    )
    if isinstance(subject, Account):
        whose = [player.people[people[each["user"]["profile_id"]]] for each in events["newest"]]
        assert all(any(event is each for each in user.events) for user, event in zip(whose, counted[::-1], strict=True))


class Turns:
    """When anything may change for anybody, and what definitions of people say then."""

    def __init__(self, player: Player) -> None:
        self.player = player
        bases = {each.timestamp for person in player.people.values() for each in person.events}
        self.edges = sorted(
            at
            for base in (*bases, player.now.replace(hour=0))
            for one in HOURS
            for other in HOURS
            for at in (base + timedelta(hours=one + other) + nudge * MICROSECOND for nudge in (-1, 0, 1))
            if at > player.now
        )
        self.alone = [spec for spec in player.specs if spec.key in ("first", "spent")]
        self.entered = {
            name: next((at for at in self.edges if said(player, self.alone[0], name, at)), None)
            for name in player.people
        }

    def check(
        self, change: dict[str, Any], value: Any, evaluate: Callable[[datetime], Any], spec: DefinitionSpec
    ) -> None:
        """At the instant it is something else, and at no instant before."""
        assert change["is_complete"]
        end = change["at"] or self.player.now + timedelta(days=3652)
        if change["at"] is not None:
            with self.moved(change["at"]):
                after = evaluate(change["at"])
            assert not same(after, value), (spec.query, change)
            assert same(after, change["value"]), (spec.query, change, after)
        for at in (end - MICROSECOND, *self._sample([at for at in self.edges if at < end])):
            with self.moved(at):
                assert same(evaluate(at), value), (spec.query, change, at)

    @contextmanager
    def moved(self, at: datetime) -> Iterator[None]:
        """What definitions of people say, kept up to date until then."""
        before = {name: dict(person.definitions) for name, person in self.player.people.items()}
        for name, person in self.player.people.items():
            for spec in self.alone:
                value = self.player._evaluate(spec, name, at)
                entered = self.entered[name]
                if spec.kind == "audience" and not value:
                    was = spec.key in before[name] or (entered is not None and entered < at)
                    value = False if was else None
                person.definitions.pop(spec.key, None)
                if value is not None:
                    person.definitions[spec.key] = value
        yield
        for name, definitions in before.items():
            self.player.people[name].definitions = definitions

    @staticmethod
    def _sample(edges: Sequence[datetime]) -> list[datetime]:
        return random.Random(0).sample(edges, min(SAMPLED, len(edges)))


def of_account(player: Player, spec: DefinitionSpec, membership: Membership, at: datetime) -> Any:
    account = player._account(membership, spec)
    of = is_member if spec.kind == "audience" else value_of
    return of(asked_of(spec), account, at)


def said(player: Player, spec: DefinitionSpec, name: str, at: datetime) -> Any:
    value = player._evaluate(spec, name, at)
    return bool(value) if spec.kind == "audience" else value
