"""From a place in a YAML scalar's value back to its place in the file, through quotes, escapes, folding and indents."""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass
from typing import TypeAlias

from ruamel.yaml.nodes import ScalarNode

from engage_sync.definitions.language import Position

Anchors: TypeAlias = list[tuple[int, Position]]
"""Offsets in the value, ascending, each with its place in the file; what lies between goes on in the same line."""

DOUBLE_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|\r?\n[ \t]*|.)", re.DOTALL)
FOLD = re.compile(r"[ \t]*(\r?\n[ \t]*)+")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a scalar's value stands in its file."""

    start: Position
    value: str
    anchors: tuple[tuple[int, Position], ...]

    def at(self, line: int, column: int) -> Position:
        """The place in the file of a line and column (from 1) within the value."""
        lines = self.value.split("\n")
        return self.at_offset(sum(len(each) + 1 for each in lines[: line - 1]) + column - 1)

    def at_offset(self, offset: int) -> Position:
        index = bisect.bisect_right(self.anchors, offset, key=lambda anchor: anchor[0]) - 1
        if index < 0:
            return self.start
        known, position = self.anchors[index]
        return Position(position.line, position.column + offset - known)


def place_of(node: ScalarNode, text: str) -> Place:
    """The place of a scalar in the file's whole text."""
    start = Position(node.start_mark.line + 1, node.start_mark.column + 1)
    raw = text[node.start_mark.index : node.end_mark.index]
    if node.style in ("|", ">"):
        anchors = _block(raw, node.value, start.line)
    else:
        anchors = _inline(raw, node.value, start, node.style)
    return Place(start=start, value=node.value, anchors=tuple(anchors))


def _block(raw: str, value: str, first_line: int) -> Anchors:
    """Each line's text is found in the value in turn; folding only changes what is between the lines."""
    anchors: Anchors = []
    searched = 0
    for number, line in enumerate(raw.split("\n")[1:], start=first_line + 1):
        content = line.strip()
        found = value.find(content, searched) if content else -1
        if found >= 0:
            anchors.append((found, Position(number, len(line) - len(line.lstrip()) + 1)))
            searched = found + len(content)
    return anchors


def _inline(raw: str, value: str, start: Position, style: str | None) -> Anchors:
    """Reads the raw text as YAML does, and notes where each character of the value came from."""
    quoted = style in ("'", '"')
    index = 1 if quoted else 0
    end = len(raw) - 1 if quoted else len(raw)
    line, line_start = start.line, -(start.column - 1)
    read, anchors = "", []
    while index < end:
        piece, length = _piece(raw, index, style)
        anchors.append((len(read), Position(line, index - line_start + 1)))
        read += piece
        taken = raw[index : index + length]
        if "\n" in taken:
            line += taken.count("\n")
            line_start = index + taken.rindex("\n") + 1
        index += length
    # A form of YAML that isn't read here (an anchor, a tag) leaves the scalar's beginning as the only known place.
    return anchors if read.rstrip() == value.rstrip() else [(0, start)]


def _piece(raw: str, index: int, style: str | None) -> tuple[str, int]:
    """The text that stands at the index of the raw text, and how much of the raw text it takes."""
    folded = FOLD.match(raw, index)
    if folded:
        breaks = folded[0].count("\n")
        return " " if breaks == 1 else "\n" * (breaks - 1), len(folded[0])
    if style == "'" and raw.startswith("''", index):
        return "'", 2
    escape = DOUBLE_ESCAPE.match(raw, index) if style == '"' else None
    if escape is None:
        return raw[index], 1
    kind = escape[1]
    if kind[0] in "xuU" and len(kind) > 1:
        return chr(int(kind[1:], 16)), len(escape[0])
    if "\n" in kind:
        return "", len(escape[0])
    return {"n": "\n", "t": "\t", "r": "\r"}.get(kind, kind), len(escape[0])
