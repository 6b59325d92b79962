"""Any tree's text gives the tree again, and no text whatever makes the parser fail in another way than it says."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engage_sync import errors
from engage_sync.definitions import language
from engage_sync.definitions.language import tree

from . import trees

RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
KINDS: tuple[language.Kind, ...] = ("audience", "computed_trait")
WORDS = (  # noqa: SIM905 - a list of so many short words reads worse
    "event trait property context literal entity where sources within between count sum mode unique equals one_of "
    "AND OR NOT ANY ALL and as string exclude: parent: days hours 'A' 'a.b' \"x\" 5 -3 1e5 2022-10-17 ( ) { } . , = >= "
    "‘ ’ && || ! 2022-10-17T10:00:00Z"
).split()


def read(text: str, kind: language.Kind) -> tuple[language.Definition | None, tuple[errors.Problem, ...]]:
    try:
        return language.parse(text, kind=kind), ()
    except errors.QueryInvalid as invalid:
        return None, invalid.problems


@RELAXED
@given(trees.conditions())
def test_parsing_the_text_of_a_condition_gives_it_again(condition: tree.Boolean) -> None:
    text = language.describe(condition)
    assert language.parse(text, kind="audience", allow_uncomputed=True) == condition


@RELAXED
@given(st.one_of(trees.aggregates(), trees.traits))
def test_parsing_the_text_of_a_value_gives_it_again(value: tree.Aggregate | tree.TraitRef) -> None:
    text = language.describe(value)
    assert language.parse(text, kind="computed_trait", allow_uncomputed=True) == value


@settings(RELAXED, max_examples=400)
@given(st.one_of(st.text(max_size=80), st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join)))
def test_no_text_fails_but_with_its_problems(text: str) -> None:
    for kind in KINDS:
        parsed, problems = read(text, kind)
        for problem in problems:
            assert "\n" not in problem.message
            assert 1 <= problem.line <= text.count("\n") + 1
            assert 1 <= problem.column <= len(text) + 1
        if parsed is None:
            assert problems
        else:
            assert language.parse(language.describe(parsed), kind=kind) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "(" * 20_000,
        "NOT " * 5_000 + "trait('x').exists()",
        "(NOT " * 4_000,
        "event('A').where(" * 1_000 + "trait('x').exists()" + ")" * 1_000,
        "event('A')" + ".within(3 days)" * 1_300 + ".exists()",
        "'" + "\\'" * 9_999,
        '"' * 19_999,
        "‘" * 19_999,
        "trait('x').one_of(" + "1," * 9_900 + "1)",
        "trait('x') = " + "9" * 19_000,
        "trait('x') = 1e999999999",
        "trait('" + "a." * 9_900 + "a') = 1",
        "event('A').within(" + "9" * 5_000 + " days).exists()",
        "{" * 9_000 + "}" * 9_000,
        "trait('x') = 1 AND " * 1_000,
        "x" * 30_000,
    ],
)
def test_hostile_texts_are_done_with_soon(text: str) -> None:
    started = time.monotonic()
    _, problems = read(text, "audience")
    assert all(len(problem.message) < 400 for problem in problems)
    assert time.monotonic() - started < 5
