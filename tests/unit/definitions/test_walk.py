from __future__ import annotations

import pytest

from engage_sync.definitions import language
from engage_sync.definitions.language import tree


def parsed(query: str) -> language.Definition:
    return language.parse(query, kind="audience", allow_uncomputed=True)


def test_walk_meets_every_node_parents_first() -> None:
    kinds = [type(node).__name__ for node in language.walk(parsed("NOT event('A').within(3 days).count() >= 1"))]
    assert kinds == ["Not", "Comparison", "Aggregate", "Stream", "Within", "Duration", "Count", "LiteralValue"]


def test_event_names_and_references_are_found_at_any_depth() -> None:
    node = parsed(
        "event('A').where(event('B').count() >= 1 AND property('x') = trait('y.z')).exists() OR trait('w').exists()"
    )
    assert language.event_names(node) == {"A", "B"}
    assert language.references(node) == {"y", "w"}


@pytest.mark.parametrize(
    ("query", "lookback"),
    [
        ("event('A').count() >= 1", False),
        ("trait('x').before_date(2022-10-17)", False),
        ("trait('other').exists()", False),
        ("event('A').within(3 days).exists()", True),
        ("event('A').between(3 days, 5 days).exists()", True),
        ("event('A').where(event('B').within(parent: 3 days).absent()).exists()", True),
        ("trait('x').within_last(3 days)", True),
        ("trait('x').within_next(3 days)", True),
        ("trait('x').before_last(3 days)", True),
        ("event('A').where(property('x').after_next(3 days)).exists()", True),
        ("trait('recent').exists()", True),
    ],
)
def test_a_definition_that_time_alone_changes_is_lookback(query: str, lookback: bool) -> None:
    assert language.is_lookback(parsed(query), {"recent"}) is lookback


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ('event( "it\'s" ).exists()', r"event('it\'s').count() >= 1"),
        ("( trait('a')=1 )OR(trait('b')=2 && trait('c')=3)", "trait('a') = 1 OR trait('b') = 2 AND trait('c') = 3"),
        ("NOT(trait('a')=1 AND trait('b')=2)", "NOT (trait('a') = 1 AND trait('b') = 2)"),
        (r"trait('a\\.b.c').within_last(1 days)", r"trait('a\\.b.c').within_last(1 day)"),
        ("trait('a') = 2022-10-17T10:00:00+02:00", "trait('a') = 2022-10-17T08:00:00Z"),
    ],
)
def test_describe_is_canonical(query: str, text: str) -> None:
    assert language.describe(parsed(query)) == text


def test_positions_make_no_difference() -> None:
    one, other = parsed("trait('a') = 1"), parsed("\n  trait( 'a' )  =  1")
    assert one == other
    assert hash(one) == hash(other)
    assert other.position == tree.Position(2, 3)
