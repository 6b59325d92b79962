"""From tokens to values: texts with their escapes, exact numbers, dates, durations, paths."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from lark import Token

from engage_sync.definitions.language import tree
from engage_sync.definitions.language.problems import Problems, nearest, shortened
from engage_sync.definitions.language.tokens import position

MAX_DIGITS = 40
MAX_EXPONENT = 308
MAX_WINDOW = timedelta(days=36_525)  # 100 years

ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'", '"': '"', "/": "/"}
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
PATH_PART = re.compile(r"\\[.\\]|[^.]|\.")
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")
# As long as a number in the data may be.
READS_AS_NUMBER = re.compile(r"[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,2})?")
LONGER_UNITS = frozenset({"month", "months", "quarter", "quarters", "year", "years"})


def read_text(token: Token, problems: Problems) -> str | None:
    """The text between the quotes. `\\.` keeps its backslash: it is the literal dot of a path."""
    unknown: list[str] = []

    def unescaped(match: re.Match[str]) -> str:
        escape = match[1]
        if escape == ".":
            return match[0]
        if len(escape) == 5:
            return chr(int(escape[1:], 16))
        if escape not in ESCAPES:
            unknown.append(escape)
        return ESCAPES.get(escape, escape)

    text = ESCAPE.sub(unescaped, token[1:-1])
    # Two \u escapes may be one character beyond U+FFFF.
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if unknown:
        problems.add(
            position(token), f"found the escape \\{shortened(unknown[0])}, expected \\\\, \\', \\\", \\n or \\t"
        )
        return None
    if "\0" in text:
        problems.add(position(token), "found the character U+0000, which no stored text can hold")
        return None
    return text


def read_path(text: str) -> tuple[str, ...] | None:
    """The elements between unescaped dots; None where one is empty."""
    elements = [""]
    for part in PATH_PART.findall(text):
        if part == ".":
            elements.append("")
        else:
            elements[-1] += part[1] if len(part) == 2 else part
    return tuple(elements) if all(elements) else None


def read_number(token: Token, problems: Problems) -> int | Decimal | None:
    mantissa, _, exponent = token.lower().partition("e")
    if sum(character.isdigit() for character in mantissa) > MAX_DIGITS:
        problems.add(position(token), f"found a number of more than {MAX_DIGITS} digits")
        return None
    # Decimal itself refuses exponents of very many digits.
    number = Decimal(str(token)) if len(exponent) <= MAX_DIGITS // 4 else None
    if number is None or abs(number.adjusted()) > MAX_EXPONENT:
        problems.add(position(token), f"found {shortened(token)}, expected a number between 1e-308 and 1e308")
        return None
    return int(token) if WHOLE_NUMBER.fullmatch(token) else number


def read_date(token: Token, problems: Problems) -> date | None:
    try:
        return date.fromisoformat(str(token))
    except ValueError:
        problems.add(position(token), f"found {token}, which is no day of the calendar")
        return None


def read_timestamp(token: Token, problems: Problems) -> datetime | None:
    instant = parse_instant(token.upper())
    if instant is None:
        problems.add(position(token), f"found {shortened(token)}, expected a timestamp such as 2022-10-17T08:30:00Z")
    return instant


def parse_instant(text: str) -> datetime | None:
    """An ISO 8601 date or timestamp as an instant in UTC; what has no zone is UTC, a bare date its midnight."""
    try:
        instant = datetime.fromisoformat(text.replace(",", "."))
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def read_duration(amount: Token, unit: Token, problems: Problems) -> tree.Duration | None:
    known = {name: found for found in tree.Unit for name in (found.value, f"{found.value}s")}
    found = f"{shortened(amount)} {shortened(unit)}"
    if unit not in known:
        hint = "" if unit.lower() in LONGER_UNITS else nearest(str(unit), known)
        hint = hint or "; expected minutes, hours, days or weeks"
        problems.add(position(unit), f"unknown unit '{shortened(unit)}'{hint}")
    elif amount.startswith("-"):
        problems.add(position(amount), f"found {found}, expected a time that isn't negative")
    elif not WHOLE_NUMBER.fullmatch(amount):
        problems.add(position(amount), f"found {found}, expected a whole number of {known[unit]}s")
    elif len(amount) > MAX_DIGITS or int(amount) > MAX_WINDOW / tree.UNIT_DELTAS[known[unit]]:
        problems.add(position(amount), f"found {found}, expected at most 100 years")
    else:
        return tree.Duration(amount=int(amount), unit=known[unit], position=position(amount))
    return None


def reads_as_number(text: str) -> bool:
    """Whether a text in a query stands for a number, as "120" and "1e3" do in the data."""
    return READS_AS_NUMBER.fullmatch(text) is not None


def reads_as_date(text: str) -> bool:
    return parse_instant(text) is not None
