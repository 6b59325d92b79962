from __future__ import annotations

from engage_sync.definitions import language
from engage_sync.definitions.keys import make_key
from engage_sync.definitions.model import DefinitionSpec
from engage_sync.definitions.order import dependencies, find_cycles, in_order


def trait(key: str, *needs: str) -> DefinitionSpec:
    query = " OR ".join(f"trait('{need}') = 1" for need in needs) or "trait('custom') = 1"
    tree = language.parse(query, kind="audience")
    return DefinitionSpec(kind="audience", key=key, name=key, query=query, tree=tree)


def test_what_is_needed_comes_first_and_the_rest_keeps_its_order() -> None:
    given = [trait("e"), trait("a", "c", "b"), trait("b"), trait("c", "d"), trait("d")]
    assert [definition.key for definition in in_order(given)] == ["e", "b", "d", "c", "a"]
    assert dependencies(given)["a"] == {"b", "c"}


def test_a_long_chain_is_no_trouble() -> None:
    given = [trait(f"k{number}", f"k{number + 1}") for number in range(3_000)]
    assert [definition.key for definition in in_order(given)][:2] == ["k2999", "k2998"]
    assert find_cycles(dependencies(given)) == []


def test_cycles_begin_at_their_first_key() -> None:
    assert find_cycles({"b": {"c"}, "c": {"a"}, "a": {"b"}, "s": {"s"}, "x": {"a"}}) == [["a", "b", "c"], ["s"]]


def test_the_key_of_a_name() -> None:
    names = ["Order Completed Last 30days", "  --Big   Spenders!! ", "a_b", "Käufer", "日本"]
    assert [make_key(name) for name in names] == ["order_completed_last_30days", "big_spenders", "a_b", "k_ufer", ""]
