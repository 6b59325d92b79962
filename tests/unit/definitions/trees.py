"""Trees of the query language, as hypothesis makes them up: each is valid, funnels included."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from hypothesis import strategies as st

from engage_sync.definitions.language import tree
from engage_sync.definitions.language.tree import Comparator

CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")

texts = st.text(CHARACTERS, min_size=1, max_size=12)
paths = st.lists(texts, min_size=1, max_size=3).map(tuple).filter(lambda path: path[0] != tree.EACH_ITEM)
durations = st.builds(
    lambda amount, unit: tree.Duration(amount=amount, unit=unit), st.integers(1, 500), st.sampled_from(tree.Unit)
)
numbers = st.one_of(
    st.integers(-(10**18), 10**18),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=Decimal(-(10**9)), max_value=Decimal(10**9), places=6),
)
instants = st.one_of(
    st.dates(date(1970, 1, 1), date(2199, 12, 31)),
    st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC)),
)


def literal(values: st.SearchStrategy[tree.LiteralType]) -> st.SearchStrategy[tree.LiteralValue]:
    return values.map(lambda value: tree.LiteralValue(value=value))


traits = paths.map(lambda path: tree.TraitRef(path=path))
contexts = paths.map(lambda path: tree.ContextRef(path=path))


def event_fields(depth: int) -> st.SearchStrategy[tree.EventField]:
    parent = st.booleans() if depth > 1 else st.just(False)
    properties = st.builds(lambda path, parent: tree.PropertyRef(path=path, parent=parent), paths, parent)
    return st.one_of(properties, contexts)


def scalars(depth: int) -> st.SearchStrategy[tree.Scalar]:
    return st.one_of(traits, event_fields(depth)) if depth else traits


def reducers(depth: int) -> st.SearchStrategy[tree.Reducer]:
    of = event_fields(depth)
    return st.one_of(
        st.just(tree.Count()),
        of.map(lambda of: tree.Sum(of=of)),
        of.map(lambda of: tree.Avg(of=of)),
        st.builds(lambda of, as_string: tree.Min(of=of, as_string=as_string), of, st.booleans()),
        st.builds(lambda of, as_string: tree.Max(of=of, as_string=as_string), of, st.booleans()),
        st.builds(
            lambda of, minimum, as_array: tree.Mode(of=of, minimum=minimum, as_array=as_array),
            of,
            st.integers(1, 9),
            st.booleans(),
        ),
        of.map(lambda of: tree.First(of=of)),
        of.map(lambda of: tree.Last(of=of)),
        of.map(lambda of: tree.Unique(of=of)),
        of.map(lambda of: tree.UniqueCount(of=of)),
    )


@st.composite
def betweens(draw: st.DrawFn, depth: int) -> tree.Between:
    windows = draw(st.lists(durations, min_size=2, max_size=2, unique_by=lambda duration: duration.delta))
    nearest, farthest = sorted(windows, key=lambda duration: duration.delta)
    of_parent = draw(st.booleans()) if depth else False
    return tree.Between(nearest=nearest, farthest=farthest, of_parent=of_parent)


def filters(depth: int) -> st.SearchStrategy[tree.Filter]:
    of_parent = st.booleans() if depth else st.just(False)
    windows = st.builds(lambda duration, parent: tree.Within(duration=duration, of_parent=parent), durations, of_parent)
    sources = st.lists(texts, min_size=1, max_size=2).map(lambda exclude: tree.Sources(exclude=tuple(exclude)))
    plain = st.one_of(windows, betweens(depth), sources)
    if depth > 1:
        return plain
    return st.one_of(plain, conditions(depth + 1).map(lambda condition: tree.Where(condition=condition)))


def aggregates(depth: int = 0) -> st.SearchStrategy[tree.Aggregate]:
    streams = st.builds(
        lambda event, filters: tree.Stream(event=event, filters=tuple(filters)),
        texts,
        st.lists(st.deferred(lambda: filters(depth)), max_size=2),
    )
    return st.builds(
        lambda stream, reducer: tree.Aggregate(stream=stream, reducer=reducer), streams, reducers(depth + 1)
    )


@st.composite
def comparisons(draw: st.DrawFn, depth: int = 0) -> tree.Comparison:
    if draw(st.booleans()):
        left: tree.Value = draw(
            aggregates(depth).filter(lambda aggregate: not isinstance(aggregate.reducer, tree.Unique))
        )
        comparator = draw(st.sampled_from([Comparator.EQUALS, Comparator.AT_LEAST, Comparator.LESS_THAN]))
        return tree.Comparison(left=left, comparator=comparator, arguments=(draw(literal(numbers)),))
    left = draw(scalars(depth))
    comparator = draw(st.sampled_from(Comparator))
    return tree.Comparison(left=left, comparator=comparator, arguments=draw(arguments(comparator, depth)))


@st.composite
def arguments(draw: st.DrawFn, comparator: Comparator, depth: int) -> tuple[tree.Scalar | tree.Duration, ...]:
    match comparator:
        case Comparator.EXISTS | Comparator.ABSENT:
            return ()
        case comparator if comparator in tree.RELATIVE_TO_NOW:
            return (draw(durations),)
        case Comparator.STARTS_WITH | Comparator.ENDS_WITH:
            return (draw(literal(texts)),)
        case Comparator.CONTAINS | Comparator.OMITS:
            return tuple(draw(st.lists(literal(texts), min_size=1, max_size=3)))
        case Comparator.ONE_OF | Comparator.NONE_OF:
            return tuple(draw(st.lists(literal(st.one_of(texts, numbers)), min_size=1, max_size=3)))
        case Comparator.BEFORE_DATE | Comparator.AFTER_DATE:
            return (draw(st.one_of(literal(instants), scalars(depth))),)
        case Comparator.EQUALS | Comparator.DIFFERS:
            return (draw(st.one_of(literal(st.one_of(texts, numbers, instants)), scalars(depth))),)
        case _:
            return (draw(st.one_of(literal(st.one_of(numbers, st.just("1e3"))), scalars(depth))),)


def junction(kind: type[tree.And] | type[tree.Or], operands: list[tree.Boolean]) -> tree.Boolean:
    """Flat: an AND directly within an AND says nothing more than one AND."""
    flat: list[tree.Boolean] = []
    for operand in operands:
        flat.extend(operand.operands if isinstance(operand, kind) else (operand,))
    return kind(operands=tuple(flat))


def conditions(depth: int = 0) -> st.SearchStrategy[tree.Boolean]:
    return st.recursive(
        comparisons(depth),
        lambda below: st.one_of(
            st.lists(below, min_size=2, max_size=3).map(lambda operands: junction(tree.And, operands)),
            st.lists(below, min_size=2, max_size=3).map(lambda operands: junction(tree.Or, operands)),
            below.map(lambda operand: tree.Not(operand=operand)),
            below.map(lambda operand: tree.AnyUser(operand=operand)),
            below.map(lambda operand: tree.AllUsers(operand=operand)),
        ),
        max_leaves=4,
    )
