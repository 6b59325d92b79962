"""Valid queries with something cut out, put in or doubled: always a tree or problems at places within the text."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engage_sync import errors
from engage_sync.definitions import language

VALID = (
    "event('Order Completed').within(30 days).count() >= 1",
    "event('A').where(property('x') > 100 AND context('page.url').omits('a', \"b\")).between(1 day, 2 weeks).absent()",
    "NOT (trait('plan') = 'pro' || trait('a\\\\.b.$.c').one_of('x', 2, 3.5)) && trait('t').before_last(2 weeks)",
    "event('A').where(event('B').within(parent: 5 day).where(property('i') = property(parent: 'i')).exists()).exists()",
    "ALL NOT event('A').sources({exclude: 'web', 'app'}).max(property('p') as string).starts_with('z')",
    "event('A').mode(property('items.$') as array, 2)",
    "trait('seen').after_date(2022-10-17T08:30:00.5+02:00) OR entity('car').exists()",
    "event('A').unique(property('sku')).count() <= literal('7')",
)
PIECES = st.one_of(
    st.sampled_from(
        ["(", ")", "'", '"', "‘", ".", ",", "{", "}", "\\", " NOT ", " AND ", "$", ":", "\n", "9" * 30, "\0", "\ud800"]
    ),
    st.text(max_size=3),
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    query = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(query)))
        end = draw(st.integers(start, min(len(query), start + 8)))
        replacement = draw(st.one_of(st.just(""), PIECES, st.just(query[start:end] * 2)))
        query = query[:start] + replacement + query[end:]
    return query


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated(), st.sampled_from(["audience", "computed_trait"]), st.booleans())
def test_a_damaged_query_gives_a_tree_or_its_problems(query: str, kind: language.Kind, allow_uncomputed: bool) -> None:
    lines = query.split("\n")
    try:
        parsed = language.parse(query, kind=kind, allow_uncomputed=allow_uncomputed)
    except errors.QueryInvalid as invalid:
        found = invalid.problems
    else:
        found = ()
        assert language.parse(language.describe(parsed), kind=kind, allow_uncomputed=allow_uncomputed) == parsed
    assert list(found) == sorted(found)
    for problem in found:
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
        assert problem.message.isprintable()


@pytest.mark.parametrize("query", VALID)
def test_each_query_is_valid_before_it_is_damaged(query: str) -> None:
    kind: language.Kind = "computed_trait" if "mode" in query else "audience"
    parsed = language.parse(query, kind=kind, allow_uncomputed=True)
    assert language.parse(language.describe(parsed), kind=kind, allow_uncomputed=True) == parsed
