"""Lines of a file, gzipped or not, with bounded memory."""

from __future__ import annotations

import gzip
from collections.abc import Generator
from pathlib import Path
from typing import IO, cast

from engage_sync import errors

# An archive may hold larger calls than the tracking API takes, but a line has an end.
MAX_BYTES = 1024 * 1024
_BUFFER = 1024 * 1024


def read(path: Path) -> Generator[tuple[int, bytes], None, None]:
    """Each line with its number, from 1; empty ones are left out, and of longer ones than MAX_BYTES only the beginning
    comes (see `whole`). Raises errors.UsageError where the file can't be read.
    """
    number = 0
    try:
        with _open(path) as file:
            while line := file.readline(MAX_BYTES + 1):
                number += 1
                if len(line) > MAX_BYTES:
                    _skip_rest(file, line)
                elif line.isspace():
                    continue
                yield number, line
    except (OSError, EOFError) as failure:
        raise errors.UsageError(f"{path}: can't be read past line {number}: {failure}") from failure


def whole(line: bytes) -> bytes:
    """The line itself. Raises errors.CallInvalid where it was too long to be read to its end."""
    if len(line) > MAX_BYTES:
        raise errors.CallInvalid(f"row: larger than {MAX_BYTES} bytes")
    return line


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb", _BUFFER)


def _skip_rest(file: IO[bytes], line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = file.readline(_BUFFER)
