"""How commands speak: one JSON document on stdout for machines, tables for people; everything else goes to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import SecretStr
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

# Without a terminal nobody knows how wide the reader is: wide enough that no cell is folded.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 240)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_WIDE = 60


def json(document: Any) -> None:
    """Print one JSON document; instants as ISO 8601 in UTC."""
    sys.stdout.buffer.write(orjson.dumps(document, default=_plain, option=orjson.OPT_UTC_Z | orjson.OPT_INDENT_2))
    sys.stdout.buffer.write(b"\n")
    sys.stdout.flush()


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, title: str | None = None) -> None:
    """Print rows as a table; `columns` maps a row's key to the column's heading."""
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, heading in columns.items():
        number = any(isinstance(row.get(name), int | float) and not isinstance(row.get(name), bool) for row in rows)
        made.add_column(heading, justify="right" if number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(escape(shown(row.get(name))) for name in columns))
    out.print(made)


def shown(value: Any) -> str:
    """A value as people read it."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        case float():
            return f"{value:,.1f}"
        case int():
            return f"{value:,}"
        case list() | tuple():
            return ", ".join(shown(item) for item in value)
        case dict():
            text = orjson.dumps(value).decode()
            return text if len(text) <= _WIDE else text[:_WIDE] + "…"
        case _:
            return str(value)


def bar(value: float, most: float, width: int = 24) -> str:
    """A bar as long as a value's share of the largest; a little of it for whatever is above 0."""
    eighths = round(8 * width * value / most) if most else 0
    whole, part = divmod(max(eighths, 1 if value else 0), 8)
    return "█" * whole + (" ▏▎▍▌▋▊▉"[part] if part else "")


def say(line: str) -> None:
    """One line for a person, on stderr."""
    err.print(line, markup=False)


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Progress]:
    """A progress display on stderr; silent where stderr is no terminal."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=err,
        disable=quiet or not err.is_terminal,
        transient=True,
    ) as made:
        yield made


class Bars:
    """One progress bar a name, made when its first progress comes: `bars(name, done, total)`."""

    def __init__(self, display: Progress) -> None:
        self._display = display
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._display.add_task(name, total=total, note="")
        self._display.update(self._tasks[name], completed=done, total=total)


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "**********"
    return str(value)
