"""From the tree of the grammar to the typed tree: which function may stand where, and what each of them takes.

What can't be built is told of and left out, and the rest is built, so that all of a query's problems come at once. A
tree from here is whole only when there are no problems.
"""

from __future__ import annotations

from typing import TypeAlias

from lark import Token, Tree

from engage_sync.definitions.language import calls, tree
from engage_sync.definitions.language.arguments import Call, described, read_call, start
from engage_sync.definitions.language.names import EXTRACTORS, FILTERS, FUNCTIONS, REDUCERS, hint
from engage_sync.definitions.language.problems import Problems, shortened
from engage_sync.definitions.language.syntax import Syntax
from engage_sync.definitions.language.tokens import position
from engage_sync.definitions.language.tree import Comparator

OPERATORS = {
    "=": Comparator.EQUALS,
    "==": Comparator.EQUALS,
    "!=": Comparator.DIFFERS,
    ">": Comparator.GREATER_THAN,
    ">=": Comparator.AT_LEAST,
    "<": Comparator.LESS_THAN,
    "<=": Comparator.AT_MOST,
}

VALUES = ("text", "number", "date", "timestamp")

Built: TypeAlias = tree.Boolean | tree.Value | tree.Stream
"""A stream is here before its reducer has come; a finished tree has none outside an Aggregate."""


def build(syntax: Syntax, problems: Problems) -> Built | None:
    """Whatever the expression is, or None when it can't be built."""
    match syntax.data:
        case "start" | "group":
            return build(_below(syntax)[0], problems)
        case "either" | "both":
            operands = [build_condition(child, problems) for child in _below(syntax)]
            return _junction(syntax, [operand for operand in operands if operand is not None])
        case "prefix":
            return _prefix(syntax, problems)
        case "infix":
            return _infix(syntax, problems)
        case "chain":
            return _chain(syntax, problems)
        case "word":
            _refuse_word(syntax, problems)
        case "duration":
            problems.add(start(syntax), f"found {described(syntax)}, expected it inside a function such as within(…)")
        case _:
            found = described(syntax)
            problems.add(start(syntax), f"found {found}, expected a function such as event(…) or trait(…)")
    return None


def build_condition(syntax: Syntax, problems: Problems) -> tree.Boolean | None:
    """An expression where only a condition may stand: an operand of AND, the inside of where()."""
    if syntax.data in VALUES:
        several = "a comparison on each side of AND and OR; several values go into one_of('a', 'b')"
        problems.add(start(syntax), f"found {described(syntax)}, expected {several}")
        return None
    built = build(syntax, problems)
    if built is None or isinstance(built, tree.Boolean):
        return built
    problems.add(built.position, f"found {noun(built)} without a comparison, {comparison_hint(built)}")
    return None


def noun(built: Built) -> str:
    """What it is, as a message says it."""
    match built:
        case tree.Stream():
            return "a stream of events"
        case tree.Aggregate(reducer=tree.Unique()):
            return "a list"
        case tree.Aggregate(reducer=tree.Count() | tree.Sum() | tree.Avg() | tree.UniqueCount()):
            return "a number"
        case tree.TraitRef() | tree.PropertyRef() | tree.ContextRef() | tree.Aggregate() | tree.LiteralValue():
            return "a value"
        case tree.EntityRef():
            return "an entity"
        case _:
            return "a condition"


def comparison_hint(built: Built) -> str:
    """What would make a condition of it."""
    match built:
        case tree.Stream():
            return "expected one such as .count() >= 1"
        case tree.Aggregate(reducer=tree.Unique()):
            return "expected one such as .count() >= 1"
        case tree.Aggregate():
            return "expected one such as >= 1"
        case _:
            return "expected one such as = 'true' or .exists()"


def _below(syntax: Syntax) -> list[Syntax]:
    return [child for child in syntax.children if isinstance(child, Tree)]


def _junction(syntax: Syntax, operands: list[tree.Boolean]) -> tree.Boolean | None:
    """An AND within an AND, or an OR within an OR, is one with all operands."""
    if len(operands) < 2:
        return operands[0] if operands else None
    kind: type[tree.And | tree.Or] = tree.And if syntax.data == "both" else tree.Or
    flat: list[tree.Boolean] = []
    for operand in operands:
        flat.extend(operand.operands if isinstance(operand, kind) else (operand,))
    return kind(operands=tuple(flat), position=start(syntax))


def _prefix(syntax: Syntax, problems: Problems) -> tree.Boolean | None:
    word, below = syntax.children
    assert isinstance(word, Token)
    assert isinstance(below, Tree)
    operand = build_condition(below, problems)
    if operand is None:
        return None
    match word.type:
        case "NOT":
            return tree.Not(operand=operand, position=position(word))
        case "ANY":
            return tree.AnyUser(operand=operand, position=position(word))
        case _:
            return tree.AllUsers(operand=operand, position=position(word))


def _infix(syntax: Syntax, problems: Problems) -> tree.Boolean | None:
    left_syntax, operator, right_syntax = syntax.children
    assert isinstance(left_syntax, Tree)
    assert isinstance(operator, Token)
    assert isinstance(right_syntax, Tree)
    comparator = OPERATORS[str(operator)]
    if left_syntax.data not in ("chain", "word"):
        expected = "expected a function such as trait(…) on the left of a comparison"
        problems.add(start(left_syntax), f"found {described(left_syntax)}, {expected}")
        left = None
    else:
        left = _compared(build(left_syntax, problems), f"{operator}", position(operator), problems)
    right = build_scalar(right_syntax, problems)
    if left is None or right is None:
        return None
    return tree.Comparison(left=left, comparator=comparator, arguments=(right,), position=left.position)


def _compared(built: Built | None, what: str, where: tree.Position, problems: Problems) -> tree.Value | None:
    """The left side of a comparison, which must be a value."""
    if isinstance(built, tree.Stream):
        problems.add(where, f"found {what} after a stream of events, expected a reducer such as .count() before it")
        return None
    if isinstance(built, tree.Boolean):
        problems.add(where, f"found {what} after a comparison, expected AND, OR or the end")
        return None
    return built


def build_scalar(syntax: Syntax, problems: Problems) -> tree.Scalar | None:
    """The right side of a comparison: a literal, trait(…), property(…) or context(…)."""
    token = syntax.children[0]
    match syntax.data:
        case value if value in VALUES:
            assert isinstance(token, Token)
            return calls.literal_value(syntax, problems)
        case "chain":
            return _scalar_chain(syntax, problems)
        case "word":
            _refuse_word(syntax, problems)
        case _:
            expected = "expected a value, trait(…), property(…) or context(…)"
            problems.add(start(syntax), f"found {described(syntax)}, {expected}")
    return None


def _scalar_chain(syntax: Syntax, problems: Problems) -> tree.Scalar | None:
    first = read_call(_below(syntax)[0])
    if first.name == "event":
        expected = "expected a value, trait(…), property(…) or context(…) on the right of a comparison"
        problems.add(start(syntax), f"found an expression of events, {expected}")
        return None
    built = _chain(syntax, problems)
    if built is None or isinstance(built, tree.Scalar):
        return built
    expected = "expected a value, trait(…), property(…) or context(…)"
    problems.add(start(syntax), f"found {noun(built)}, {expected} on the right of a comparison")
    return None


def _refuse_word(syntax: Syntax, problems: Problems) -> None:
    word = syntax.children[0]
    assert isinstance(word, Token)
    if word.lower() in ("true", "false"):
        message = f"found {word}, expected '{word.lower()}' in quotes"
    elif word in FUNCTIONS:
        message = f"found {word} without parentheses, expected {word}(…)"
    else:
        message = f"found {shortened(word)}, expected a function such as trait('{shortened(word)}') or a text in quotes"
    problems.add(position(word), message)


def _chain(syntax: Syntax, problems: Problems) -> Built | None:
    first, *steps = [read_call(child) for child in _below(syntax)]
    built = _extract(first, problems)
    for step in steps:
        if built is None:
            # What follows something unknown can still hold an unknown name.
            _refuse_unknown(step, problems)
        else:
            built = _step(built, step, problems)
    return built


def _extract(call: Call, problems: Problems) -> Built | None:
    match call.name:
        case "event":
            return calls.event(call, problems)
        case "trait":
            return calls.trait(call, problems)
        case "property":
            return calls.property_(call, problems)
        case "context":
            return calls.context(call, problems)
        case "literal":
            return calls.literal(call, problems)
        case "entity":
            return calls.entity(call, problems)
        case name if name in FUNCTIONS:
            expected = "expected an expression to begin with event(…), trait(…), property(…) or context(…)"
            problems.add(call.position, f"found {name}(…), {expected}")
        case name:
            meant = hint(name, "event, trait, property, context, literal or entity")
            problems.add(call.position, f"unknown function '{shortened(name)}'{meant}")
    return None


def _refuse_unknown(call: Call, problems: Problems) -> bool:
    if call.name in FUNCTIONS:
        return False
    meant = hint(call.name, "a filter, a reducer or a comparison such as count()")
    problems.add(call.position, f"unknown function '{shortened(call.name)}'{meant}")
    return True


def _step(built: Built, call: Call, problems: Problems) -> Built | None:
    """One more function of a chain. A filter that can't be built is left out; anything else ends the chain."""
    if _refuse_unknown(call, problems):
        return None
    if isinstance(built, tree.Boolean):
        problems.add(call.position, f"found {call.name}() after a comparison, expected AND, OR or the end")
        return None
    if call.name in EXTRACTORS:
        problems.add(call.position, f"found {call.name}(…) after a dot, expected it at the start of an expression")
        return None
    if call.name in FILTERS:
        return _filtered(built, call, problems)
    if call.name in REDUCERS:
        return _reduced(built, call, problems)
    return _comparison(built, call, problems)


def _filtered(built: tree.Value | tree.Stream, call: Call, problems: Problems) -> Built | None:
    if not isinstance(built, tree.Stream):
        wrong = "it must come before the reducer" if isinstance(built, tree.Aggregate) else "it filters event(…)"
        problems.add(call.position, f"found {call.name}() after {noun(built)}; {wrong}")
        return None
    if call.name == "where":
        found: tree.Filter | None = calls.where(call, problems, build_condition)
    elif call.name == "sources":
        found = calls.sources(call, problems)
    elif call.name == "within":
        found = calls.within(call, problems)
    else:
        found = calls.between(call, problems)
    if found is None:
        return built
    return tree.Stream(event=built.event, filters=(*built.filters, found), position=built.position)


def _reduced(built: tree.Value | tree.Stream, call: Call, problems: Problems) -> tree.Value | None:
    if isinstance(built, tree.Aggregate) and isinstance(built.reducer, tree.Unique) and call.name == "count":
        calls.count(call, problems)
        reducer = tree.UniqueCount(of=built.reducer.of, position=built.reducer.position)
        return tree.Aggregate(stream=built.stream, reducer=reducer, position=built.position)
    if not isinstance(built, tree.Stream):
        only = "only unique(…) takes count() after it" if call.name == "count" else "it reduces event(…)"
        problems.add(call.position, f"found {call.name}() after {noun(built)}; {only}")
        return None
    made = calls.reducer(call, problems, build_scalar)
    return None if made is None else tree.Aggregate(stream=built, reducer=made, position=built.position)


def _comparison(built: tree.Value | tree.Stream, call: Call, problems: Problems) -> tree.Boolean | None:
    comparator = Comparator(call.name)
    arguments = calls.comparator_arguments(call, comparator, problems, build_scalar)
    if isinstance(built, tree.Stream) and comparator in (Comparator.EXISTS, Comparator.ABSENT):
        return None if arguments is None else _counted(built, comparator)
    left = _compared(built, f"{call.name}()", call.position, problems)
    if left is None or arguments is None:
        return None
    return tree.Comparison(left=left, comparator=comparator, arguments=arguments, position=left.position)


def _counted(stream: tree.Stream, comparator: Comparator) -> tree.Comparison:
    """A stream that exists has at least one event; an absent one has none."""
    exists = comparator is Comparator.EXISTS
    return tree.Comparison(
        left=tree.Aggregate(stream=stream, reducer=tree.Count(position=stream.position), position=stream.position),
        comparator=Comparator.AT_LEAST if exists else Comparator.EQUALS,
        arguments=(tree.LiteralValue(value=1 if exists else 0, position=stream.position),),
        position=stream.position,
    )
