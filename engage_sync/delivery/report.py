"""What a deliverer did, for people and tests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from engage_sync.messages.message import Message
from engage_sync.outbox.settle import Failed, Postponed, Settlement, Taken


@dataclass(slots=True)
class Tally:
    """Messages by how they ended. `retried` counts attempts that were put off, not messages.

    `withheld` were kept from being sent (`allow`).
    """

    delivered: int = 0
    skipped: int = 0
    withheld: int = 0
    failed: int = 0
    retried: int = 0

    def count(self, settlement: Settlement) -> None:
        match settlement:
            case Taken(withheld=True):
                self.withheld += 1
            case Taken(skipped=True):
                self.skipped += 1
            case Taken():
                self.delivered += 1
            case Failed():
                self.failed += 1
            case Postponed():
                self.retried += 1


@dataclass(slots=True)
class Report(Tally):
    """What this deliverer settled, in all and by the definitions' keys; `waiting` is what is left in the outbox."""

    waiting: int = 0
    by_key: dict[str, Tally] = field(default_factory=dict)

    def settled(self, settlements: Iterable[Settlement]) -> None:
        for settlement in settlements:
            self.count(settlement)
            if settlement.message.definition_id is not None:
                self.by_key.setdefault(_key(settlement.message), Tally()).count(settlement)


def _key(message: Message) -> str:
    return message.subject.key if message.subject is not None else ""
