"""What is read past a slip, so that one look at a query shows all that is wrong in it."""

from __future__ import annotations

import pytest

from engage_sync import errors
from engage_sync.definitions import language


def problems(query: str, kind: language.Kind = "audience") -> list[str]:
    with pytest.raises(errors.QueryInvalid) as raised:
        language.parse(query, kind=kind)
    return [f"{problem.line}:{problem.column}: {problem.message}" for problem in raised.value.problems]


def test_a_missing_dot_is_named_and_read_past() -> None:
    assert problems("event('A').within(30 days) count() >= 1 AND trait('x')") == [
        "1:28: found count without a dot, expected .count(…)",
        "1:45: found a value without a comparison, expected one such as = 'true' or .exists()",
    ]


def test_a_missing_and_is_named_and_read_past() -> None:
    assert problems("event('A').count() >= 1\ntrait('plan').exsts()") == [
        "2:1: found trait, expected AND or OR before another expression",
        "2:15: unknown function 'exsts'; did you mean 'exists'?",
    ]


def test_a_missing_and_inside_where_is_read_past() -> None:
    assert problems("event('A').where(property('x') = 1 property('y') = 2).exists()") == [
        "1:36: found property, expected AND or OR before another expression",
    ]


def test_a_missing_comma_is_named_and_read_past() -> None:
    assert problems("trait('x').one_of('a' 'b' trait('y')) AND foo") == [
        "1:23: found 'b' right after another value, expected a comma between",
        "1:27: found trait right after another value, expected a comma between",
        "1:43: found foo, expected a function such as trait('foo') or a text in quotes",
    ]


def test_words_of_other_languages_are_translated() -> None:
    assert problems("trait('x') IN ('a', 'b')") == ["1:12: found IN without a dot, expected .one_of(…)"]
    assert problems("trait('x').is_null()") == ["1:12: unknown function 'is_null'; did you mean 'absent'?"]
    assert problems("event('A').average(property('x')) > 1") == [
        "1:12: unknown function 'average'; did you mean 'avg'?"
    ]
    assert problems("event['A'].exists()") == [
        "1:6: found [, expected (: only parentheses enclose",
        "1:10: found ], expected ): only parentheses enclose",
    ]


def test_a_value_on_one_side_of_or_is_led_to_one_of() -> None:
    sides = "a comparison on each side of AND and OR; several values go into one_of('a', 'b')"
    assert problems("trait('x') = 'a' OR 'b'") == [f"1:21: found the text 'b', expected {sides}"]


@pytest.mark.parametrize("written", ["10/17/2022", "2022-1-7", "17-10-2022", "2022/10/17"])
def test_a_date_in_another_order_is_shown_the_right_one(written: str) -> None:
    expected = f"1:24: found {written}, expected a date as year-month-day, such as 2022-10-17"
    assert problems(f"trait('x').before_date({written})") == [expected]


@pytest.mark.parametrize("unit", ["month", "months", "years", "Quarters"])
def test_units_longer_than_a_week_are_not_taken_for_minutes(unit: str) -> None:
    expected = f"1:21: unknown unit '{unit}'; expected minutes, hours, days or weeks"
    assert problems(f"event('A').within(3 {unit}).exists()") == [expected]


def test_a_comparison_that_can_never_be_true_is_refused() -> None:
    assert problems("trait('x') > 'abc' OR trait('x') <= 2022-10-17 OR trait('x').at_least('')") == [
        "1:14: found 'abc' after >, expected a number",
        "1:37: found the date 2022-10-17 after <=, expected a number, or .before_date(2022-10-17) instead",
        "1:71: found '' after >=, expected a number",
    ]


def test_a_text_with_blanks_or_foreign_digits_reads_as_no_number() -> None:
    assert problems("event('A').count() = ' 5 '") == ["1:22: found ' 5 ' compared with a number, expected a number"]
    assert problems("event('A').count() = '٣'") == ["1:22: found '٣' compared with a number, expected a number"]
    assert problems("event('A').count() = ٣") == ["1:22: found ٣, which has no meaning here"]


@pytest.mark.parametrize("text", ["'1666000000'", "'tomorrow'", "''", "'2022-13-01'"])
def test_a_text_that_is_no_date_is_refused_where_a_date_belongs(text: str) -> None:
    expected = "expected a date or timestamp such as 2022-10-17T08:30:00Z"
    assert problems(f"trait('x').after_date({text})") == [f"1:23: found {text} in after_date(), {expected}"]


@pytest.mark.parametrize("comparator", ["within_last", "within_next", "before_last", "after_next"])
def test_a_window_of_nothing_is_refused(comparator: str) -> None:
    column = len(f"trait('x').{comparator}(") + 1
    expected = f"1:{column}: found a window of 0 days, expected at least 1"
    assert problems(f"trait('x').{comparator}(0 days)") == [expected]


def test_a_path_cannot_begin_with_each_item() -> None:
    assert problems("trait('$.sku').exists()") == [
        "1:7: found $ at the start of a path, expected a name before it: 'items.$'"
    ]


@pytest.mark.parametrize("number", ["1e" + "9" * 5_000, "1e-999999999999999999999", "-1e400", "0." + "0" * 50])
def test_numbers_beyond_reason_are_refused(number: str) -> None:
    (problem,) = problems(f"trait('x') = {number}")
    assert problem.startswith("1:14: found ")


def test_a_fixed_value_is_no_computed_trait() -> None:
    assert problems("literal(5)", "computed_trait") == [
        "1:9: found a fixed value, which is the same for everybody; expected event(…) or trait(…)"
    ]


def test_parentheses_and_not_add_up_to_one_depth() -> None:
    language.parse("NOT (" * 19 + "trait('x').exists()" + ")" * 19, kind="audience")
    assert problems("NOT (" * 21) == ["1:101: found NOT, ANY or ALL nested deeper than 40 levels"]
    language.parse(" AND ".join(["NOT trait('x').exists()"] * 50), kind="audience")


def test_at_most_a_hundred_problems_are_listed() -> None:
    assert len(problems("# " * 500)) == 100
