"""An SQL trait's statement, as far as its text alone can be judged; the database is the judge of the rest."""

from __future__ import annotations

import re

_BEGINS = ("select", "with", "values", "table")
# What the eye skips: comments and what is quoted, so that a semicolon in there ends nothing.
_SKIPPED = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(\w*)\$.*?\$\1\$", re.DOTALL)


def problem(sql: str) -> tuple[int, int, str] | None:
    """(line, column, sentence) of what keeps a text from being one SELECT; None if nothing seems to."""
    bare = _SKIPPED.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), sql)
    first = re.search(r"\S+", bare)
    if first is None:
        return 1, 1, "found an empty text, expected a SELECT"
    word = re.match(r"\w+", first[0])
    if first[0][0] != "(" and (word is None or word[0].lower() not in _BEGINS):
        return *_place(sql, first.start()), f"found {first[0][:30]!r}, expected SELECT, WITH, VALUES or TABLE"
    end = bare.find(";")
    if end >= 0 and (following := re.search(r"\S", bare[end + 1 :])):
        return *_place(sql, end + 1 + following.start()), "found a second statement, expected one SELECT"
    return None


def without_end(sql: str) -> str:
    """The statement without the semicolon that may end it, so that it can stand in parentheses."""
    bare = _SKIPPED.sub(lambda found: " " * len(found[0]), sql)
    end = bare.find(";")
    return sql if end < 0 else sql[:end]


def _place(sql: str, offset: int) -> tuple[int, int]:
    before = sql[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1
