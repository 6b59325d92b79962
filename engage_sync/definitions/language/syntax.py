"""From tokens to the tree of the grammar, and what to say where the grammar takes no further token."""

from __future__ import annotations

from typing import TypeGuard

from lark import Token, Tree
from lark.exceptions import UnexpectedToken
from lark.parsers.lalr_interactive_parser import InteractiveParser

from engage_sync.definitions.language.problems import Problems, listed
from engage_sync.definitions.language.tokens import describe_token, language, position, read_tokens

Syntax = Tree[Token]

# What a message says for a set of terminals, in this order.
EXPECTED = {
    "NAME": "a function such as event(…) or trait(…)",
    "TEXT": "a value",
    "DOT": "a dot",
    "OPERATOR": "a comparison such as >= 1",
    "AND": "AND",
    "OR": "OR",
    "COMMA": "a comma",
    "LPAR": "(",
    "RPAR": ")",
    "RBRACE": "}",
    "$END": "the end",
}


def parse_syntax(query: str, problems: Problems) -> Syntax | None:
    """The tree as the grammar has it, or None when the text doesn't follow the grammar; problems say why."""
    read = read_tokens(query, problems)
    if read is None:
        return None
    parser = language().parse_interactive()
    token = read.tokens[-1]
    try:
        for token in read.tokens:
            parser.feed_token(token)
        parsed: Syntax = parser.feed_token(Token("$END", "", line=token.end_line, column=token.end_column))
    except UnexpectedToken as error:
        # A closing parenthesis that we put in ourselves makes the parser speak of places that are no mistake.
        if not read.repaired:
            _explain(error.token, parser, problems)
        return None
    return parsed


def _explain(token: Token, parser: InteractiveParser, problems: Problems) -> None:
    previous = parser.parser_state.value_stack[-1] if parser.parser_state.value_stack else None
    accepted = _accepted(parser)
    found = "the end of the query" if token.type == "$END" else describe_token(token)
    if isinstance(previous, Token) and previous.type == "NUMBER":
        accepted.discard("NAME")  # it would be a unit of time
    if _is_name(previous) and "LPAR" in accepted:
        problems.add(position(previous), f"found {previous} without parentheses, expected {previous}(…)")
    elif token.type == "NAME" and "AND" in accepted:
        problems.add(position(token), f"found {found}, expected AND or OR before another expression")
    elif token.type == "LPAR" and _is_name(previous):
        problems.add(position(token), f"found (, expected a function before it, not {previous}")
    elif isinstance(previous, Token) and previous.type == "DOT":
        problems.add(position(token), f"found {found}, expected a function such as count() after the dot")
    else:
        problems.add(position(token), f"found {found}, expected {_expected(accepted)}")


def _accepted(parser: InteractiveParser) -> set[str]:
    terminals: set[str] = parser.accepts()  # type: ignore[no-untyped-call]
    return terminals


def _is_name(value: object) -> TypeGuard[Token]:
    return isinstance(value, Token) and value.type == "NAME"


def _expected(accepted: set[str]) -> str:
    return listed([text for terminal, text in EXPECTED.items() if terminal in accepted] or ["something else"])
