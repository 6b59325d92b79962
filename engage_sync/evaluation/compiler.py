"""The one compiler from a definition to SQL, for all its callers.

    compile_evaluation(tree, …) → Evaluation(sql, parameters): rows (profile_id, value jsonb)

An audience gives one row a member, with the value true; a computed trait one row a profile that has a value. With
`scope=Scope.ALL` everyone is evaluated; with `Scope.PROFILES` those in the parameter `profiles`. The instant is the
parameter `as_of`. Pure: reads no database and no clock; names of definitions come with the catalog.

How the statement is put together. Each stream with its reducer (a "leaf") becomes a grouped subselect over `events`;
leaves over the same event share one pass where the window of one holds the others. A person comes from the leaves that
the expression can't be true without; where there are none, from any leaf; where even nothing may be true, from
`profiles`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import reduce
from typing import Any, assert_never

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    FromClause,
    Numeric,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, aggregate_order_by, distinct_on

from engage_sync.database import tables
from engage_sync.definitions.language import tree
from engage_sync.definitions.language.walk import walk
from engage_sync.evaluation import operands, presence, windows
from engage_sync.evaluation.operands import Condition, Kind, Operand

AS_OF = bindparam("as_of", type_=DateTime(timezone=True))
PROFILES = bindparam("profiles", type_=ARRAY(BigInteger))
_DIALECT = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]


class Scope(StrEnum):
    ALL = "all"
    PROFILES = "profiles"


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


def compile_evaluation(
    definition: tree.Node,
    *,
    include_anonymous: bool,
    scope: Scope,
    catalog: Mapping[str, int],
) -> Evaluation:
    """Compile a checked definition. `catalog` maps the keys of all definitions to their ids, for `trait('key')`."""
    return render(select_values(definition, include_anonymous=include_anonymous, scope=scope, catalog=catalog))


def select_values(
    definition: tree.Node, *, include_anonymous: bool, scope: Scope, catalog: Mapping[str, int]
) -> Select[Any]:
    """The statement before it is text, so that a caller can put it into a larger one."""
    compiler = _Compiler(scope=scope, catalog=catalog, include_anonymous=include_anonymous)
    if isinstance(definition, tree.Aggregate | tree.TraitRef):
        return compiler.values(definition)
    return compiler.members(definition)


def render(statement: Select[Any]) -> Evaluation:
    """The text and the constant parameters of a statement; `as_of` and `profiles` are left to the run."""
    compiled = statement.compile(dialect=_DIALECT)
    parameters = {name: value for name, value in compiled.params.items() if name not in ("as_of", "profiles")}
    return Evaluation(sql=str(compiled), parameters=parameters)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """A subselect with one row a profile; `columns` are the operands of the leaves that it computes."""

    rows: FromClause
    columns: Mapping[presence.Leaf, Operand]

    @property
    def profile_id(self) -> ColumnElement[int]:
        return self.rows.c.profile_id


@dataclass(kw_only=True)
class _Compiler:
    scope: Scope
    catalog: Mapping[str, int]
    include_anonymous: bool

    # --- a whole definition -------------------------------------------------------------------------------------

    def members(self, expression: tree.Node) -> Select[Any]:
        """One row a member. The tree is a boolean expression."""
        rest, without = _split(expression)
        leaves = list(dict.fromkeys(_leaves(rest)))
        sources = self._sources(leaves, _only_existence(rest))
        known = {leaf: operand for source in sources for leaf, operand in source.columns.items()}
        profile_id, rows = self._people(rest, sources)
        conditions = [self._none(stream, profile_id, number) for number, stream in enumerate(without)]
        if rest is not None:
            conditions.append(self._condition(rest, _Row(known=known, event=None, profile_id=profile_id)))
        return (
            select(profile_id.label("profile_id"), cast(literal("true"), JSONB).label("value"))
            .select_from(rows)
            .where(*conditions)
        )

    def values(self, leaf: presence.Leaf) -> Select[Any]:
        """One row a profile that has a value."""
        (source,) = self._sources([leaf], frozenset())
        profile_id, rows = self._restrict(source.profile_id, source.rows)
        value = _json_value(leaf, source.columns[leaf])
        return (
            select(profile_id.label("profile_id"), value.label("value"))
            .select_from(rows)
            .where(operands.present(source.columns[leaf]))
        )

    def _people(self, expression: Any, sources: Sequence[_Source]) -> tuple[ColumnElement[int], FromClause]:
        """Who comes into question, joined with what is known of them."""
        if self.scope is Scope.PROFILES:
            scope = _scope()
            profile_id, rows = self._restrict(scope.c.profile_id, scope)
            return profile_id, _left_join(rows, profile_id, sources)
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
        profiles = tables.profiles.alias("profile")
        if self.include_anonymous:
            everyone: FromClause = profiles
        else:
            everyone = select(profiles.c.id).where(profiles.c.is_known).subquery("profile")
        return everyone.c.id, _left_join(everyone, everyone.c.id, sources)

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

    # --- leaves: what is known of a person ----------------------------------------------------------------------

    def _none(self, stream: tree.Stream, profile_id: ColumnElement[int], number: int) -> Condition:
        """That a person has no such event: an anti-join, which stops at the first one."""
        table = tables.events.alias(f"none_{number}")
        event = _Event(rows=table)
        conditions = [table.c.profile_id == profile_id, table.c.name == stream.event]
        conditions += [*_within(event, windows.ages(stream)), *self._filters(stream, event)]
        return not_(select(literal(1)).select_from(table).where(*conditions).correlate_except(table).exists())

    def _sources(self, leaves: Sequence[presence.Leaf], existing: frozenset[presence.Leaf]) -> list[_Source]:
        """One subselect for each group of leaves that can share a pass; of `existing` only whether there is any."""
        sources = [self._trait_source(leaf, f"trait_{n}") for n, leaf in enumerate(leaves) if _is_trait(leaf)]
        aggregates = [leaf for leaf in leaves if isinstance(leaf, tree.Aggregate)]
        for number, group in enumerate(_share(aggregates)):
            sources.append(self._event_source(group, f"stream_{number}", existing))
        return sources

    def _trait_source(self, leaf: Any, name: str) -> _Source:
        """A trait that was sent, or the snapshot of another definition as it stands."""
        root, *path = leaf.path
        definition_id = self.catalog.get(root)
        if definition_id is None:
            table = tables.traits
            mine: Condition = table.c.name == root
        else:
            table = tables.snapshots
            mine = table.c.definition_id == definition_id
        rows = select(table.c.profile_id, _walk(table.c.value, path).label("value")).where(mine)
        if self.scope is Scope.PROFILES:
            rows = rows.where(table.c.profile_id == func.any(PROFILES))
        subquery = rows.subquery(name)
        return _Source(rows=subquery, columns={leaf: Operand(kind=Kind.JSON, expression=subquery.c.value)})

    def _event_source(self, group: Sequence[tree.Aggregate], name: str, existing: frozenset[presence.Leaf]) -> _Source:
        """One pass over the events of one name, grouped by profile, with a column a leaf."""
        event = _Event(rows=tables.events.alias("event"))
        widest = reduce(lambda one, other: one if one.covers(other) else other, map(_ages, group))
        base = [event.c.name == group[0].stream.event, *_within(event, widest)]
        if self.scope is Scope.PROFILES:
            base.append(event.c.profile_id == func.any(PROFILES))
            references = _references(group)
            if references:
                event, base = _read_once(event.rows, base, references), []
        if len(group) == 1:
            base.extend(self._filters(group[0].stream, event))
            only_existence = group[0] in existing
            rows, kinds = self._single(group[0], event, base, only_existence), [_kind(group[0].reducer)]
        else:
            columns = []
            for number, leaf in enumerate(group):
                own = [*self._filters(leaf.stream, event)]
                if _ages(leaf) != widest:
                    own.extend(_within(event, _ages(leaf)))
                read = None if isinstance(leaf.reducer, tree.Count) else event.read(leaf.reducer.of)
                value = _aggregate(leaf.reducer, read, and_(*own) if own else None)
                columns.append(value.label(f"value_{number}"))
            rows = select(event.c.profile_id, *columns).where(*base).group_by(event.c.profile_id)
            kinds = [_kind(leaf.reducer) for leaf in group]
        subquery = rows.subquery(name)
        values = [column for column in subquery.c if column.name != "profile_id"]
        return _Source(
            rows=subquery,
            columns={
                leaf: Operand(kind=kind, expression=_zero_if_count(leaf, column))
                for leaf, kind, column in zip(group, kinds, values, strict=True)
            },
        )

    def _single(self, leaf: tree.Aggregate, event: _Event, base: list[Condition], only_existence: bool) -> Select[Any]:
        """A leaf that has its pass for itself, which lets it see each value in turn."""
        reducer = leaf.reducer
        if only_existence:
            one = literal_column("1", BigInteger).label("value")
            return select(event.c.profile_id, one).where(*base).group_by(event.c.profile_id)
        rows: FromClause = event.rows
        value: ColumnElement[Any] | None = None
        place: ColumnElement[Any] = event.c.id
        if not isinstance(reducer, tree.Count):
            value = event.read(reducer.of)
            if "$" in reducer.of.path:
                each = _each(value, reducer.of.path)
                # An event without any item still is a matching event: a count over it is 0, not absent.
                rows, value, place = event.rows.outerjoin(each, true()), each.c.value, each.c.place
        if isinstance(reducer, tree.First | tree.Last):
            return _first_or_last(reducer, event, rows, value, place, base)
        if isinstance(reducer, tree.Mode):
            return _mode(reducer, event, rows, value, base)
        return (
            select(event.c.profile_id, _aggregate(reducer, value, None).label("value"))
            .select_from(rows)
            .where(*base)
            .group_by(event.c.profile_id)
        )

    def _filters(self, stream: tree.Stream, event: _Event) -> list[Condition]:
        """What `where` and `sources` ask of an event; windows are the caller's."""
        conditions: list[Condition] = []
        for each in stream.filters:
            match each:
                case tree.Where():
                    row = _Row(known={}, event=event, profile_id=event.c.profile_id)
                    conditions.append(self._condition(each.condition, row))
                case tree.Sources():
                    slugs = literal(list(each.exclude), ARRAY(Text))
                    excluded = select(tables.sources.c.id).where(tables.sources.c.slug == func.any(slugs))
                    conditions.append(event.c.source_id.not_in(excluded.scalar_subquery()))
                case tree.Within() | tree.Between():
                    pass
                case _:
                    assert_never(each)
        return conditions

    # --- expressions --------------------------------------------------------------------------------------------

    def _condition(self, expression: Any, row: _Row) -> Condition:
        match expression:
            case tree.And():
                return and_(*(self._condition(operand, row) for operand in expression.operands))
            case tree.Or():
                return or_(*(self._condition(operand, row) for operand in expression.operands))
            case tree.Not():
                return not_(operands.known(self._condition(expression.operand, row)))
            case tree.Comparison():
                return self._comparison(expression, row)
            case _:
                raise AssertionError(f"the type checker lets no {type(expression).__name__} through")

    def _comparison(self, comparison: tree.Comparison, row: _Row) -> Condition:
        """Of a path with `$`, true if any of its values makes it so; absent and omits if none makes it otherwise."""
        comparator, arguments = comparison.comparator, comparison.arguments
        many = self._many(comparison.left, row, "each")
        if many is None:
            return self._holds(self._operand(comparison.left, row), comparator, arguments, row)
        each = Operand(kind=Kind.JSON, expression=many.c.value)
        opposite = {
            tree.Comparator.ABSENT: tree.Comparator.EXISTS,
            tree.Comparator.OMITS: tree.Comparator.CONTAINS,
        }.get(comparator)
        asked = self._holds(each, opposite or comparator, arguments, row)
        found = select(literal(1)).select_from(many).where(asked).exists()
        return not_(found) if opposite else found

    def _holds(
        self,
        left: Operand,
        comparator: tree.Comparator,
        arguments: Sequence[tree.Scalar | tree.Duration],
        row: _Row,
    ) -> Condition:
        """What one value says; of an argument with `$`, each of its values is an argument."""
        given: list[Operand | tree.Duration] = []
        several: list[FromClause] = []
        for number, argument in enumerate(arguments):
            many = self._many(argument, row, f"argument_{number}")
            if many is not None:
                several.append(many)
            else:
                given.append(argument if isinstance(argument, tree.Duration) else self._operand(argument, row))
        if not several:
            return operands.compare(left, comparator, given, AS_OF)
        if comparator is tree.Comparator.NONE_OF:
            one_of = self._holds(left, tree.Comparator.ONE_OF, arguments, row)
            return and_(operands.present(left), not_(operands.known(one_of)))
        if comparator is tree.Comparator.OMITS:
            return not_(operands.known(self._holds(left, tree.Comparator.CONTAINS, arguments, row)))
        ways = [operands.compare(left, comparator, given, AS_OF)] if given else []
        for many in several:
            one = Operand(kind=Kind.JSON, expression=many.c.value)
            asked = operands.compare(left, comparator, [one], AS_OF)
            ways.append(select(literal(1)).select_from(many).where(asked).exists())
        return or_(*ways)

    def _many(self, value: tree.Node, row: _Row, name: str) -> FromClause | None:
        """The values of a path with `$`; None for a path without."""
        match value:
            case tree.PropertyRef() | tree.ContextRef() if "$" in value.path and row.event is not None:
                return _each(row.event.read(value), value.path, name)
            case tree.TraitRef() if "$" in value.path:
                # A leaf was compiled with its path cut before the first `$`.
                known = row.known[value].expression if value in row.known else self._trait_of(value, row)
                return _each(known, value.path, name)
            case _:
                return None

    def _operand(self, value: tree.Node, row: _Row) -> Operand:
        match value:
            case tree.Aggregate():
                return row.known[value]
            case tree.TraitRef():
                if value in row.known:
                    return row.known[value]
                return Operand(kind=Kind.JSON, expression=self._trait_of(value, row))
            case tree.PropertyRef() | tree.ContextRef():
                assert row.event is not None, "the type checker lets properties stand only beside an event"
                return Operand(kind=Kind.JSON, expression=row.event.read(value))
            case tree.LiteralValue():
                return Operand(kind=Kind.TEXT, expression=literal(None), constant=value.value)
            case _:
                raise AssertionError(f"the type checker lets no {type(value).__name__} through")

    def _trait_of(self, reference: tree.TraitRef, row: _Row) -> ColumnElement[Any]:
        """A trait of the person whose event is looked at."""
        root, *path = reference.path
        definition_id = self.catalog.get(root)
        table = tables.traits if definition_id is None else tables.snapshots
        mine: Condition = (
            tables.traits.c.name == root if definition_id is None else tables.snapshots.c.definition_id == definition_id
        )
        value = select(_walk(table.c.value, path)).where(table.c.profile_id == row.profile_id, mine)
        return value.correlate(row.event.rows).scalar_subquery() if row.event is not None else value.scalar_subquery()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """What an expression may refer to: the person's leaves, or an event and its person."""

    known: Mapping[presence.Leaf, Operand]
    event: _Event | None
    profile_id: ColumnElement[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Event:
    """The events that are looked at: the table itself, or what was read of it once (`fields`, by document and path)."""

    rows: Any
    fields: Mapping[tuple[str, tuple[str, ...]], ColumnElement[Any]] | None = None

    @property
    def c(self) -> Any:
        return self.rows.c

    def read(self, reference: tree.EventField) -> ColumnElement[Any]:
        """The value that a reference finds, up to the first `$` of its path."""
        document, path = _place(reference)
        if self.fields is not None:
            return self.fields[document, path]
        return _walk(self.rows.c[document], path)


def _place(reference: tree.EventField) -> tuple[str, tuple[str, ...]]:
    """Which document holds it, and the path in there up to the first `$`."""
    path = reference.path[: reference.path.index("$")] if "$" in reference.path else reference.path
    return ("properties" if isinstance(reference, tree.PropertyRef) else "context"), path


def _references(group: Sequence[tree.Aggregate]) -> list[tree.EventField]:
    return [node for leaf in group for node in walk(leaf) if isinstance(node, tree.EventField)]


def _read_once(rows: Any, base: Sequence[Condition], references: Sequence[tree.EventField]) -> _Event:
    """Those events with what is asked of each, walked to once: a typed reading mentions its value several times.

    OFFSET 0 keeps the planner from putting the walk back to where it is mentioned. Not for everybody's evaluation, as
    it also keeps the planner from using several processors.
    """
    places = list(dict.fromkeys(_place(reference) for reference in references))
    fields = [_walk(rows.c[document], path).label(f"field_{number}") for number, (document, path) in enumerate(places)]
    kept = [rows.c.profile_id, rows.c.timestamp, rows.c.id, rows.c.source_id]
    read = select(*kept, *fields).where(*base).offset(literal_column("0")).subquery("read")
    return _Event(rows=read, fields={place: read.c[f"field_{number}"] for number, place in enumerate(places)})


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


def _is_trait(leaf: presence.Leaf) -> bool:
    return isinstance(leaf, tree.TraitRef)


def _share(leaves: Sequence[tree.Aggregate]) -> list[list[tree.Aggregate]]:
    """Groups of leaves that one pass can compute: of one event, the widest window holding the others."""
    groups: list[list[tree.Aggregate]] = []
    for leaf in leaves:
        home = next((group for group in groups if _fits(leaf, group)), None)
        if home is None:
            groups.append([leaf])
        else:
            home.append(leaf)
    return groups


def _fits(leaf: tree.Aggregate, group: Sequence[tree.Aggregate]) -> bool:
    alone = (tree.First, tree.Last, tree.Mode)
    if any(isinstance(one.reducer, alone) or _has_many(one.reducer) for one in (leaf, *group)):
        return False
    first = group[0]
    return (
        leaf.stream.event == first.stream.event
        and (_ages(leaf).covers(_ages(first)) or _ages(first).covers(_ages(leaf)))
        and all(_ages(one).covers(_ages(leaf)) or _ages(leaf).covers(_ages(one)) for one in group)
    )


def _has_many(reducer: tree.Reducer) -> bool:
    return not isinstance(reducer, tree.Count) and "$" in reducer.of.path


def _ages(leaf: tree.Aggregate) -> windows.Ages:
    return windows.ages(leaf.stream)


def _within(event: _Event, ages: windows.Ages) -> list[Condition]:
    latest = AS_OF if not ages.youngest else AS_OF - literal(ages.youngest)
    conditions: list[Condition] = [event.c.timestamp <= latest]
    if ages.oldest is not None:
        conditions.append(event.c.timestamp >= AS_OF - literal(ages.oldest))
    return conditions


def _scope() -> FromClause:
    return select(func.unnest(PROFILES).label("profile_id")).subquery("scope")


def _left_join(rows: FromClause, profile_id: ColumnElement[int], sources: Sequence[_Source]) -> FromClause:
    for source in sources:
        rows = rows.outerjoin(source.rows, source.profile_id == profile_id)
    return rows


def _walk(document: ColumnElement[Any], path: Sequence[str]) -> ColumnElement[Any]:
    """Into nested objects, up to the first `$`. Step by step, as `#>` would take '0' for a place in an array."""
    for step in path[: path.index("$")] if "$" in path else path:
        document = document.op("->", return_type=JSONB())(literal(step))
    return document


def _each(current: ColumnElement[Any], path: Sequence[str], name: str = "each") -> FromClause:
    """All values that a path with `$` finds, with their place: (value, place). Beside anything but an array: none.

    `current` is what the path finds before its first `$`.
    """
    rows: FromClause | None = None
    places: list[ColumnElement[Any]] = []
    rest = list(path[path.index("$") :])
    while rest and rest[0] == "$":
        array = case((func.jsonb_typeof(current) == "array", current), else_=cast(literal("[]"), JSONB))
        elements = (
            func.jsonb_array_elements(array)
            .table_valued("value", with_ordinality="place", name=f"item_{len(places)}")
            .render_derived()
            .lateral()
        )
        rows = elements if rows is None else rows.join(elements, true())
        places.append(elements.c.place)
        step = rest[1:]
        following = step.index("$") if "$" in step else len(step)
        current = _walk(cast(elements.c.value, JSONB), step[:following])
        rest = step[following:]
    assert rows is not None
    return select(current.label("value"), postgresql.array(places).label("place")).select_from(rows).lateral(name)


def _kind(reducer: tree.Reducer) -> Kind:
    match reducer:
        case tree.Count() | tree.UniqueCount() | tree.Sum() | tree.Avg():
            return Kind.NUMBER
        case tree.Min() | tree.Max():
            return Kind.TEXT if reducer.as_string else Kind.NUMBER
        case tree.First() | tree.Last():
            return Kind.JSON
        case tree.Mode():
            return Kind.JSON if reducer.as_array else Kind.TEXT
        case tree.Unique():
            return Kind.LIST
        case _:
            assert_never(reducer)


def _zero_if_count(leaf: tree.Aggregate, column: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(column, 0) if isinstance(leaf.reducer, tree.Count | tree.UniqueCount) else column


def _aggregate(
    reducer: tree.Reducer, value: ColumnElement[Any] | None, condition: Condition | None
) -> ColumnElement[Any]:
    """The aggregate of a reducer over JSON values; without usable ones null, a count 0."""
    if value is None:
        counted = func.count()
        return counted if condition is None else counted.filter(condition)
    text = func.engage_text(value, type_=operands.TEXT)
    number = func.engage_number(value, type_=Numeric)
    made: Any
    match reducer:
        case tree.Sum():
            made = func.sum(number)
        case tree.Avg():
            made = func.avg(number)
        case tree.Min():
            made = func.min(text if reducer.as_string else number)
        case tree.Max():
            made = func.max(text if reducer.as_string else number)
        case tree.Unique():
            made = func.array_agg(aggregate_order_by(text.distinct(), text))
            condition = and_(text.is_not(None), condition) if condition is not None else text.is_not(None)
        case tree.UniqueCount():
            made = func.count(text.distinct())
        case _:
            raise AssertionError(f"{type(reducer).__name__} has its own pass")
    result: ColumnElement[Any] = made if condition is None else made.filter(condition)
    return result


def _first_or_last(
    reducer: tree.First | tree.Last,
    event: _Event,
    rows: FromClause,
    value: Any,
    place: ColumnElement[Any],
    base: list[Condition],
) -> Select[Any]:
    """By timestamp, ties by the order of arrival, then by place in the array; the value as it was sent."""
    order: list[ColumnElement[Any]] = [event.c.timestamp, event.c.id, place]
    if not isinstance(reducer, tree.First):
        order = [column.desc() for column in order]
    present = operands.present(Operand(kind=Kind.JSON, expression=value))
    return (
        select(event.c.profile_id, value.label("value"))
        .ext(distinct_on(event.c.profile_id))
        .select_from(rows)
        .where(*base, present)
        .order_by(event.c.profile_id, *order)
    )


def _mode(reducer: tree.Mode, event: _Event, rows: FromClause, value: Any, base: list[Condition]) -> Select[Any]:
    """The most frequent value of at least `minimum` occurrences; on a tie the alphabetically first."""
    text = func.engage_text(value, type_=operands.TEXT)
    usable = func.jsonb_typeof(value) == "array" if reducer.as_array else text.is_not(None)
    counted = (
        select(event.c.profile_id, text.label("value"), func.count().label("times"))
        .select_from(rows)
        .where(*base, usable)
        .group_by(event.c.profile_id, text)
        .having(func.count() >= reducer.minimum)
        .subquery("counted")
    )
    found: ColumnElement[Any] = cast(counted.c.value, JSONB) if reducer.as_array else counted.c.value
    return (
        select(counted.c.profile_id, found.label("value"))
        .ext(distinct_on(counted.c.profile_id))
        .order_by(counted.c.profile_id, counted.c.times.desc(), counted.c.value)
    )


def _json_value(leaf: presence.Leaf, operand: Operand) -> ColumnElement[Any]:
    """A value as it is stored and leaves: sums and the like with a decimal point, counts as integers."""
    if operand.kind is Kind.JSON:
        return operand.expression
    assert isinstance(leaf, tree.Aggregate)
    if isinstance(leaf.reducer, tree.Count | tree.UniqueCount) or operand.kind is not Kind.NUMBER:
        return func.to_jsonb(operand.expression, type_=JSONB)
    return func.engage_float(operand.expression, type_=JSONB)
