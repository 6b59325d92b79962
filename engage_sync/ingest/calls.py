"""A call on its way from a source to the resolver."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple


@dataclass(frozen=True, kw_only=True, slots=True)
class IncomingCall:
    """One normalised call (see accept.normalise).

    `received_at` is the database's clock at the arrival, aware. `row` is the number of the row in a file, from 1; None
    for a call that came by HTTP. A file is an archive: its `timestamp` counts as it stands, and an unreadable one is
    the row's mistake, where by HTTP the time of arrival takes its place.
    """

    source_id: int
    received_at: datetime
    body: dict[str, Any]
    row: int | None = None


class FileRow(NamedTuple):
    """One row. `number` counts from 1; `body` is the normalised call, or None with the `reason` why there is none."""

    number: int
    raw: bytes
    body: dict[str, Any] | None
    reason: str = ""
