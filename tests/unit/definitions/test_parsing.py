"""Each construct of the language, and the tree that it becomes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from engage_sync.definitions import language
from engage_sync.definitions.language import tree
from engage_sync.definitions.language.tree import Comparator, Unit


def stream(*filters: tree.Filter, event: str = "A") -> tree.Stream:
    return tree.Stream(event=event, filters=filters)


def aggregate(reducer: tree.Reducer, *filters: tree.Filter) -> tree.Aggregate:
    return tree.Aggregate(stream=stream(*filters), reducer=reducer)


def literal(value: tree.LiteralType) -> tree.LiteralValue:
    return tree.LiteralValue(value=value)


def compared(left: tree.Value, comparator: Comparator, *values: tree.Scalar | tree.Duration) -> tree.Comparison:
    return tree.Comparison(left=left, comparator=comparator, arguments=values)


def days(amount: int) -> tree.Duration:
    return tree.Duration(amount=amount, unit=Unit.DAY)


TRAIT = tree.TraitRef(path=("x",))
PROPERTY = tree.PropertyRef(path=("p",))
COUNT = aggregate(tree.Count())
IS_ONE = compared(TRAIT, Comparator.EQUALS, literal(1))
IS_TWO = compared(TRAIT, Comparator.EQUALS, literal(2))
IS_THREE = compared(TRAIT, Comparator.EQUALS, literal(3))


def audience(query: str) -> language.Definition:
    return language.parse(query, kind="audience", allow_uncomputed=True)


def trait(query: str) -> language.Definition:
    return language.parse(query, kind="computed_trait", allow_uncomputed=True)


@pytest.mark.parametrize(
    ("operator", "method", "comparator"),
    [
        ("=", "equals", Comparator.EQUALS),
        ("==", "equals", Comparator.EQUALS),
        ("!=", "differs", Comparator.DIFFERS),
        (">", "greater_than", Comparator.GREATER_THAN),
        (">=", "at_least", Comparator.AT_LEAST),
        ("<", "less_than", Comparator.LESS_THAN),
        ("<=", "at_most", Comparator.AT_MOST),
    ],
)
def test_an_operator_and_its_function_are_one(operator: str, method: str, comparator: Comparator) -> None:
    expected = compared(COUNT, comparator, literal(3))
    assert audience(f"event('A').count() {operator} 3") == expected
    assert audience(f"event('A').count(){operator}3") == expected
    assert audience(f"event('A').count().{method}(3)") == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("trait('x').absent()", compared(TRAIT, Comparator.ABSENT)),
        ("trait('x').exists()", compared(TRAIT, Comparator.EXISTS)),
        ("trait('x').contains('a','b')", compared(TRAIT, Comparator.CONTAINS, literal("a"), literal("b"))),
        ("trait('x').omits('a')", compared(TRAIT, Comparator.OMITS, literal("a"))),
        ("trait('x').starts_with('a')", compared(TRAIT, Comparator.STARTS_WITH, literal("a"))),
        ("trait('x').ends_with('a')", compared(TRAIT, Comparator.ENDS_WITH, literal("a"))),
        ("trait('x').one_of('a', 2)", compared(TRAIT, Comparator.ONE_OF, literal("a"), literal(2))),
        ("trait('x').none_of('a')", compared(TRAIT, Comparator.NONE_OF, literal("a"))),
        ("trait('x').before_date(2022-10-17)", compared(TRAIT, Comparator.BEFORE_DATE, literal(date(2022, 10, 17)))),
        ("trait('x').after_date('2022-10-17')", compared(TRAIT, Comparator.AFTER_DATE, literal("2022-10-17"))),
        ("trait('x').within_last(7 days)", compared(TRAIT, Comparator.WITHIN_LAST, days(7))),
        ("trait('x').within_next(7 days)", compared(TRAIT, Comparator.WITHIN_NEXT, days(7))),
        ("trait('x').before_last(7 days)", compared(TRAIT, Comparator.BEFORE_LAST, days(7))),
        ("trait('x').after_next(7 days)", compared(TRAIT, Comparator.AFTER_NEXT, days(7))),
        ("trait('x') = trait('y')", compared(TRAIT, Comparator.EQUALS, tree.TraitRef(path=("y",)))),
        ("trait('x') = literal('a')", compared(TRAIT, Comparator.EQUALS, literal("a"))),
        ("literal(5) > 3", compared(literal(5), Comparator.GREATER_THAN, literal(3))),
        ("entity('car').exists()", compared(tree.EntityRef(slug="car"), Comparator.EXISTS)),
    ],
)
def test_comparators(query: str, expected: tree.Comparison) -> None:
    assert audience(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("count()", tree.Count()),
        ("sum(property('p'))", tree.Sum(of=PROPERTY)),
        ("sum(context('page.url'))", tree.Sum(of=tree.ContextRef(path=("page", "url")))),
        ("avg(property('p'))", tree.Avg(of=PROPERTY)),
        ("min(property('p'))", tree.Min(of=PROPERTY)),
        ("min(property('p') as string)", tree.Min(of=PROPERTY, as_string=True)),
        ("max(property('p') as number)", tree.Max(of=PROPERTY)),
        ("max(property('p') as string)", tree.Max(of=PROPERTY, as_string=True)),
        ("mode(property('p'))", tree.Mode(of=PROPERTY)),
        ("mode(property('p'), 2)", tree.Mode(of=PROPERTY, minimum=2)),
        ("mode(property('p') as array, 2)", tree.Mode(of=PROPERTY, minimum=2, as_array=True)),
        ("first(property('p'))", tree.First(of=PROPERTY)),
        ("last(property('p'))", tree.Last(of=PROPERTY)),
        ("unique(property('p'))", tree.Unique(of=PROPERTY)),
        ("unique(property('p')).count()", tree.UniqueCount(of=PROPERTY)),
    ],
)
def test_reducers(query: str, expected: tree.Reducer) -> None:
    assert trait(f"event('A').{query}") == aggregate(expected)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("where(property('p') = 1)", tree.Where(condition=compared(PROPERTY, Comparator.EQUALS, literal(1)))),
        ("where({property('p') = 1})", tree.Where(condition=compared(PROPERTY, Comparator.EQUALS, literal(1)))),
        ("sources(exclude: 'a', 'b')", tree.Sources(exclude=("a", "b"))),
        ("sources({exclude: 'a', 'b'})", tree.Sources(exclude=("a", "b"))),
        ("within(1 hour)", tree.Within(duration=tree.Duration(amount=1, unit=Unit.HOUR))),
        ("within(36hours)", tree.Within(duration=tree.Duration(amount=36, unit=Unit.HOUR))),
        ("within(5 minutes)", tree.Within(duration=tree.Duration(amount=5, unit=Unit.MINUTE))),
        ("within(2 weeks)", tree.Within(duration=tree.Duration(amount=2, unit=Unit.WEEK))),
        ("between(7 days, 10 days)", tree.Between(nearest=days(7), farthest=days(10))),
        ("between(10 days, 7 days)", tree.Between(nearest=days(7), farthest=days(10))),
        (
            "between(2 days, 24 hours)",
            tree.Between(nearest=tree.Duration(amount=24, unit=Unit.HOUR), farthest=days(2)),
        ),
    ],
)
def test_filters(query: str, expected: tree.Filter) -> None:
    assert trait(f"event('A').{query}.count()") == aggregate(tree.Count(), expected)


def test_a_funnel_keeps_the_parent_of_windows_and_properties() -> None:
    child = tree.Aggregate(
        stream=stream(
            tree.Within(duration=days(5), of_parent=True),
            tree.Between(nearest=days(1), farthest=days(2), of_parent=True),
            tree.Where(
                condition=compared(
                    tree.PropertyRef(path=("id",)), Comparator.EQUALS, tree.PropertyRef(path=("id",), parent=True)
                )
            ),
            event="B",
        ),
        reducer=tree.Count(),
    )
    parsed = audience(
        """event('A').where(
             event('B').within(parent: 5 days).between(parent: 1 day, 2 days)
               .where(property('id') = property(parent: 'id')).count() >= 1
           ).count() >= 1"""
    )
    where = tree.Where(condition=compared(child, Comparator.AT_LEAST, literal(1)))
    assert parsed == compared(aggregate(tree.Count(), where), Comparator.AT_LEAST, literal(1))


@pytest.mark.parametrize(
    ("query", "comparator", "count"), [("exists()", Comparator.AT_LEAST, 1), ("absent()", Comparator.EQUALS, 0)]
)
def test_a_stream_that_exists_is_one_that_counts(query: str, comparator: Comparator, count: int) -> None:
    assert audience(f"event('A').{query}") == compared(COUNT, comparator, literal(count))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("trait('x')=1 AND trait('x')=2", tree.And(operands=(IS_ONE, IS_TWO))),
        ("trait('x')=1 && trait('x')=2", tree.And(operands=(IS_ONE, IS_TWO))),
        ("trait('x')=1 || trait('x')=2", tree.Or(operands=(IS_ONE, IS_TWO))),
        (
            "trait('x')=1 OR trait('x')=2 AND trait('x')=3",
            tree.Or(operands=(IS_ONE, tree.And(operands=(IS_TWO, IS_THREE)))),
        ),
        (
            "(trait('x')=1 OR trait('x')=2) AND trait('x')=3",
            tree.And(operands=(tree.Or(operands=(IS_ONE, IS_TWO)), IS_THREE)),
        ),
        ("NOT trait('x')=1 AND trait('x')=2", tree.And(operands=(tree.Not(operand=IS_ONE), IS_TWO))),
        ("NOT (trait('x')=1)", tree.Not(operand=IS_ONE)),
        ("ALL NOT trait('x')=1", tree.AllUsers(operand=tree.Not(operand=IS_ONE))),
        ("ANY (trait('x')=1)", tree.AnyUser(operand=IS_ONE)),
    ],
)
def test_junctions_bind_as_the_reference_says(query: str, expected: tree.Boolean) -> None:
    assert audience(query) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("0.1", Decimal("0.1")),
        ("1e3", Decimal(1000)),
        ("'a'", "a"),
        ('"a"', "a"),
        (r"'it\'s'", "it's"),
        (r'"say \"hi\""', 'say "hi"'),
        (r"'a\\b\n\u00e9'", "a\\b\né"),
        (r"'\ud83d\ude00'", "😀"),
        ("'true'", "true"),
        ("literal(true)", "true"),
        ("''", ""),
        ("2022-10-17", date(2022, 10, 17)),
        ("2022-10-17T08:30:00Z", datetime(2022, 10, 17, 8, 30, tzinfo=UTC)),
        ("2022-10-17T08:30", datetime(2022, 10, 17, 8, 30, tzinfo=UTC)),
        ("2022-10-17T08:30:00.250+02:00", datetime(2022, 10, 17, 6, 30, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_literals(text: str, value: tree.LiteralType) -> None:
    parsed = audience(f"trait('x') = {text}")
    assert parsed == compared(TRAIT, Comparator.EQUALS, literal(value))
    assert isinstance(parsed, tree.Comparison)
    assert isinstance(parsed.arguments[0], tree.LiteralValue)
    assert type(parsed.arguments[0].value) is type(value)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("'a'", ("a",)),
        ("'a.b.c'", ("a", "b", "c")),
        (r"'a\\.b.c'", ("a.b", "c")),
        (r"'a\.b.c'", ("a.b", "c")),
        ("'items.$.sku'", ("items", "$", "sku")),
    ],
)
def test_paths(text: str, path: tuple[str, ...]) -> None:
    assert trait(f"trait({text})") == tree.TraitRef(path=path)


def test_white_space_is_free_and_positions_count_from_one() -> None:
    parsed = audience("event ( 'A' )\n  . count ( )\n  >= 1\nAND trait('x')=1")
    assert parsed == tree.And(operands=(compared(COUNT, Comparator.AT_LEAST, literal(1)), IS_ONE))
    assert isinstance(parsed, tree.And)
    assert [operand.position for operand in parsed.operands] == [tree.Position(1, 1), tree.Position(4, 5)]


def test_durations_know_their_length_and_whether_they_are_of_calendar_days() -> None:
    assert days(2).delta == timedelta(days=2)
    assert tree.Duration(amount=90, unit=Unit.MINUTE).delta == timedelta(hours=1.5)
    assert [tree.Duration(amount=1, unit=unit).in_calendar_days for unit in Unit] == [False, False, True, True]


def test_the_published_examples_parse() -> None:
    audience("event('Shoes Bought').where( property('price') >= 100 ).within(7 days).count() >= 1")
    audience("NOT ( event('Shoes Bought').count() >= 1 AND trait('total_spend') > 200 )")
    audience("ALL ( event('Shoes Bought').count() >= 1 AND trait('total_spend') > 200 )")
    audience(
        "event('Shoes Bought').where( \nproperty('price') >= trait('avg_spend')\nAND \n"
        "event('Shoes Returned').within(parent: 5 days).count() >= 1 \n).within(30 days).count() >= 1"
    )
    trait("event('A').where( property('price') > 100 AND property('brand') = 'My Brand' ).min(property('spend'))")


def test_what_is_computed_parses_without_leave_for_more() -> None:
    query = "event('A').where(context('page.url').contains('x')).within(3 days).count() >= 1"
    assert language.parse(query, kind="audience") == audience(query)
