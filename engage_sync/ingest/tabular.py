"""Rows of CSV, TSV, Parquet (read by DuckDB, with bounded memory) and JSON-lines files as calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import orjson

from engage_sync import errors
from engage_sync.ingest import accept, lines
from engage_sync.ingest.calls import FileRow
from engage_sync.ingest.mapping import RowMapping
from engage_sync.ingest.repetitions import RowIds

# As many as DuckDB has in a vector.
_FETCHED = 2048
_SAMPLE = 10_000
_TEXT = (".csv", ".tsv", ".txt")
_JSON = (".jsonl", ".ndjson", ".json")
_UNIX_TIME = re.compile(r"-?[0-9]{9,13}(\.[0-9]+)?")


def read(path: Path, mapping: RowMapping) -> Generator[FileRow, None, None]:
    """The rows as normalised calls. Raises errors.UsageError where file and mapping don't fit."""
    if mapping.as_ == "track" and not mapping.event:
        raise errors.UsageError("Rows as track calls need the event's name: --event 'Order Completed'")
    if _has_suffix(path, *_JSON):
        # Not by DuckDB, which leaves out the lines that it can't read, without a word.
        return _read_lines(path, mapping, _chosen(mapping, _json_columns(path), path))
    database = duckdb.connect(config={"memory_limit": "256MB", "threads": 1})
    try:
        database.execute("SET TimeZone = 'UTC'")
        source, arguments = _source(path, mapping)
        described = database.execute("DESCRIBE SELECT * FROM " + source, arguments).fetchall()  # noqa: S608 - ours
        chosen = _chosen(mapping, [column[0] for column in described], path)
        rows = database.execute(_statement(source, mapping, chosen), arguments)
    except duckdb.Error as failure:
        database.close()
        raise errors.UsageError(f"{path}: can't be read: {_first_line(failure)}") from failure
    except errors.UsageError:
        database.close()
        raise
    return _read_table(path, database, rows, mapping, [name for _, name in chosen])


def _read_table(
    path: Path, database: Any, rows: Any, mapping: RowMapping, names: Sequence[str]
) -> Generator[FileRow, None, None]:
    ids = RowIds()
    number = 0
    try:
        while found := rows.fetchmany(_FETCHED):
            for row in found:
                number += 1
                yield _of_columns(number, row, mapping, names, ids)
        # What was skipped is known once everything was read.
        if _has_suffix(path, *_TEXT):
            yield from _skipped(database)
    except duckdb.Error as failure:
        raise errors.UsageError(f"{path}: can't be read past row {number}: {_first_line(failure)}") from failure
    finally:
        database.close()


def _read_lines(path: Path, mapping: RowMapping, chosen: Sequence[tuple[str, str]]) -> Generator[FileRow, None, None]:
    ids = RowIds()
    for number, line in lines.read(path):
        try:
            row = accept.parse(lines.whole(line))
            if not isinstance(row, dict):
                raise errors.CallInvalid("row: expected a JSON object")
            if mapping.chosen is None:
                chosen = [(column, column) for column in row if column not in mapping.known]
            contents = {name: row[column] for column, name in chosen if row.get(column) is not None}
            known = _Known(*(row.get(column) if column else None for column in mapping.known))
            yield FileRow(number, line, _call(mapping, contents, known, partial(ids.of, line.strip())))
        except errors.CallInvalid as invalid:
            yield FileRow(number, line, None, str(invalid))


def _source(path: Path, mapping: RowMapping) -> tuple[str, list[Any]]:
    if _has_suffix(path, *_TEXT):
        return "read_csv(?, store_rejects = true, types = ?)", [str(path), _forced(path, mapping)]
    if _has_suffix(path, ".parquet", ".pq"):
        return "read_parquet(?)", [str(path)]
    raise errors.UsageError(f"{path}: expected a .csv, .tsv, .parquet, .jsonl or .ndjson file (also .gz).")


def _forced(path: Path, mapping: RowMapping) -> dict[str, str]:
    """Columns of identifiers, those that the file has, as text."""
    with duckdb.connect() as database:
        described = database.execute("DESCRIBE SELECT * FROM read_csv(?)", [str(path)]).fetchall()
    known = {column[0] for column in described}
    # DuckDB takes no empty map here.
    forced = {name: "VARCHAR" for name in mapping.identifying if name in known}
    return forced or {described[0][0]: described[0][1]}


def _chosen(mapping: RowMapping, columns: Sequence[str], path: Path) -> tuple[tuple[str, str], ...]:
    """The (column, name) of properties or traits; checks that the file has all columns of the mapping."""
    known = [column for column in mapping.known if column is not None]
    chosen = mapping.chosen
    if chosen is None:
        chosen = tuple((column, column) for column in columns if column not in known)
    for column in (*known, *(column for column, _ in chosen)):
        if column not in columns:
            raise errors.UsageError(f"{path}: there is no column {column!r}. It has: {', '.join(columns)}")
    return chosen


def _statement(source: str, mapping: RowMapping, chosen: Sequence[tuple[str, str]]) -> str:
    selected = [f"CAST({_quote(column)} AS VARCHAR)" if column else "NULL" for column in mapping.known]
    selected += ["to_json(" + _quote(column) + ")" for column, _ in chosen]
    # Names of columns can't be parameters; they are quoted, and the statement runs in a database of its own.
    return f"SELECT {', '.join(selected)} FROM {source}"  # noqa: S608


def _json_columns(path: Path) -> list[str]:
    """The names in the first rows, to tell a mapping's slip from a column that a row just doesn't have."""
    names: dict[str, None] = {}
    with closing(lines.read(path)) as found:
        for _, line in islice(found, _SAMPLE):
            try:
                row = accept.parse(lines.whole(line))
            except errors.CallInvalid:
                continue
            if isinstance(row, dict):
                names |= dict.fromkeys(row)
    return list(names)


class _Known(NamedTuple):
    """What a row says in the columns that mean something, in the order of RowMapping.known."""

    user_id: Any
    anonymous_id: Any
    email: Any
    message_id: Any
    timestamp: Any


def _of_columns(number: int, row: Sequence[Any], mapping: RowMapping, names: Sequence[str], ids: RowIds) -> FileRow:
    known, values = _Known(*row[: len(_Known._fields)]), row[len(_Known._fields) :]
    # The places of the columns are part of the content: the same values in other columns are another row.
    content = orjson.dumps(row)
    try:
        contents = {
            name: accept.parse(value.encode())
            for name, value in zip(names, values, strict=True)
            if value is not None and value != "null"
        }
        return FileRow(number, content, _call(mapping, contents, known, partial(ids.of, content)))
    except errors.CallInvalid as invalid:
        return FileRow(number, content, None, str(invalid))


def _call(mapping: RowMapping, contents: dict[str, Any], known: _Known, make_id: Callable[[], str]) -> dict[str, Any]:
    call: dict[str, Any] = {"type": mapping.as_, "userId": known.user_id, "anonymousId": known.anonymous_id}
    call |= {"timestamp": _time(known.timestamp), "messageId": known.message_id or make_id()}
    if mapping.as_ == "identify":
        call["traits"] = contents
        if known.email is not None:
            contents.setdefault("email", known.email)
    else:
        call |= {"event": mapping.event, "properties": contents}
        if known.email is not None:
            call["context"] = {"traits": {"email": known.email}}
    return accept.normalise(call)


def _time(timestamp: Any) -> Any:
    if isinstance(timestamp, str) and _UNIX_TIME.fullmatch(timestamp):
        return float(timestamp)
    return timestamp


def _skipped(database: Any) -> Generator[FileRow, None, None]:
    """Lines that aren't rows of the table at all; they come last, with the number of their line."""
    found = database.execute(
        "SELECT line, any_value(csv_line), any_value(error_message) FROM reject_errors GROUP BY line ORDER BY line"
    ).fetchall()
    for line, text, message in found:
        yield FileRow(line, (text or "").encode(), None, _first_line(message))


def _has_suffix(path: Path, *suffixes: str) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(suffixes)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _first_line(failure: object) -> str:
    return next(iter(str(failure).strip().splitlines()), "unknown")
