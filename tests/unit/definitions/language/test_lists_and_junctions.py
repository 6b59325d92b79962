from __future__ import annotations

import pytest

from engage_sync import errors
from engage_sync.definitions import language
from engage_sync.definitions.language import tree


def comparators(node: tree.Node) -> list[str]:
    return [str(found.comparator) for found in language.walk(node) if isinstance(found, tree.Comparison)]


@pytest.mark.parametrize("comparison", ["contains('a', 'b')", "omits('a')", "exists()", "absent()"])
def test_a_list_can_be_searched_and_missed(comparison: str) -> None:
    parsed = language.parse(f"event('A').unique(property('x')).{comparison}", kind="audience")
    assert comparators(parsed) == [comparison.split("(")[0]]


@pytest.mark.parametrize("comparison", [".equals('a')", " > 1", ".one_of('a')", ".within_last(3 days)"])
def test_a_list_is_not_compared_as_one_value(comparison: str) -> None:
    with pytest.raises(errors.QueryInvalid, match=r"1:1: found a list before .*, expected \.count\(\) first"):
        language.parse(f"event('A').unique(property('x')){comparison}", kind="audience")


def test_a_list_is_a_computed_trait() -> None:
    parsed = language.parse("event('A').unique(property('items.$.sku'))", kind="computed_trait")
    assert parsed == tree.Aggregate(
        stream=tree.Stream(event="A"), reducer=tree.Unique(of=tree.PropertyRef(path=("items", "$", "sku")))
    )


@pytest.mark.parametrize(("word", "kind"), [("AND", tree.And), ("&&", tree.And), ("OR", tree.Or), ("||", tree.Or)])
def test_a_junction_within_a_junction_of_its_kind_is_one(word: str, kind: type[tree.And | tree.Or]) -> None:
    nested = f"(trait('a').exists() {word} trait('b').exists()) {word} (trait('c').exists() {word} trait('d').exists())"
    parsed = language.parse(nested, kind="audience")
    assert isinstance(parsed, kind)
    assert [type(operand) for operand in parsed.operands] == [tree.Comparison] * 4
    assert language.describe(parsed).count("(") == 8  # of the functions; none around the junctions


def test_a_negated_junction_stays_apart() -> None:
    parsed = language.parse(
        "trait('a').exists() AND NOT (trait('b').exists() AND trait('c').exists())", kind="audience"
    )
    assert isinstance(parsed, tree.And)
    assert [type(operand) for operand in parsed.operands] == [tree.Comparison, tree.Not]


@pytest.mark.parametrize("name", ["ANDROID", "order", "Note", "asset", "ALLOWED", "as_of"])
def test_a_name_that_begins_like_a_junction_is_a_name(name: str) -> None:
    with pytest.raises(errors.QueryInvalid, match=f"1:1: (unknown function '{name}'|found {name})"):
        language.parse(f"{name}('x').exists()", kind="audience")


@pytest.mark.parametrize("keys", [["recent"], ("recent",), {"recent"}, {"recent": 1}])
def test_any_collection_of_keys_tells_what_is_lookback(keys: list[str]) -> None:
    parsed = language.parse("NOT trait('recent.since').exists()", kind="audience")
    assert language.is_lookback(parsed, keys)
    assert not language.is_lookback(parsed)
