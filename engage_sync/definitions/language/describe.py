"""The canonical text of a tree: `parse(describe(tree))` gives the same tree again."""

from __future__ import annotations

from datetime import date, datetime
from typing import assert_never

from engage_sync.definitions.language import tree
from engage_sync.definitions.language.tree import Comparator

SYMBOLS = {
    Comparator.EQUALS: "=",
    Comparator.DIFFERS: "!=",
    Comparator.GREATER_THAN: ">",
    Comparator.AT_LEAST: ">=",
    Comparator.LESS_THAN: "<",
    Comparator.AT_MOST: "<=",
}

Describable = (
    tree.Boolean | tree.Value | tree.Stream | tree.Filter | tree.Reducer | tree.Duration | tree.OfAccounts
)  # every node of the language


def describe(node: Describable) -> str:
    """One line of text; the same for equal trees."""
    match node:
        case tree.OfAccounts(of=of):
            return describe(of)
        case tree.And(operands=operands):
            return " AND ".join(_operand(operand, within=node) for operand in operands)
        case tree.Or(operands=operands):
            return " OR ".join(_operand(operand, within=node) for operand in operands)
        case tree.Not(operand=operand):
            return f"NOT {_operand(operand, within=node)}"
        case tree.AnyUser(operand=operand):
            return f"ANY {_operand(operand, within=node)}"
        case tree.AllUsers(operand=operand):
            return f"ALL {_operand(operand, within=node)}"
        case tree.Comparison():
            return _comparison(node)
        case tree.Aggregate(stream=stream, reducer=reducer):
            return f"{describe(stream)}.{describe(reducer)}"
        case tree.Stream(event=event, filters=filters):
            return ".".join([f"event({_text(event)})", *(describe(found) for found in filters)])
        case tree.Where() | tree.Sources() | tree.Within() | tree.Between():
            return _filter(node)
        case tree.Duration(amount=amount, unit=unit):
            return f"{amount} {unit}" if amount == 1 else f"{amount} {unit}s"
        case tree.TraitRef() | tree.PropertyRef() | tree.ContextRef() | tree.EntityRef() | tree.LiteralValue():
            return _value(node)
        case _:
            return _reducer(node)


def _operand(operand: tree.Boolean, *, within: tree.Boolean) -> str:
    """Parentheses where the text would otherwise be read as another tree."""
    text = describe(operand)
    match operand:
        case tree.Or():
            return f"({text})"
        case tree.And():
            return text if isinstance(within, tree.Or) else f"({text})"
        case _:
            return text


def _comparison(node: tree.Comparison) -> str:
    # A literal on the left needs its function: the bare value stands on the right only.
    left = f"literal({_value(node.left)})" if isinstance(node.left, tree.LiteralValue) else describe(node.left)
    arguments = [describe(argument) for argument in node.arguments]
    if node.comparator in SYMBOLS:
        return f"{left} {SYMBOLS[node.comparator]} {arguments[0]}"
    return f"{left}.{node.comparator}({', '.join(arguments)})"


def _filter(node: tree.Filter) -> str:
    match node:
        case tree.Where(condition=condition):
            return f"where({describe(condition)})"
        case tree.Sources(exclude=exclude):
            return f"sources(exclude: {', '.join(_text(source) for source in exclude)})"
        case tree.Within(duration=duration, of_parent=of_parent):
            return f"within({_parent(of_parent)}{describe(duration)})"
        case tree.Between(nearest=nearest, farthest=farthest, of_parent=of_parent):
            return f"between({_parent(of_parent)}{describe(nearest)}, {describe(farthest)})"
        case _:
            assert_never(node)


def _reducer(node: tree.Reducer) -> str:
    match node:
        case tree.Count():
            return "count()"
        case tree.Sum(of=of):
            return f"sum({describe(of)})"
        case tree.Avg(of=of):
            return f"avg({describe(of)})"
        case tree.Min(of=of, as_string=as_string):
            return f"min({describe(of)}{' as string' if as_string else ''})"
        case tree.Max(of=of, as_string=as_string):
            return f"max({describe(of)}{' as string' if as_string else ''})"
        case tree.Mode(of=of, minimum=minimum, as_array=as_array):
            return f"mode({describe(of)}{' as array' if as_array else ''}, {minimum})"
        case tree.First(of=of):
            return f"first({describe(of)})"
        case tree.Last(of=of):
            return f"last({describe(of)})"
        case tree.Unique(of=of):
            return f"unique({describe(of)})"
        case tree.UniqueCount(of=of):
            return f"unique({describe(of)}).count()"
        case _:
            assert_never(node)


def _value(node: tree.TraitRef | tree.PropertyRef | tree.ContextRef | tree.EntityRef | tree.LiteralValue) -> str:
    match node:
        case tree.TraitRef(path=path):
            return f"trait({_path(path)})"
        case tree.PropertyRef(path=path, parent=parent):
            return f"property({_parent(parent)}{_path(path)})"
        case tree.ContextRef(path=path):
            return f"context({_path(path)})"
        case tree.EntityRef(slug=slug):
            return f"entity({_text(slug)})"
        case tree.LiteralValue(value=value):
            return _literal(value)
        case _:
            assert_never(node)


def _literal(value: tree.LiteralType) -> str:
    match value:
        case str():
            return _text(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _parent(of_parent: bool) -> str:
    return "parent: " if of_parent else ""


def _path(path: tuple[str, ...]) -> str:
    return _text(".".join(element.replace("\\", "\\\\").replace(".", "\\.") for element in path))


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'".replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
