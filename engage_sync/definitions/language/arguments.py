"""The arguments of one call, and what each function may say about those it doesn't take."""

from __future__ import annotations

from dataclasses import dataclass

from lark import Token, Tree

from engage_sync.definitions.language import literals, tree
from engage_sync.definitions.language.problems import Problems, shortened
from engage_sync.definitions.language.syntax import Syntax
from engage_sync.definitions.language.tokens import position


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One argument as written: `parent: 5 days`, `property('x') as string`, `'a'`."""

    label: Token | None
    syntax: Syntax
    as_type: Token | None
    position: tree.Position


@dataclass(frozen=True, kw_only=True)
class Call:
    """One function with its arguments; braces around arguments mean nothing and are gone."""

    name: str
    arguments: tuple[Argument, ...]
    position: tree.Position


def read_call(syntax: Syntax) -> Call:
    name, *arguments = syntax.children
    assert isinstance(name, Token)
    flat = [read for argument in arguments if isinstance(argument, Tree) for read in _flattened(argument)]
    return Call(name=str(name), arguments=tuple(flat), position=position(name))


def _flattened(syntax: Syntax) -> list[Argument]:
    children = [child for child in syntax.children if isinstance(child, Tree)]
    if syntax.data == "braces":
        return [read for child in children for read in _flattened(child)]
    label = as_type = None
    value = syntax
    for child in children:
        if child.data == "label":
            label = _token(child)
        elif child.data == "as_type":
            as_type = _token(child)
        else:
            value = child
    return [Argument(label=label, syntax=value, as_type=as_type, position=start(value))]


def _token(syntax: Syntax) -> Token:
    token = syntax.children[-1]
    assert isinstance(token, Token)
    return token


def start(syntax: Syntax) -> tree.Position:
    return tree.Position(syntax.meta.line, syntax.meta.column)


def expect_plain(call: Call, problems: Problems, *, label: str | None = None, types: tuple[str, ...] = ()) -> None:
    """Tells of every label and type but those this function knows; a label belongs to the first argument."""
    for index, argument in enumerate(call.arguments):
        if argument.label is not None and (argument.label != label or index > 0):
            expected = f"expected {label}: before the first argument" if label else "expected no label"
            problems.add(position(argument.label), f"found {shortened(argument.label)}: in {call.name}(), {expected}")
        if argument.as_type is not None and (argument.as_type not in types or index > 0):
            expected = f"expected as {' or as '.join(types)}" if types else "expected no type"
            found = f"as {shortened(argument.as_type)}"
            problems.add(position(argument.as_type), f"found {found} in {call.name}(), {expected}")


def expect_count(call: Call, problems: Problems, least: int, most: int | None, what: str) -> bool:
    """Whether the number of arguments is right; `what` says what they should be."""
    found = len(call.arguments)
    if found >= least and (most is None or found <= most):
        return True
    number = "none" if found == 0 else str(found)
    problems.add(call.position, f"{call.name}() takes {what}; found {number}")
    return False


def read_texts(call: Call, problems: Problems, what: str) -> list[str] | None:
    """All arguments as texts, none of them empty."""
    texts = [read_one_text(argument, problems, call.name, what) for argument in call.arguments]
    found = [text for text in texts if text is not None]
    return found if len(found) == len(texts) else None


def read_one_text(argument: Argument, problems: Problems, name: str, what: str) -> str | None:
    if argument.syntax.data != "text":
        problems.add(argument.position, f"found {described(argument.syntax)} in {name}(), expected {what} in quotes")
        return None
    text = literals.read_text(_token(argument.syntax), problems)
    if text == "":
        problems.add(argument.position, f"found an empty text in {name}(), expected {what}")
        return None
    return text


def read_duration(argument: Argument, problems: Problems, name: str) -> tree.Duration | None:
    if argument.syntax.data != "duration":
        found = described(argument.syntax)
        problems.add(argument.position, f"found {found} in {name}(), expected a time such as 30 days")
        return None
    amount, unit = argument.syntax.children
    assert isinstance(amount, Token)
    assert isinstance(unit, Token)
    return literals.read_duration(amount, unit, problems)


def described(syntax: Syntax) -> str:
    """What stands there, as a message says it."""
    match syntax.data:
        case "text":
            return f"the text {shortened(_token(syntax))}"
        case "number":
            return f"the number {shortened(_token(syntax))}"
        case "date" | "timestamp" | "word":
            return shortened(_token(syntax))
        case "duration":
            return f"the time {shortened(' '.join(str(child) for child in syntax.children))}"
        case "chain":
            names = [str(child.children[0]) for child in syntax.children if isinstance(child, Tree)]
            return f"{shortened(names[0])}(…)"
        case _:
            return "a condition"
