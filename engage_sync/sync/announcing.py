"""What a first push announces before it begins: whom it tells, in how many messages, and how long those take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from engage_sync.definitions.versions import StoredDefinition
from engage_sync.snapshots.telling import Channel
from engage_sync.sync.catalog import Context

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Push:
    """`messages` at most; `seconds` that the slowest destination takes for them one by one, None where it has no rate.

    Backlogs that go in bulk take less.
    """

    people: int
    messages: int
    seconds: float | None

    def document(self) -> dict[str, float | int | None]:
        return {"people": self.people, "messages": self.messages, "seconds": self.seconds}


def announce(
    context: Context, definition: StoredDefinition, channels: Sequence[Channel], people: int, identities: int
) -> Push:
    """Say in the log what is about to be pushed: so many people, who are told as so many identities."""
    rates = [context.rates.get(channel.destination_id, {}).get(channel.call_type) for channel in channels]
    known = [identities / rate for rate in rates if rate]
    push = Push(people=people, messages=identities * len(channels), seconds=round(max(known), 1) if known else None)
    if people:
        log.info("first_push", key=definition.key, **push.document())
    return push
