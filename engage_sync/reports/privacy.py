"""Who asked to be left alone or forgotten, and how far that is: without a word about who they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.outbox import forgetting
from engage_sync.outbox.forgetting import Answer
from engage_sync.profiles import privacy
from engage_sync.profiles.privacy import PrivacyRequest

_DROPPED = text("SELECT suppressed_calls FROM installation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """How many identifiers a destination answered alike; the first reason of several."""

    destination: str
    status: str
    requests: int
    reason: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """A request, and what destinations said to it."""

    request: PrivacyRequest
    destinations: list[Summary]

    @property
    def status(self) -> str:
        """undone, deleting, waiting (for destinations), refused (by one), or done."""
        states = {each.status for each in self.destinations}
        if self.request.undone_at is not None:
            return "undone"
        if self.request.finished_at is None:
            return "deleting"
        return next((state for state in ("refused", "waiting") if state in states), "done")

    def document(self) -> dict[str, Any]:
        request = asdict(self.request)
        del request["profiles"]
        return {
            **request,
            "kind": str(self.request.kind),
            "status": self.status,
            "destinations": [asdict(each) for each in self.destinations],
        }


def recorded(connection: Connection, *, ids: Sequence[int] | None = None, limit: int | None = None) -> list[Recorded]:
    """Requests, the newest first."""
    requests = privacy.listing(connection, ids=ids, limit=limit)
    answers = forgetting.answers(connection, [each.id for each in requests])
    return [
        Recorded(request=each, destinations=summary([one for one in answers if one.request_id == each.id]))
        for each in requests
    ]


def answered(connection: Connection, ids: Sequence[int]) -> list[Summary]:
    """What destinations said to these requests together."""
    return summary(forgetting.answers(connection, ids))


def summary(answers: Sequence[Answer]) -> list[Summary]:
    """Answers, counted by destination and status."""
    counts = Counter((each.destination, each.status) for each in answers)
    reasons: dict[tuple[str, str], str | None] = {}
    for each in answers:
        reasons.setdefault((each.destination, each.status), each.reason)
    return [
        Summary(destination=destination, status=status, requests=number, reason=reasons[destination, status])
        for (destination, status), number in sorted(counts.items())
    ]


def dropped_calls(connection: Connection) -> int:
    """How many calls of suppressed people were dropped, ever."""
    return int(connection.execute(_DROPPED).scalar_one())
