"""What a built tree must hold to before it may be computed: kinds, types, places, limits. Pure; problems are added."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Literal, TypeAlias

from engage_sync.definitions.language import literals, tree
from engage_sync.definitions.language.build import Built, comparison_hint, noun
from engage_sync.definitions.language.describe import SYMBOLS, describe
from engage_sync.definitions.language.problems import Problems, shortened
from engage_sync.definitions.language.tree import Comparator
from engage_sync.definitions.language.walk import children, walk

MAX_EXPRESSIONS = 50

Kind: TypeAlias = Literal["audience", "computed_trait"]

TEXTUAL = frozenset({Comparator.CONTAINS, Comparator.OMITS, Comparator.STARTS_WITH, Comparator.ENDS_WITH})
NUMERIC = frozenset({Comparator.GREATER_THAN, Comparator.AT_LEAST, Comparator.LESS_THAN, Comparator.AT_MOST})
AFTER = frozenset({Comparator.GREATER_THAN, Comparator.AT_LEAST})
EQUAL = frozenset({Comparator.EQUALS, Comparator.DIFFERS, Comparator.ONE_OF, Comparator.NONE_OF})
FIXED_DATES = frozenset({Comparator.BEFORE_DATE, Comparator.AFTER_DATE})
OF_LISTS = frozenset({Comparator.CONTAINS, Comparator.OMITS, Comparator.EXISTS, Comparator.ABSENT})
DATES = FIXED_DATES | tree.RELATIVE_TO_NOW


class Type(Enum):
    """What is known of a value before any data is seen; DATABLE is a number that may be a Unix time."""

    NUMBER = "a number"
    DATABLE = "a number or a Unix time"
    TEXT = "a text"
    LIST = "a list"
    ANY = "a value of any type"


def check_kind(built: Built, kind: Kind, problems: Problems) -> tree.Definition | None:
    """The tree as a whole definition of this kind, or None."""
    if kind == "audience":
        if isinstance(built, tree.Boolean):
            return built
        message = f"found {noun(built)}, but an audience is a condition; {comparison_hint(built)}"
        problems.add(built.position, message)
        return None
    if isinstance(built, tree.Aggregate | tree.TraitRef):
        return built
    match built:
        case tree.PropertyRef() | tree.ContextRef():
            _refuse_place(built, problems)
        case tree.LiteralValue():
            message = "found a fixed value, which is the same for everybody; expected event(…) or trait(…)"
            problems.add(built.position, message)
        case _:
            expected = "a value, such as event('Order Completed').count() or trait('plan')"
            problems.add(built.position, f"found {noun(built)}, but a computed trait is {expected}")
    return None


def check_tree(node: tree.Definition, problems: Problems) -> None:
    """All rules that hold for audiences and computed traits alike."""
    expressions = [found for found in walk(node) if isinstance(found, tree.Comparison)]
    if len(expressions) > MAX_EXPRESSIONS:
        message = f"found {len(expressions)} expressions, expected at most {MAX_EXPRESSIONS} in a definition"
        problems.add(expressions[MAX_EXPRESSIONS].position, message)
    for comparison in expressions:
        _check_comparison(comparison, problems)
    _check_places(node, 0, problems)


def not_yet_computed(node: tree.Definition, problems: Problems) -> None:
    """Refuses what parses and means something, but which no evaluation exists for."""
    for found in walk(node):
        if isinstance(found, tree.EntityRef):
            problems.add(found.position, "linked entities (entity(…)) are understood but not computed yet")


def check_users(node: tree.Definition, of_accounts: bool, problems: Problems) -> None:
    """ANY and ALL ask of one account's users: only in definitions of accounts, of a user once, and not of an event."""
    _check_users(node, None if of_accounts else _NOWHERE, problems)


_NOWHERE = "which asks of the users of an account; expected it only in a definition with type: ACCOUNTS"


def _check_users(node: tree.Node, refused: str | None, problems: Problems) -> None:
    """`refused`: why none may stand here."""
    match node:
        case tree.AnyUser() | tree.AllUsers():
            word = "ANY" if isinstance(node, tree.AnyUser) else "ALL"
            if refused is not None:
                problems.add(node.position, f"found {word}, {refused}")
            else:
                refused = f"but {word} around it already asks of one user; leave one of them out"
        case tree.Where() if refused is None:
            refused = "but where() asks of one event; put it around the whole comparison: ANY (event(…)…)"
        case _:
            pass
    for child in children(node):
        _check_users(child, refused, problems)


def _check_places(node: tree.Node, streams: int, problems: Problems) -> None:
    """`streams`: how many events enclose this place; the innermost is at hand, the one around it is its parent."""
    match node:
        case tree.Aggregate(stream=stream, reducer=reducer):
            for filter_ in stream.filters:
                _check_filter_place(filter_, streams, problems)
            _check_below(reducer, streams + 1, problems)
        case tree.PropertyRef() | tree.ContextRef():
            if streams == 0:
                _refuse_place(node, problems)
            elif streams == 1 and isinstance(node, tree.PropertyRef) and node.parent:
                problems.add(node.position, f"found {_quoted(node)}, but no event encloses this one as its parent")
        case _:
            _check_below(node, streams, problems)


def _check_filter_place(node: tree.Filter, streams: int, problems: Problems) -> None:
    if isinstance(node, tree.Within | tree.Between) and node.of_parent and streams == 0:
        message = f"found {_quoted(node)}, but parent: is only for an event inside the where() of another"
        problems.add(node.position, message)
    _check_below(node, streams + 1, problems)


def _check_below(node: tree.Node, streams: int, problems: Problems) -> None:
    match node:
        case tree.And(operands=operands) | tree.Or(operands=operands):
            for operand in operands:
                _check_places(operand, streams, problems)
        case tree.Not(operand=operand) | tree.AnyUser(operand=operand) | tree.AllUsers(operand=operand):
            _check_places(operand, streams, problems)
        case tree.Comparison(left=left, arguments=arguments):
            for side in (left, *arguments):
                _check_places(side, streams, problems)
        case tree.Where(condition=condition):
            _check_places(condition, streams, problems)
        case tree.Sum(of=of) | tree.Avg(of=of) | tree.Min(of=of) | tree.Max(of=of) | tree.Mode(of=of):
            _check_places(of, streams, problems)
        case tree.First(of=of) | tree.Last(of=of) | tree.Unique(of=of) | tree.UniqueCount(of=of):
            _check_places(of, streams, problems)
        case _:
            pass


def _refuse_place(node: tree.PropertyRef | tree.ContextRef, problems: Problems) -> None:
    name = "property(…)" if isinstance(node, tree.PropertyRef) else "context(…)"
    message = f"found {_quoted(node)} outside an event; {name} belongs inside where() or a reducer such as sum()"
    problems.add(node.position, message)


def _check_comparison(node: tree.Comparison, problems: Problems) -> None:
    type_ = _type_of(node.left)
    allowed = _allowed(type_)
    if node.comparator not in allowed:
        name = SYMBOLS.get(node.comparator, f"{node.comparator}()")
        problems.add(node.position, f"found {type_.value} before {name}, {_expected(type_)}")
        return
    for argument in node.arguments:
        if isinstance(argument, tree.LiteralValue):
            _check_literal(node.comparator, type_, argument, problems)


def _type_of(value: tree.Value) -> Type:
    match value:
        case tree.Aggregate(reducer=tree.Count() | tree.Sum() | tree.Avg() | tree.UniqueCount()):
            return Type.NUMBER
        case tree.Aggregate(reducer=tree.Min(as_string=as_string) | tree.Max(as_string=as_string)):
            return Type.TEXT if as_string else Type.DATABLE
        case tree.Aggregate(reducer=tree.Unique()):
            return Type.LIST
        case _:
            return Type.ANY


def _allowed(type_: Type) -> frozenset[Comparator]:
    match type_:
        case Type.NUMBER:
            return frozenset(Comparator) - TEXTUAL - DATES
        case Type.DATABLE:
            return frozenset(Comparator) - TEXTUAL
        case Type.LIST:
            return OF_LISTS
        case _:
            return frozenset(Comparator)


def _expected(type_: Type) -> str:
    match type_:
        case Type.LIST:
            return "expected .count() first"
        case Type.DATABLE:
            return "expected a comparison of numbers or dates, such as >= 1"
        case _:
            return "expected a comparison of numbers, such as >= 1"


def _check_literal(comparator: Comparator, type_: Type, literal: tree.LiteralValue, problems: Problems) -> None:
    value = literal.value
    found = _quoted(literal)
    if type_ in (Type.NUMBER, Type.DATABLE) and comparator in NUMERIC | EQUAL and not _numeric(value):
        problems.add(literal.position, f"found {found} compared with {Type.NUMBER.value}, expected a number")
    elif comparator in NUMERIC and isinstance(value, date):
        by_date = "after_date" if comparator in AFTER else "before_date"
        expected = f"expected a number, or .{by_date}({found}) instead"
        problems.add(literal.position, f"found the date {found} after {SYMBOLS[comparator]}, {expected}")
    elif comparator in NUMERIC and not _numeric(value):
        problems.add(literal.position, f"found {found} after {SYMBOLS[comparator]}, expected a number")
    elif comparator in TEXTUAL and not isinstance(value, str):
        problems.add(literal.position, f"found {found} in {comparator}(), expected a text in quotes: '{found}'")
    elif comparator in FIXED_DATES and isinstance(value, str) and not literals.reads_as_date(value):
        expected = "expected a date or timestamp such as 2022-10-17T08:30:00Z"
        problems.add(literal.position, f"found {found} in {comparator}(), {expected}")


def _numeric(value: tree.LiteralType) -> bool:
    match value:
        case str():
            return literals.reads_as_number(value)
        case int() | Decimal():
            return True
        case date():
            return False


def _quoted(node: tree.LiteralValue | tree.PropertyRef | tree.ContextRef | tree.Filter) -> str:
    return shortened(describe(node), 60)
