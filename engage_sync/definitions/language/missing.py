"""Puts back what is plainly left out between two tokens, so that what follows can be read and checked too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lark import Token

from engage_sync.definitions.language.names import EXTRACTORS, FUNCTIONS, guess
from engage_sync.definitions.language.problems import Problems, shortened
from engage_sync.definitions.language.tree import Position

ENDS_VALUE = frozenset({"RPAR", "TEXT", "NUMBER", "DATE", "TIMESTAMP"})
CONDITION_INSIDE = frozenset({"where", ""})  # the functions, and no function, inside which AND may stand


@dataclass(frozen=True, kw_only=True)
class _Place:
    """What is around a token: `function` is the one whose parentheses enclose it, or the empty text."""

    before: Token | None
    token: Token
    after: Token | None
    function: str


def with_missing(tokens: Sequence[Token], problems: Problems) -> list[Token]:
    """The tokens, with a dot before `count()`, AND before `event(…)`, a comma before an argument, where none is."""
    completed: list[Token] = []
    functions = [""]
    for index, token in enumerate(tokens):
        before = completed[-1] if completed else None
        after = tokens[index + 1] if index + 1 < len(tokens) else None
        missing = _missing(_Place(before=before, token=token, after=after, function=functions[-1]), problems)
        if missing is not None:
            completed.append(missing)
        completed.append(token)
        if token.type == "LPAR":
            functions.append(str(before) if before is not None and before.type == "NAME" else functions[-1])
        elif token.type == "RPAR" and len(functions) > 1:
            functions.pop()
    return completed


def _missing(place: _Place, problems: Problems) -> Token | None:
    token, before, after = place.token, place.before, place.after
    if before is None or before.type not in ENDS_VALUE:
        return None
    where = Position(token.line or 1, token.column or 1)
    found = shortened(token)
    among_values = place.function not in CONDITION_INSIDE
    if token.type == "TEXT" and among_values:
        problems.add(where, f"found {found} right after another value, expected a comma between")
        return Token.new_borrow_pos("COMMA", ",", token)
    if token.type != "NAME" or after is None or after.type != "LPAR":
        return None
    function = str(token) if token in FUNCTIONS else guess(token)
    if function in EXTRACTORS and among_values:
        problems.add(where, f"found {found} right after another value, expected a comma between")
        return Token.new_borrow_pos("COMMA", ",", token)
    if function in EXTRACTORS:
        problems.add(where, f"found {found}, expected AND or OR before another expression")
        return Token.new_borrow_pos("AND", "AND", token)
    if before.type == "RPAR":
        problems.add(where, f"found {found} without a dot, expected .{function or found}(…)")
        return Token.new_borrow_pos("DOT", ".", token)
    return None
