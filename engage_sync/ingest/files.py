"""Reading files: Segment calls as JSON lines, or rows of a table with a mapping (see tabular).

Reads files, writes nothing. Gives normalised calls with flat memory, however large the file. A row that is
no call comes with the reason instead, and doesn't stop the others.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from engage_sync import errors
from engage_sync.ingest import accept, lines
from engage_sync.ingest.calls import FileRow
from engage_sync.ingest.mapping import RowMapping
from engage_sync.ingest.repetitions import RowIds

_JSON_LINES = (".jsonl", ".ndjson", ".json")


def read(path: Path, mapping: RowMapping | None) -> Generator[FileRow, None, None]:
    """The rows of a file in their order. Raises errors.UsageError where the file can't be read so.

    One by one, so that a call is gone before the next is parsed: thousands of them at once cost more in garbage
    collection than in parsing.
    """
    if not path.is_file():
        raise errors.UsageError(f"{path}: there is no such file.")
    if mapping is not None:
        # DuckDB takes a tenth of a second to load, which only those should wait for who need it.
        from engage_sync.ingest import tabular

        return tabular.read(path, mapping)
    name = path.name.lower().removesuffix(".gz")
    if not name.endswith(_JSON_LINES):
        raise errors.UsageError(
            f"{path}: Segment calls are read from .jsonl, .ndjson or .json files (also .gz), one call a line. "
            "Rows of a CSV or Parquet file need a mapping: --as track --event NAME --user-id COLUMN"
        )
    return _read_calls(path)


def _read_calls(path: Path) -> Generator[FileRow, None, None]:
    ids = RowIds()
    for number, line in lines.read(path):
        try:
            call = accept.parse(lines.whole(line))
            if call.__class__ is dict and not call.get("messageId"):
                call["messageId"] = ids.of(line.strip())
            yield FileRow(number, line, accept.normalise(call))
        except errors.CallInvalid as invalid:
            yield FileRow(number, line, None, str(invalid))
