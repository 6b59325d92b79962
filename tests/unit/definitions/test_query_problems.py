"""What a wrong query is told: the exact sentences, each at its line and column."""

# ruff: noqa: E501 - a sentence reads best whole, as it is told

from __future__ import annotations

import pytest

from engage_sync import errors
from engage_sync.definitions import language


def problems(query: str, kind: language.Kind = "audience") -> list[str]:
    with pytest.raises(errors.QueryInvalid) as raised:
        language.parse(query, kind=kind)
    return [f"{problem.line}:{problem.column}: {problem.message}" for problem in raised.value.problems]


SCALAR = "expected a value, trait(…), property(…) or context(…)"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "1:1: the query is empty; expected an expression such as event('Order Completed')"),
        ("event('A'.count() >= 1", "1:6: the ( opened here is never closed; expected a )"),
        ("event('A')).count() >= 1", "1:11: found ), which closes nothing; expected a ( before"),
        ("event('A'}.count() >= 1", "1:10: found }, expected ) for the ( opened at 1:6"),
        ("event('A).count() >= 1", "1:7: the text that opens with ' here is never closed; expected ' on the same line"),
        (
            "event('A’).count() >= 1",
            "1:7: the text that opens with ' here is never closed; expected ' on the same line"
            " (the typographic quote ’ at column 9 closes nothing)",
        ),
        ("event(“A”).count() >= 1", "1:7: found the typographic quote “, expected a plain quote ' or \""),
        ("trait('x') = 1 and trait('y') = 1", "1:16: found 'and', expected AND: junction words are upper case"),
        ("not trait('x') = 1", "1:1: found 'not', expected NOT: junction words are upper case"),
        ("!trait('x') = 1", "1:1: found !, expected NOT before an expression, or != between two values"),
        ("trait('x') => 1", "1:12: found =>, expected >="),
        ("trait('x') & trait('y')", "1:12: found &, expected && or AND"),
        ("trait('x')\u200b = 1", "1:11: found the invisible character U+200B (ZERO WIDTH SPACE); take it out"),
        ("trait('x') = 1; trait('y')", "1:15: found ;, which has no meaning here"),
        ("event('A').count >= 1", "1:12: found count without parentheses, expected count(…)"),
        ("trait('x') =", "1:13: found the end of the query, expected a function such as event(…) or trait(…) or a value"),
        ("trait('x') = 1 = 2", "1:16: found =, expected AND, OR or the end"),
        ("event('A').", "1:12: found the end of the query, expected a function such as count() after the dot"),
        ("event('A').whithin(3 days).exists()", "1:12: unknown function 'whithin'; did you mean 'within'?"),
        ("Event('A').exists()", "1:1: unknown function 'Event'; did you mean 'event'?"),
        (
            "frobnicate('A')",
            "1:1: unknown function 'frobnicate'; expected event, trait, property, context, literal or entity",
        ),
        ("count() >= 1", "1:1: found count(…), expected an expression to begin with event(…), trait(…), property(…)"
         " or context(…)"),
        ("trait('x') = true", "1:14: found true, expected 'true' in quotes"),
        ("trait('x') = gold", "1:14: found gold, expected a function such as trait('gold') or a text in quotes"),
        ("5 < trait('x')", "1:1: found the number 5, expected a function such as trait(…) on the left of a comparison"),
        ("event('A').count() >= event('B').count()", f"1:23: found an expression of events, {SCALAR} on the right of a"
         " comparison"),
        ("trait('x') = 3 days", f"1:14: found the time 3 days, {SCALAR}"),
        ("event('A')", "1:1: found a stream of events, but an audience is a condition; expected one such as .count() >= 1"),
        ("trait('x')", "1:1: found a value, but an audience is a condition; expected one such as = 'true' or .exists()"),
        ("event('A') >= 1", "1:12: found >= after a stream of events, expected a reducer such as .count() before it"),
        ("event('A').at_least(1)", "1:12: found at_least() after a stream of events, expected a reducer such as .count()"
         " before it"),
        ("event('A').count().within(3 days) >= 1", "1:20: found within() after a number; it must come before the reducer"),
        ("trait('x').within(3 days) >= 1", "1:12: found within() after a value; it filters event(…)"),
        ("trait('x').count() >= 1", "1:12: found count() after a value; only unique(…) takes count() after it"),
        ("trait('x').exists().exists()", "1:21: found exists() after a comparison, expected AND, OR or the end"),
        ("event('A').trait('x') = 1", "1:12: found trait(…) after a dot, expected it at the start of an expression"),
        ("event().exists()", "1:1: event() takes the name of an event in quotes; found none"),
        ("event('A', 'B').exists()", "1:1: event() takes the name of an event in quotes; found 2"),
        ("event(A).exists()", "1:7: found A in event(), expected the name of an event in quotes"),
        ("event('').exists()", "1:7: found an empty text in event(), expected the name of an event"),
        ("trait('a..b') = 1", "1:7: found an empty name in the path 'a..b', expected a name between dots (a dot that"
         " belongs to a name is written \\\\.)"),
        (r"trait('x') = 'a\qb'", r"1:14: found the escape \q, expected \\, \', \", \n or \t"),
        (r"trait('x') = '\u0000'", "1:14: found the character U+0000, which no stored text can hold"),
        ("trait('x') = 2022-02-30", "1:14: found 2022-02-30, which is no day of the calendar"),
        ("trait('x') = 2022-02-01T25:00", "1:14: found 2022-02-01T25:00, expected a timestamp such as"
         " 2022-10-17T08:30:00Z"),
        ("trait('x') = 1e999", "1:14: found 1e999, expected a number between 1e-308 and 1e308"),
        ("trait('x') = " + "9" * 41, "1:14: found a number of more than 40 digits"),
        ("event('A').within(30).exists()", "1:19: found the number 30 in within(), expected a time such as 30 days"),
        ("event('A').within(1.5 days).exists()", "1:19: found 1.5 days, expected a whole number of days"),
        ("event('A').within(5 dyas).exists()", "1:21: unknown unit 'dyas'; did you mean 'days'?"),
        ("event('A').within(5 years).exists()", "1:21: unknown unit 'years'; expected minutes, hours, days or weeks"),
        ("event('A').within(40000 days).exists()", "1:19: found 40000 days, expected at most 100 years"),
        ("event('A').within(3 days, 5 days).exists()", "1:12: within() takes one time such as 30 days; found 2"),
        ("event('A').between(3 days).exists()", "1:12: between() takes two times such as 7 days, 10 days; found 1"),
        ("event('A').between(1 day, 24 hours).exists()", "1:12: found a window between two equal times, expected two"
         " different ones"),
        ("event('A').within(since: 3 days).exists()", "1:19: found since: in within(), expected parent: before the first"
         " argument"),
        ("event('A').sources('a').exists()", "1:20: found no exclude: before the ids of sources, expected exclude: 'id'"),
        ("event('A').where(property('x')).exists()", "1:18: found a value without a comparison, expected one such as"
         " = 'true' or .exists()"),
        ("event('A').sum(trait('x')) > 1", "1:16: found trait(…) in sum(), expected property(…) or context(…)"),
        ("event('A').sum(property('x') as string) > 1", "1:33: found as string in sum(), expected no type"),
        ("event('A').max(property('x') as text) > 1", "1:33: found as text in max(), expected as string or as number"),
        ("event('A').mode(property('x'), 0) = 1", "1:32: found the number 0 in mode(), expected how often at least, such"
         " as 2"),
        ("event('A').sum(property('x')).contains('a')", "1:1: found a number before contains(), expected a comparison of"
         " numbers, such as >= 1"),
        ("event('A').count().within_last(3 days)", "1:1: found a number before within_last(), expected a comparison of"
         " numbers, such as >= 1"),
        ("event('A').max(property('x')).omits('a')", "1:1: found a number or a Unix time before omits(), expected a"
         " comparison of numbers or dates, such as >= 1"),
        ("trait('x').contains(5)", "1:21: found 5 in contains(), expected a text in quotes: '5'"),
        ("trait('x').before_date('soon')", "1:24: found 'soon' in before_date(), expected a date or timestamp such as"
         " 2022-10-17T08:30:00Z"),
        ("trait('x').within_last('7 days')", "1:24: found the text '7 days' in within_last(), expected a time such as"
         " 30 days"),
        ("trait('x').exists(1)", "1:12: exists() takes no argument; found 1"),
        ("trait('x').equals()", "1:12: equals() takes one value; found none"),
        ("property('x') = 1", "1:1: found property('x') outside an event; property(…) belongs inside where() or a reducer"
         " such as sum()"),
        ("trait('y') = context('x')", "1:14: found context('x') outside an event; context(…) belongs inside where() or a"
         " reducer such as sum()"),
        ("event('A').within(parent: 3 days).exists()", "1:12: found within(parent: 3 days), but parent: is only for an"
         " event inside the where() of another"),
        ("event('A').where(property(parent: 'x') = 1).exists()", "1:18: found property(parent: 'x'), but no event"
         " encloses this one as its parent"),
        ("ANY trait('x') = 1", "1:1: found ANY, which asks of the users of an account; expected it only in a definition with type: ACCOUNTS"),
        ("ALL (trait('x') = 1)", "1:1: found ALL, which asks of the users of an account; expected it only in a definition with type: ACCOUNTS"),
        ("entity('car').exists()", "1:1: linked entities (entity(…)) are understood but not computed yet"),
        ("x" * 20_001, "1:1: found 20001 characters, expected at most 20000"),
        (" OR ".join(["trait('x') = 1"] * 51), "1:901: found 51 expressions, expected at most 50 in a definition"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_sentence(query: str, expected: str) -> None:
    assert problems(query) == [expected]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            "trait('x') = 5",
            "1:1: found a condition, but a computed trait is a value, such as event('Order Completed').count()"
            " or trait('plan')",
        ),
        ("5", "1:1: found the number 5, expected a function such as event(…) or trait(…)"),
        (
            "property('x')",
            "1:1: found property('x') outside an event; property(…) belongs inside where() or a reducer such as sum()",
        ),
    ],
)
def test_a_computed_trait_is_a_value(query: str, expected: str) -> None:
    assert problems(query, "computed_trait") == [expected]


def test_all_mistakes_are_told_at_once() -> None:
    query = "event(‘A’).withn(3 days).count() => 1\n  and NOT foo\nOR trait('x') > event('A').count()"
    assert problems(query) == [
        "1:7: found the typographic quote ‘, expected a plain quote ' or \"",
        "1:12: unknown function 'withn'; did you mean 'within'?",
        "1:34: found =>, expected >=",
        "2:3: found 'and', expected AND: junction words are upper case",
        "2:11: found foo, expected a function such as trait('foo') or a text in quotes",
        f"3:17: found an expression of events, {SCALAR} on the right of a comparison",
    ]


def test_a_text_that_reads_as_a_number_compares_with_numbers() -> None:
    language.parse("event('A').count() >= '3' AND event('A').sum(property('x')) = '1e3'", kind="audience")


def test_what_is_not_computed_yet_can_be_let_through() -> None:
    language.parse("entity('car').exists()", kind="audience", allow_uncomputed=True)
