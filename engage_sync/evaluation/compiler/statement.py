"""The statement of one definition: of whom it speaks, and what is asked of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Table,
    and_,
    func,
    literal,
    literal_column,
    not_,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB

from engage_sync import errors
from engage_sync.database import tables
from engage_sync.definitions.language import tree
from engage_sync.definitions.language.walk import walk
from engage_sync.evaluation import operands, presence, windows
from engage_sync.evaluation.compiler import events, reducers
from engage_sync.evaluation.compiler.conditions import Conditions, Row
from engage_sync.evaluation.compiler.events import Event
from engage_sync.evaluation.compiler.sources import PROFILES, Scope, Source, Sources
from engage_sync.evaluation.operands import Condition

# Not a parameter: it would be read anew for each member.
_TRUE: ColumnElement[Any] = literal_column("'true'::jsonb", JSONB)
_DIALECT = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """A compiled definition. Run `sql` with `arguments(as_of, profiles)`."""

    sql: str
    parameters: Mapping[str, Any]

    def arguments(self, as_of: datetime, profiles: Sequence[int] | None = None) -> dict[str, Any]:
        """The statement's parameters for an instant and, in scope PROFILES, the internal ids of profiles."""
        given: dict[str, Any] = {**self.parameters, "as_of": as_of}
        if profiles is not None:
            given["profiles"] = list(profiles)
        return given


def compile_statement(
    definition: tree.Node,
    *,
    include_anonymous: bool,
    scope: Scope,
    catalog: Mapping[str, int],
    since: datetime | None,
    snapshots: Table = tables.snapshots,
) -> Evaluation:
    """Compile a checked definition."""
    if isinstance(definition, tree.SqlRows):
        raise errors.UsageError("An SQL trait is read, not computed from events: its value is what was read last.")
    conditions = Conditions(catalog, since, snapshots)
    sources = Sources(scope=scope, catalog=catalog, conditions=conditions)
    compiler = _Compiler(scope=scope, include_anonymous=include_anonymous, sources=sources, conditions=conditions)
    if isinstance(definition, tree.Aggregate | tree.TraitRef):
        statement = compiler.values(definition)
    else:
        statement = compiler.members(definition)
    return render(statement)


def render(statement: Select[Any]) -> Evaluation:
    """The text and the constant parameters of a statement; `as_of` and `profiles` are left to the run."""
    compiled = statement.compile(dialect=_DIALECT)
    parameters = {name: value for name, value in compiled.params.items() if name not in ("as_of", "profiles")}
    return Evaluation(sql=str(compiled), parameters=parameters)


@dataclass(kw_only=True)
class _Compiler:
    scope: Scope
    include_anonymous: bool
    sources: Sources
    conditions: Conditions

    # --- a whole definition -------------------------------------------------------------------------------------

    def members(self, expression: tree.Node) -> Select[Any]:
        """One row a member. The tree is a boolean expression."""
        rest, without = _split(expression)
        leaves = list(dict.fromkeys(_leaves(rest)))
        sources = self.sources.of(leaves, _only_existence(rest))
        known = {leaf: operand for source in sources for leaf, operand in source.columns.items()}
        profile_id, rows = self._people(rest, sources)
        conditions = [self._none(stream, profile_id, number) for number, stream in enumerate(without)]
        if rest is not None:
            conditions.append(self.conditions.condition(rest, Row(known=known, profile_id=profile_id)))
        return select(profile_id.label("profile_id"), _TRUE.label("value")).select_from(rows).where(*conditions)

    def values(self, leaf: presence.Leaf) -> Select[Any]:
        """One row a profile that has a value."""
        (source,) = self.sources.of([leaf], frozenset())
        profile_id, rows = self._restrict(source.profile_id, source.rows)
        value = reducers.json_value(leaf, source.columns[leaf])
        return (
            select(profile_id.label("profile_id"), value.label("value"))
            .select_from(rows)
            .where(operands.present(source.columns[leaf]))
        )

    def _people(self, expression: Any, sources: Sequence[Source]) -> tuple[ColumnElement[int], FromClause]:
        """Who comes into question, joined with what is known of them."""
        if self.scope is Scope.PROFILES:
            return self._from_profiles(sources)
        needed = presence.needed_for_true(expression) if expression is not None else frozenset()
        first = [source for source in sources if needed & source.columns.keys()]
        if first:
            rows = first[0].rows
            for source in first[1:]:
                rows = rows.join(source.rows, source.profile_id == first[0].profile_id)
            rest = [source for source in sources if source not in first]
            return self._restrict(first[0].profile_id, _left_join(rows, first[0].profile_id, rest))
        if sources and expression is not None and not presence.true_of_nothing(expression):
            profile_id, rows = sources[0].profile_id, sources[0].rows
            for source in sources[1:]:
                rows = rows.outerjoin(source.rows, profile_id == source.profile_id, full=True)
                profile_id = func.coalesce(profile_id, source.profile_id)
            return self._restrict(profile_id, rows)
        return self._from_profiles(sources)

    def _from_profiles(self, sources: Sequence[Source]) -> tuple[ColumnElement[int], FromClause]:
        profile = tables.profiles.alias("profile")
        asked: list[Condition] = [] if self.include_anonymous else [profile.c.is_known]
        if self.scope is Scope.PROFILES:
            asked.append(profile.c.id == func.any(PROFILES))
        people = select(profile.c.id).where(*asked).subquery("person")
        return people.c.id, _left_join(people, people.c.id, sources)

    def _restrict(self, profile_id: ColumnElement[int], rows: FromClause) -> tuple[ColumnElement[int], FromClause]:
        """Leave anonymous profiles out, unless the definition includes them."""
        if self.include_anonymous:
            return profile_id, rows
        profile = tables.profiles.alias("profile")
        known = and_(profile.c.id == profile_id, profile.c.is_known)
        if self.scope is Scope.PROFILES:
            # Said once more, so that only these are looked up however many groups the planner expects.
            known = and_(known, profile.c.id == func.any(PROFILES))
        return profile_id, rows.join(profile, known)

    def _none(self, stream: tree.Stream, profile_id: ColumnElement[int], number: int) -> Condition:
        """That a person has no such event: an anti-join, which stops at the first one."""
        table = tables.events.alias(f"none_{number}")
        event = Event(rows=table)
        conditions = [table.c.profile_id == profile_id, table.c.name == stream.event]
        conditions += events.within(event, windows.ages(stream), self.conditions.since)
        conditions += self.conditions.filters(stream, event)
        return not_(select(literal(1)).select_from(table).where(*conditions).correlate_except(table).exists())


def _leaves(node: Any) -> list[presence.Leaf]:
    """Streams and traits outside of streams, in the order of the text."""
    match node:
        case tree.And() | tree.Or():
            return [leaf for operand in node.operands for leaf in _leaves(operand)]
        case tree.Not():
            return _leaves(node.operand)
        case tree.Comparison():
            return [leaf for value in (node.left, *node.arguments) for leaf in _leaves(value)]
        case tree.Aggregate() | tree.TraitRef():
            return [node]
        case _:
            return []


def _split(expression: Any) -> tuple[Any, list[tree.Stream]]:
    """Take out of a conjunction what asks that there be no event: (what is left or None, the streams)."""
    operands_ = expression.operands if isinstance(expression, tree.And) else (expression,)
    without = {number: stream for number, each in enumerate(operands_) if (stream := _absent_stream(each, False))}
    rest = tuple(each for number, each in enumerate(operands_) if number not in without)
    if not rest:
        return None, list(without.values())
    return (rest[0] if len(rest) == 1 else tree.And(operands=rest)), list(without.values())


def _absent_stream(expression: Any, asked: bool) -> tree.Stream | None:
    """The stream of which a comparison (or its negation) asks that there be nothing in it."""
    match expression:
        case tree.Not():
            return _absent_stream(expression.operand, not asked)
        case tree.Comparison() if presence.existence(expression) is asked:
            assert isinstance(expression.left, tree.Aggregate)
            return expression.left.stream
        case _:
            return None


def _only_existence(expression: Any) -> frozenset[presence.Leaf]:
    """The leaves of which every comparison asks only whether there is any event."""
    comparisons = [node for node in walk(expression) if isinstance(node, tree.Comparison)] if expression else []
    number_matters = {
        leaf
        for comparison in comparisons
        for leaf in (comparison.left, *comparison.arguments)
        if not (leaf is comparison.left and presence.existence(comparison) is not None)
    }
    return frozenset(
        comparison.left
        for comparison in comparisons
        if isinstance(comparison.left, tree.Aggregate) and comparison.left not in number_matters
    )


def _left_join(rows: FromClause, profile_id: ColumnElement[int], sources: Sequence[Source]) -> FromClause:
    for source in sources:
        rows = rows.outerjoin(source.rows, source.profile_id == profile_id)
    return rows
