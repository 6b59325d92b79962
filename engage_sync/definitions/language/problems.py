"""Problems of one query, collected while it is read; all of them are told at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from engage_sync import errors
from engage_sync.definitions.language.tree import Position

MAX_PROBLEMS = 100  # nobody reads further; what is left out comes once these are mended
MAX_NAME = 100  # a longer word is no misspelling, and slow to compare


class Problems:
    """Collects problems; the same place is told of once, as a second message there follows from the first."""

    def __init__(self) -> None:
        self._found: dict[Position, errors.Problem] = {}

    def add(self, position: Position, message: str) -> None:
        problem = errors.Problem(path="", line=position.line, column=position.column, message=message)
        self._found.setdefault(position, problem)

    def __bool__(self) -> bool:
        return bool(self._found)

    def sorted(self) -> list[errors.Problem]:
        return sorted(self._found.values())[:MAX_PROBLEMS]


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'within'?` for the known name closest to this one, or nothing."""
    found = closest(name, known)
    return f"; did you mean '{found}'?" if found else ""


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that this one is most like, whatever its case; None where none is near."""
    if len(name) > MAX_NAME:
        return None
    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def shortened(text: str, limit: int = 40) -> str:
    """Text as a message may quote it: on one line, printable, not longer than `limit`."""
    printable = "".join(character if character.isprintable() else "�" for character in text)
    return printable if len(printable) <= limit else f"{printable[: limit - 1]}…"


def listed(names: Iterable[str], *, last: str = "or") -> str:
    """`a`, `a or b`, `a, b or c`."""
    *others, final = names
    return f"{', '.join(others)} {last} {final}" if others else final
