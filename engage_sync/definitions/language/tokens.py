"""From a query's text to tokens that the grammar takes.

What is plainly a slip (a typographic quote, `and` for AND, `=>`) is told of and read as what was meant, so that one
pass over a query finds the problems behind the slip too.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib import resources

from lark import Lark, Token

from engage_sync.definitions.language.missing import with_missing
from engage_sync.definitions.language.problems import Problems, shortened
from engage_sync.definitions.language.tree import Position

MAX_CHARACTERS = 20_000
MAX_DEPTH = 40  # of parentheses, braces, NOT, ANY and ALL: what reads the tree is recursive

QUOTES = "‘’‚‛“”„‟«»‹›`´"
PREFIXES = frozenset({"NOT", "ANY", "ALL"})
JUNCTIONS = frozenset({"AND", "OR"}) | PREFIXES
CLOSING = {"LPAR": "RPAR", "LBRACE": "RBRACE"}
SYMBOLS = {"LPAR": "(", "RPAR": ")", "LBRACE": "{", "RBRACE": "}"}
SLIPS = {"<>": "!=", "=>": ">=", "=<": "<=", "≥": ">=", "≤": "<=", "≠": "!=", "===": "=", "!==": "!="}


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """`repaired`: missing closing signs were put at the end, so what the parser says about them isn't worth telling."""

    tokens: tuple[Token, ...]
    repaired: bool


@cache
def language() -> Lark:
    grammar = resources.files(__package__).joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", lexer="basic", propagate_positions=True, maybe_placeholders=False)


def position(token: Token) -> Position:
    return Position(token.line or 1, token.column or 1)


def read_tokens(query: str, problems: Problems) -> Tokens | None:
    """All tokens of the text; None if it can't be read any further."""
    if len(query) > MAX_CHARACTERS:
        problems.add(Position(1, 1), f"found {len(query)} characters, expected at most {MAX_CHARACTERS}")
        return None
    tokens = [_mended(token, problems) for token in language().lex(query)]
    if not tokens and not problems:
        problems.add(Position(1, 1), "the query is empty; expected an expression such as event('Order Completed')")
    if problems and any(token.type in ("OPEN_TEXT", "OTHER") for token in tokens):
        return None
    if not tokens or not _shallow(tokens, problems):
        return None
    tokens = with_missing(tokens, problems)
    closed = _closed(tokens, problems)
    return None if closed is None else Tokens(tokens=closed, repaired=len(closed) != len(tokens))


def _mended(token: Token, problems: Problems) -> Token:
    match token.type:
        case "CURLY_TEXT":
            problems.add(position(token), f"found the typographic quote {token[0]}, expected a plain quote ' or \"")
            return Token.new_borrow_pos("TEXT", f"'{token[1:-1]}'", token)
        case "OPEN_TEXT":
            _refuse_open_text(token, problems)
        case "OTHER":
            problems.add(position(token), _refused_character(token))
        case "SLIP":
            problems.add(position(token), f"found {token}, expected {SLIPS[token]}")
            return Token.new_borrow_pos("OPERATOR", SLIPS[token], token)
        case "OTHER_DATE":
            problems.add(position(token), f"found {token}, expected a date as year-month-day, such as 2022-10-17")
            return Token.new_borrow_pos("DATE", "2000-01-01", token)
        case "NAME" if token.upper() in JUNCTIONS:
            problems.add(position(token), f"found '{token}', expected {token.upper()}: junction words are upper case")
            return Token.new_borrow_pos(token.upper(), token.upper(), token)
        case _:
            pass
    return token


def _refuse_open_text(token: Token, problems: Problems) -> None:
    message = f"the text that opens with {token[0]} here is never closed; expected {token[0]} on the same line"
    curly = next((index for index, character in enumerate(token) if character in QUOTES), None)
    if curly is not None:
        column = position(token).column + curly
        message += f" (the typographic quote {token[curly]} at column {column} closes nothing)"
    problems.add(position(token), message)


def _refused_character(character: str) -> str:
    if character in QUOTES:
        return f"found the typographic quote {character}, expected a plain quote ' or \""
    if character == "!":
        return "found !, expected NOT before an expression, or != between two values"
    if character in "&|":
        return f"found {character}, expected {character * 2} or {'AND' if character == '&' else 'OR'}"
    if character in "[]":
        return f"found {character}, expected {'(' if character == '[' else ')'}: only parentheses enclose"
    if not character.isprintable():
        name = unicodedata.name(character, "")
        return f"found the invisible character U+{ord(character):04X}{f' ({name})' if name else ''}; take it out"
    return f"found {character}, which has no meaning here"


def _shallow(tokens: list[Token], problems: Problems) -> bool:
    """Whether nothing is nested too deep; a NOT counts as one level for what it stands before."""
    levels: list[int] = []
    prefixes = 0
    for token in tokens:
        if token.type in CLOSING:
            levels.append(prefixes + 1)
        elif token.type in SYMBOLS and levels:
            levels.pop()
        prefixes = prefixes + 1 if token.type in PREFIXES else 0
        if sum(levels) + prefixes > MAX_DEPTH:
            what = "parentheses" if token.type in CLOSING else "NOT, ANY or ALL"
            problems.add(position(token), f"found {what} nested deeper than {MAX_DEPTH} levels")
            return False
    return True


def _closed(tokens: list[Token], problems: Problems) -> tuple[Token, ...] | None:
    """The tokens with every parenthesis closed, or None where a closing one is wrong."""
    opened: list[Token] = []
    for token in tokens:
        if token.type in CLOSING:
            opened.append(token)
        elif token.type in SYMBOLS:
            if not opened:
                opening = "(" if token.type == "RPAR" else "{"
                problems.add(position(token), f"found {token}, which closes nothing; expected a {opening} before")
                return None
            start = opened.pop()
            if CLOSING[start.type] != token.type:
                where = f"{position(start).line}:{position(start).column}"
                expected = SYMBOLS[CLOSING[start.type]]
                problems.add(position(token), f"found {token}, expected {expected} for the {start} opened at {where}")
                return None
    for token in opened:
        expected = SYMBOLS[CLOSING[token.type]]
        problems.add(position(token), f"the {token} opened here is never closed; expected a {expected}")
    end = tokens[-1]
    return *tokens, *(_closing(token, end) for token in reversed(opened))


def _closing(opened: Token, end: Token) -> Token:
    kind = CLOSING[opened.type]
    return Token.new_borrow_pos(kind, SYMBOLS[kind], end)


def describe_token(token: Token) -> str:
    """The token as a message quotes it."""
    return shortened(str(token))
