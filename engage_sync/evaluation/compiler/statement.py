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
from engage_sync.evaluation.compiler.sources import Source, Sources
from engage_sync.evaluation.compiler.subjects import Accounts, People, Scope, Subject
from engage_sync.evaluation.operands import Condition

# Not a parameter: it would be read anew for each member.
_TRUE: ColumnElement[Any] = literal_column("'true'::jsonb", JSONB)
_OF_THE_RUN = ("as_of", "profiles", "accounts")
_DIALECT = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """A compiled definition. Run `sql` with `arguments(as_of, profiles)`, or with accounts instead of profiles."""

    sql: str
    parameters: Mapping[str, Any]

    def arguments(
        self, as_of: datetime, profiles: Sequence[int] | None = None, *, accounts: Sequence[int] | None = None
    ) -> dict[str, Any]:
        """The statement's parameters for an instant and the internal ids that its scope asks for."""
        given: dict[str, Any] = {**self.parameters, "as_of": as_of}
        if profiles is not None:
            given["profiles"] = list(profiles)
        if accounts is not None:
            given["accounts"] = list(accounts)
        return given


def compile_statement(
    definition: tree.Node,
    *,
    include_anonymous: bool,
    scope: Scope,
    catalog: Mapping[str, int],
    since: datetime | None,
) -> Evaluation:
    """Compile a checked definition."""
    if isinstance(definition, tree.SqlRows):
        raise errors.UsageError("An SQL trait is read, not computed from events: its value is what was read last.")
    facts = _Facts(catalog=catalog, since=since)
    if isinstance(definition, tree.OfAccounts):
        accounts = Accounts(scope=scope, include_anonymous=include_anonymous)
        statement = _Compiler.of(accounts, facts).statement(definition.of)
        return render(statement if scope is Scope.ACCOUNTS else _told_to_users(accounts, definition.of, statement))
    people = People(scope=scope, include_anonymous=include_anonymous)
    return render(_Compiler.of(people, facts).statement(definition))


def render(statement: Select[Any]) -> Evaluation:
    """The text and the constant parameters of a statement; the others are left to the run."""
    compiled = statement.compile(dialect=_DIALECT)
    parameters = {name: value for name, value in compiled.params.items() if name not in _OF_THE_RUN}
    return Evaluation(sql=str(compiled), parameters=parameters)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Facts:
    """What a statement reads besides its definition: see `compile_evaluation`."""

    catalog: Mapping[str, int]
    since: datetime | None


@dataclass(kw_only=True)
class _Compiler:
    subject: Subject
    sources: Sources
    conditions: Conditions

    @staticmethod
    def of(subject: Subject, facts: _Facts) -> _Compiler:
        """A compiler of what is asked of people or of accounts."""
        conditions = Conditions(facts.catalog, facts.since, subject)

        def who_meets(condition: tree.Boolean) -> Select[Any]:
            assert isinstance(subject, Accounts)
            return _Compiler.of(subject.each_user(), facts).members(condition)

        sources = Sources(subject=subject, catalog=facts.catalog, conditions=conditions, who_meets=who_meets)
        return _Compiler(subject=subject, sources=sources, conditions=conditions)

    # --- a whole definition -------------------------------------------------------------------------------------

    def statement(self, definition: tree.Node) -> Select[Any]:
        """One row (subject, value) for each of whom the definition says something."""
        if isinstance(definition, tree.Aggregate | tree.TraitRef):
            return self.values(definition)
        return self.members(definition)

    def members(self, expression: tree.Node) -> Select[Any]:
        """One row a member. The tree is a boolean expression."""
        rest, without = _split(expression)
        leaves = list(dict.fromkeys(_leaves(rest)))
        sources = self.sources.of(leaves, _only_existence(rest))
        known = {leaf: operand for source in sources for leaf, operand in source.columns.items()}
        subject, rows = self._people(rest, sources)
        conditions = [self._none(stream, subject, number) for number, stream in enumerate(without)]
        if rest is not None:
            conditions.append(self.conditions.condition(rest, Row(known=known, subject=subject)))
        return select(subject.label(self.subject.key), _TRUE.label("value")).select_from(rows).where(*conditions)

    def values(self, leaf: tree.Aggregate | tree.TraitRef) -> Select[Any]:
        """One row a person, or an account, that has a value."""
        (source,) = self.sources.of([leaf], frozenset())
        subject, rows = self._restrict(source.subject, source.rows)
        value = reducers.json_value(leaf, source.columns[leaf])
        return (
            select(subject.label(self.subject.key), value.label("value"))
            .select_from(rows)
            .where(operands.present(source.columns[leaf]))
        )

    def _people(self, expression: Any, sources: Sequence[Source]) -> tuple[ColumnElement[int], FromClause]:
        """Who comes into question, joined with what is known of them."""
        if self.subject.scope is not Scope.ALL:
            return self._from_everybody(sources)
        needed = presence.needed_for_true(expression) if expression is not None else frozenset()
        first = [source for source in sources if needed & source.columns.keys()]
        if first:
            rows = first[0].rows
            for source in first[1:]:
                rows = rows.join(source.rows, source.subject == first[0].subject)
            rest = [source for source in sources if source not in first]
            return self._restrict(first[0].subject, _left_join(rows, first[0].subject, rest))
        if sources and expression is not None and not presence.true_of_nothing(expression):
            subject, rows = sources[0].subject, sources[0].rows
            for source in sources[1:]:
                rows = rows.outerjoin(source.rows, subject == source.subject, full=True)
                subject = func.coalesce(subject, source.subject)
            return self._restrict(subject, rows)
        return self._from_everybody(sources)

    def _from_everybody(self, sources: Sequence[Source]) -> tuple[ColumnElement[int], FromClause]:
        everybody = self.subject.everybody()
        return everybody.c.id, _left_join(everybody, everybody.c.id, sources)

    def _restrict(self, subject: ColumnElement[int], rows: FromClause) -> tuple[ColumnElement[int], FromClause]:
        """Leave anonymous profiles out, unless the definition includes them; accounts have left them out already."""
        if self.subject.include_anonymous or isinstance(self.subject, Accounts):
            return subject, rows
        profile = tables.profiles.alias("profile")
        known = and_(profile.c.id == subject, profile.c.is_known)
        if self.subject.scope is not Scope.ALL:
            # Said once more, so that only these are looked up however many groups the planner expects.
            known = and_(known, profile.c.id == func.any(self.subject.among))
        return subject, rows.join(profile, known)

    def _none(self, stream: tree.Stream, subject: ColumnElement[int], number: int) -> Condition:
        """That there is no such event of theirs: an anti-join, which stops at the first one."""
        event = self.subject.events(f"none_{number}")
        conditions = [event.subject == subject, event.c.name == stream.event]
        conditions += events.within(event, windows.ages(stream), self.conditions.since)
        conditions += self.conditions.filters(stream, event)
        found = select(literal(1)).select_from(event.rows).where(*conditions)
        return not_(found.correlate_except(event.rows).exists())


def _told_to_users(accounts: Accounts, asked: tree.Node, statement: Select[Any]) -> Select[Any]:
    """One row (profile_id, value) for each user: whether any account is meant; the value of the newest account.

    The newest is the one that the person's latest group call named.
    """
    of_account = statement.subquery("of_account")
    told = accounts.told("told", newest=isinstance(asked, tree.Aggregate | tree.TraitRef))
    rows = told.join(of_account, of_account.c.account_id == told.c.account_id)
    if isinstance(asked, tree.Aggregate | tree.TraitRef):
        return select(told.c.profile_id, of_account.c.value).select_from(rows)
    return select(told.c.profile_id, _TRUE.label("value")).select_from(rows).group_by(told.c.profile_id)


def _leaves(node: Any) -> list[presence.Leaf]:
    """Streams and traits outside of streams, in the order of the text."""
    match node:
        case tree.And() | tree.Or():
            return [leaf for operand in node.operands for leaf in _leaves(operand)]
        case tree.Not():
            return _leaves(node.operand)
        case tree.Comparison():
            return [leaf for value in (node.left, *node.arguments) for leaf in _leaves(value)]
        case tree.Aggregate() | tree.TraitRef() | tree.AnyUser() | tree.AllUsers():
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


def _left_join(rows: FromClause, subject: ColumnElement[int], sources: Sequence[Source]) -> FromClause:
    for source in sources:
        rows = rows.outerjoin(source.rows, source.subject == subject)
    return rows
