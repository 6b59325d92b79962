"""Every request under /api/, in the order of arrival."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(kw_only=True, slots=True, eq=False)
class Record:
    """`monotonic` and `finished` are seconds of this host's monotonic clock.

    `status` is None while the request is under way, and stays so where the connection was cut; `fault` names what was
    done to it; `acted` says whether it changed anything, and `turn` which request in the order of acting it was.
    """

    sequence: int
    monotonic: float
    unix: float
    method: str
    path: str
    body: bytes = b""
    status: int | None = None
    finished: float | None = None
    fault: str | None = None
    acted: bool = False
    turn: int | None = None

    def shown(self) -> dict[str, Any]:
        return {
            "sequence": self.sequence,
            "monotonic": self.monotonic,
            "unix": self.unix,
            "finished": self.finished,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "fault": self.fault,
            "acted": self.acted,
            "turn": self.turn,
            "body": _readable(self.body),
        }


class Records:
    """Remembers the last `limit` requests; the counts go on over all of them."""

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._kept: list[Record] = []
        self._dropped = 0
        self._acted = 0
        self.counts: Counter[tuple[str, str]] = Counter()

    def __len__(self) -> int:
        return self._dropped + len(self._kept)

    def arrive(self, method: str, path: str, monotonic: float, unix: float) -> Record:
        record = Record(sequence=len(self) + 1, monotonic=monotonic, unix=unix, method=method, path=path)
        self._kept.append(record)
        # Cut in large steps, as cutting the front of a list moves the rest of it.
        if len(self._kept) > self._limit + max(1000, self._limit // 10):
            surplus = len(self._kept) - self._limit
            del self._kept[:surplus]
            self._dropped += surplus
        return record

    def act(self, record: Record) -> None:
        self._acted += 1
        record.acted, record.turn = True, self._acted

    def finish(self, record: Record, status: int | None, monotonic: float) -> None:
        record.status = status
        record.finished = monotonic
        self.counts[record.path, str(status) if status is not None else "cut"] += 1

    def after(self, sequence: int, limit: int) -> list[Record]:
        """Up to `limit` records above `sequence`, oldest first."""
        start = max(0, sequence - self._dropped)
        return self._kept[start : start + limit]


def _readable(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
