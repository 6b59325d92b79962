"""What applying the workspace would change, without changing it; and applying it.

The plan is made in a transaction that is rolled back: definitions are recorded in it and their evaluations run, so that
its numbers are those of the data as it stands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, text

from engage_sync import errors
from engage_sync.definitions import versions
from engage_sync.definitions.language import tree
from engage_sync.definitions.model import DefinitionSpec, Workspace
from engage_sync.definitions.versions import Action, StoredDefinition
from engage_sync.evaluation.warehouse import Warehouse
from engage_sync.snapshots import states
from engage_sync.snapshots.states import State
from engage_sync.sync import guarding
from engage_sync.sync.catalog import Catalog, Context
from engage_sync.sync.guarding import Case
from engage_sync.sync.staging import Staging
from engage_sync.sync.telling import channels, nothing

# Whoever has a value to lose; once it was told, it is told again that there is none.
_SWEPT = text(
    """
    SELECT destination_id, call_type, count(*) AS messages
    FROM snapshots JOIN told USING (profile_id, definition_id)
    WHERE definition_id = :definition AND snapshots.value <> CAST(:nothing AS jsonb)
      AND coalesce(told.enqueued, told.confirmed) <> CAST(:nothing AS jsonb)
    GROUP BY destination_id, call_type
    """
)
_RECORD = text(
    """
    INSERT INTO snapshots (profile_id, definition_id, value, since)
    SELECT profile_id, :definition, after, :as_of FROM engage_pending WHERE after IS NOT NULL
    ON CONFLICT (profile_id, definition_id) DO UPDATE SET value = excluded.value
    """
)


class Rated(Protocol):
    @property
    def budgets(self) -> Mapping[str, float]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """What the next computation of a changed definition would do to its snapshot, as of the plan's instant.

    `seconds` is what evaluating it for everybody took; writing what differs comes to that. `allowed` is how many
    changes the guard lets through, None: any number; `held` why it would hold them, None: it wouldn't.
    """

    key: str
    kind: str
    members: int
    entering: int
    leaving: int
    changing: int
    seconds: float
    allowed: int | None
    held: str | None

    def document(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, kw_only=True, slots=True)
class Calls:
    """How many messages of a kind a destination would get, and how long they take at its rate."""

    destination: str
    call_type: str
    messages: int
    seconds: float | None

    def document(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    actions: list[Action]
    effects: list[Effect]
    calls: list[Calls]
    as_of: datetime

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "as_of": self.as_of,
            "definitions": [
                {
                    "action": action.kind,
                    "key": action.key,
                    "kind": action.definition_kind,
                    "changed": list(action.changed),
                }
                for action in self.actions
            ],
            "members": [effect.document() for effect in self.effects],
            "calls": [calls.document() for calls in self.calls],
        }


def described(engine: Engine, workspace: Workspace, warehouse: Warehouse | None) -> Workspace:
    """The workspace with the columns of its SQL traits, as their database describes them.

    Raises errors.WorkspaceInvalid, at the lines of those that can't be read or share a column's name.
    """
    rows = [spec for spec in workspace.definitions if isinstance(spec.tree, tree.SqlRows)]
    if not rows or warehouse is None:
        return workspace
    with engine.begin() as connection:
        stored = {each.key: each.spec.tree for each in versions.load(connection, include_disabled=True)}
    problems: list[errors.Problem] = []
    made: dict[str, DefinitionSpec] = {}
    taken = {spec.key: spec.key for spec in workspace.definitions}
    for spec in rows:
        assert isinstance(spec.tree, tree.SqlRows)
        try:
            columns = warehouse.describe(spec.tree.sql)
        except errors.ComputationFailed as failure:
            problems.append(_problem(spec, str(failure)))
            continue
        for column in columns:
            home = taken.setdefault(column, spec.key)
            if home != spec.key:
                what = "a definition's key" if home == column else f"a column of {home}"
                problems.append(_problem(spec, f"the column {column} of {spec.key} is {what} too; rename it with AS"))
        before = stored.get(spec.key)
        known = (*before.gone, *before.columns) if isinstance(before, tree.SqlRows) else ()
        made[spec.key] = replace(spec, tree=replace(spec.tree, columns=columns, gone=known))
    if problems:
        raise errors.WorkspaceInvalid(problems)
    for key, spec in made.items():
        assert isinstance(spec.tree, tree.SqlRows)
        # What another one says by now isn't this one's to take back.
        gone = tuple(sorted(set(spec.tree.gone) - taken.keys()))
        made[key] = replace(spec, tree=replace(spec.tree, gone=gone))
    return replace(workspace, definitions=tuple(made.get(spec.key, spec) for spec in workspace.definitions))


def _problem(spec: DefinitionSpec, message: str) -> errors.Problem:
    place = spec.position
    return errors.Problem(path=spec.file or spec.key, line=place.line, column=place.column, message=message)


def actions(engine: Engine, workspace: Workspace, *, delete: Collection[str]) -> list[Action]:
    """What applying would do to the definitions."""
    with engine.begin() as connection:
        return versions.plan(connection, workspace.definitions, delete=delete)


def apply(engine: Engine, workspace: Workspace, *, delete: Collection[str]) -> list[Action]:
    """Record the workspace's definitions; their first computation is queued by their not having been computed."""
    with engine.begin() as connection:
        before = {definition.key: definition for definition in versions.load(connection, include_disabled=True)}
        done = versions.apply(connection, workspace.definitions, delete=delete)
        updated = {action.key for action in done if action.kind == "update"}
        same = [spec.key for spec in workspace.definitions if spec.key in updated and _says_the_same(before, spec)]
        states.carry_over(connection, same)
        after = versions.load(connection, include_disabled=True)
        states.forget(connection, [each.id for each in after if _leads_elsewhere(before.get(each.key), each)])
        return done


def _leads_elsewhere(before: StoredDefinition | None, after: StoredDefinition) -> bool:
    """Whether a definition in the same words reads something else: a column of an SQL trait came, went or moved."""
    return before is not None and before.version == after.version and before.spec.tree != after.spec.tree


def _says_the_same(before: Mapping[str, StoredDefinition], spec: DefinitionSpec) -> bool:
    """Whether a new version has the members and tells the destinations of the old one.

    What was disabled has missed what was touched meanwhile.
    """
    old = before[spec.key]
    return old.enabled and spec.computes_like(old.spec) and spec.destinations == old.spec.destinations


def plan(
    engine: Engine,
    workspace: Workspace,
    destinations: Mapping[str, Rated],
    context: Context,
    *,
    delete: Collection[str],
    watch: Callable[[str, int, int], None] | None = None,
) -> Plan:
    """What applying and then computing would do, as of now, and what of it the guards would hold."""
    with engine.connect() as connection:
        transaction = connection.begin()
        try:
            done = versions.apply(connection, workspace.definitions, delete=delete)
            as_of = states.instant(connection, None)
            swept = _swept(connection, [action.key for action in done if action.kind == "delete"])
            totals = {place: messages for place, messages in swept.items() if place[0] in destinations}
            catalog = Catalog.load(connection)
            known = states.load(connection, [definition.id for definition in catalog.definitions])
            effects: list[Effect] = []
            changed = [each for each in catalog.definitions if known[each.id].version != each.version]
            for number, definition in enumerate(changed):
                if watch:
                    watch("planning", number, len(changed))
                staging = Staging(context=context, catalog=catalog, definition=definition, as_of=as_of)
                effect, identities = _effect(connection, staging, known[definition.id])
                effects.append(effect)
                if known[definition.id].version is None and definition.spec.include_historical_data is False:
                    # What is so when it begins counts as told.
                    continue
                slugs = dict(enumerate(sorted(destinations)))
                for channel in channels(definition, {slug: number for number, slug in slugs.items()}):
                    place = (slugs[channel.destination_id], channel.call_type)
                    totals[place] = totals.get(place, 0) + identities
        finally:
            transaction.rollback()
    return Plan(actions=done, effects=effects, calls=_calls(totals, destinations), as_of=as_of)


def _swept(connection: Connection, keys: Collection[str]) -> dict[tuple[str, str], int]:
    """How many messages the sweep of these deleted definitions makes, by destination and kind of call."""
    slugs = {row.id: row.slug for row in connection.execute(text("SELECT id, slug FROM destinations"))}
    found: dict[tuple[str, str], int] = {}
    for definition in versions.load_swept(connection) if keys else ():
        if definition.key not in keys:
            continue
        for row in connection.execute(_SWEPT, {"definition": definition.id, "nothing": nothing(definition)}):
            place = (slugs[row.destination_id], row.call_type)
            found[place] = found.get(place, 0) + row.messages
    return found


def _effect(connection: Connection, staging: Staging, state: State) -> tuple[Effect, int]:
    """The numbers of one definition, and how many identities they concern."""
    definition = staging.definition
    began = time.perf_counter()
    staging.stage(connection, state, everybody=True)
    seconds = time.perf_counter() - began
    tally = staging.foresee(connection)
    identities = staging.identities(connection)
    case = Case(context=staging.context, definition=definition, state=state, as_of=staging.as_of, is_live=True)
    held = guarding.foreseen(connection, case, tally)
    if definition.key in staging.catalog.referrers and held is None:
        # Others are evaluated against it, as what is held would stay as it is; all of this is rolled back.
        connection.execute(_RECORD, {"definition": definition.id, "as_of": staging.as_of})
    effect = Effect(
        key=definition.key,
        kind=definition.kind,
        members=state.members,
        entering=tally.entered,
        leaving=tally.exited,
        changing=tally.changed,
        seconds=round(seconds, 3),
        allowed=None if state.version is None else case.allowed,
        held=held,
    )
    return effect, identities


def _calls(totals: Mapping[tuple[str, str], int], destinations: Mapping[str, Rated]) -> list[Calls]:
    found = []
    for (slug, call_type), messages in sorted(totals.items()):
        rate = destinations[slug].budgets.get(call_type)
        found.append(
            Calls(
                destination=slug,
                call_type=call_type,
                messages=messages,
                seconds=round(messages / rate, 1) if rate else None,
            )
        )
    return found
