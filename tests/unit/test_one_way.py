"""What time can change but once, and what may change back."""

from __future__ import annotations

import pytest

from engage_sync.definitions import language
from engage_sync.evaluation.explain.steps import is_one_way


@pytest.mark.parametrize(
    "query",
    [
        "event('A').within(3 days).count() >= 5",
        "event('A').within(3 days).count() < 5",
        "event('A').within(3 days).where(property('p') > 1).count() = 0",
        "event('A').within(3 days).unique(property('p')).count() > trait('n')",
        "event('A').within(3 days).max(property('p')) > 1",
        "event('A').within(3 days).min(property('p')) < 1",
        "event('A').within(3 days).avg(property('p')).exists()",
    ],
)
def test_comparisons_that_never_change_back(query: str) -> None:
    assert is_one_way(language.parse(query, kind="audience"), ())


@pytest.mark.parametrize(
    "query",
    [
        # Falls to 5, then below.
        "event('A').within(3 days).count() = 5",
        # Rises, and then there is none.
        "event('A').within(3 days).max(property('p')) < 1",
        "event('A').within(3 days).avg(property('p')) > 1",
        # By code point nothing is known of the order of numbers.
        "event('A').within(3 days).max(property('p') as string) > 1",
        "event('A').between(1 day, 3 days).count() >= 1",
        "event('A').within(3 days).where(property('due').within_next(1 day)).count() >= 1",
        "event('A').within(3 days).where(event('B').within(parent: 1 day).count() = 0).count() >= 1",
        "event('A').within(3 days).last(property('due')).within_last(1 day)",
        "trait('due').within_last(1 day)",
    ],
)
def test_comparisons_that_may_change_back(query: str) -> None:
    assert not is_one_way(language.parse(query, kind="audience"), ())


def test_events_of_the_future_may_change_anything_back() -> None:
    definition = language.parse("event('A').within(3 days).count() >= 5", kind="audience")
    assert is_one_way(definition, {"B"})
    assert not is_one_way(definition, {"A"})


@pytest.mark.parametrize(("reducer", "expected"), [("count()", True), ("last(property('p'))", True),
                                                   ("sum(property('p'))", True), ("unique(property('p'))", True),
                                                   ("first(property('p'))", False), ("avg(property('p'))", False),
                                                   ("mode(property('p'), 1)", False)])  # fmt: skip
def test_values_that_are_never_again_what_they_were(reducer: str, expected: bool) -> None:
    definition = language.parse(f"event('A').within(3 days).{reducer}", kind="computed_trait")
    assert is_one_way(definition, ()) is expected
