"""Which values a person must have for an expression to be true: what lets the compiler start from the few who have
them instead of from everybody. Pure reasoning over the tree; nothing is looked up."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import assert_never

from engage_sync.definitions.language import tree
from engage_sync.definitions.language.tree import Comparator
from engage_sync.evaluation.operands import read_number

Leaf = tree.Aggregate | tree.TraitRef | tree.AnyUser | tree.AllUsers

_ONE_ARGUMENT = frozenset(
    {
        Comparator.EQUALS,
        Comparator.DIFFERS,
        Comparator.GREATER_THAN,
        Comparator.AT_LEAST,
        Comparator.LESS_THAN,
        Comparator.AT_MOST,
        Comparator.STARTS_WITH,
        Comparator.ENDS_WITH,
        Comparator.BEFORE_DATE,
        Comparator.AFTER_DATE,
    }
)
_NUMERIC: dict[Comparator, Callable[[Decimal, Decimal], bool]] = {
    Comparator.EQUALS: lambda left, right: left == right,
    Comparator.DIFFERS: lambda left, right: left != right,
    Comparator.GREATER_THAN: lambda left, right: left > right,
    Comparator.AT_LEAST: lambda left, right: left >= right,
    Comparator.LESS_THAN: lambda left, right: left < right,
    Comparator.AT_MOST: lambda left, right: left <= right,
}


def needed_for_true(expression: tree.Boolean) -> frozenset[Leaf]:
    """Leaves without which the expression is false for sure."""
    return _needed(expression, True)


def true_of_nothing(expression: tree.Boolean) -> bool:
    """Whether the expression may be true of a person of whom nothing is known. False is certain, True is "perhaps"."""
    match expression:
        case tree.And():
            return all(true_of_nothing(operand) for operand in expression.operands)
        case tree.Or():
            return any(true_of_nothing(operand) for operand in expression.operands)
        case tree.Not():
            return not true_for_sure(expression.operand)
        case tree.Comparison():
            return not _without(expression, expression.left, True)
        case tree.AnyUser() | tree.AllUsers():
            return False  # an account without users has neither any nor all of them
        case _:
            assert_never(expression)


def true_for_sure(expression: tree.Boolean) -> bool:
    """Whether the expression is certainly true of a person of whom nothing is known, so that its negation is false."""
    match expression:
        case tree.And():
            return all(true_for_sure(operand) for operand in expression.operands)
        case tree.Or():
            return any(true_for_sure(operand) for operand in expression.operands)
        case tree.Not():
            return not true_of_nothing(expression.operand)
        case tree.Comparison():
            return _without(expression, expression.left, False)
        case _:
            return False


def existence(comparison: tree.Comparison) -> bool | None:
    """What a comparison of a count really asks: True, whether there is any event; False, whether there is none.

    None where the number itself matters, or what is compared is no count.
    """
    left, argument = comparison.left, comparison.arguments[0] if comparison.arguments else None
    if not (isinstance(left, tree.Aggregate) and isinstance(left.reducer, tree.Count)):
        return None
    number = read_number(argument.value) if isinstance(argument, tree.LiteralValue) else None
    rule = _NUMERIC.get(comparison.comparator)
    if rule is None or number is None or number < 0:
        return None
    # All rules here are steps: two counts on either side of every step tell what holds for all of them.
    none, one, many = rule(Decimal(0), number), rule(Decimal(1), number), rule(number + 2, number)
    two = rule(Decimal(2), number)
    return one if none is not one and one is two is many else None


def _needed(expression: tree.Boolean, truth: bool) -> frozenset[Leaf]:
    """Leaves without which the expression can't have this truth."""
    match expression:
        case tree.And() | tree.Or():
            parts = [_needed(operand, truth) for operand in expression.operands]
            if isinstance(expression, tree.And) is truth:
                return frozenset().union(*parts)
            return frozenset.intersection(*parts)
        case tree.Not():
            return _needed(expression.operand, not truth)
        case tree.Comparison():
            leaves = {expression.left, *expression.arguments} if truth else {expression.left}
            return frozenset(leaf for leaf in leaves if isinstance(leaf, Leaf) and _without(expression, leaf, truth))
        case tree.AnyUser() | tree.AllUsers():
            return frozenset({expression}) if truth else frozenset()
        case _:
            assert_never(expression)


def _without(comparison: tree.Comparison, leaf: object, truth: bool) -> bool:
    """Whether the comparison, of a person who lacks the leaf, certainly has not this truth."""
    if not isinstance(leaf, Leaf):
        return False
    if leaf != comparison.left:
        return truth and comparison.comparator in _ONE_ARGUMENT
    if isinstance(leaf, tree.Aggregate) and isinstance(leaf.reducer, tree.Count | tree.UniqueCount):
        return _zero(comparison) is (not truth)
    value = comparison.comparator in (Comparator.ABSENT, Comparator.OMITS)
    return value is not truth


def _zero(comparison: tree.Comparison) -> bool | None:
    """What the comparison says of a count of nothing; None where that depends on more than the query."""
    if comparison.comparator is Comparator.EXISTS:
        return True
    if comparison.comparator is Comparator.ABSENT:
        return False
    rule = _NUMERIC.get(comparison.comparator)
    argument = comparison.arguments[0] if comparison.arguments else None
    if rule is None or not isinstance(argument, tree.LiteralValue):
        return None
    number = read_number(argument.value)
    return rule(Decimal(0), number) if number is not None else None
