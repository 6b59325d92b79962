"""Who stands in line to be forgotten by destinations, and how long that lasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from engage_sync.destinations import queueing
from engage_sync.destinations.protocol import Destination
from engage_sync.outbox import forgetting

_UNITS = (("days", 86_400), ("hours", 3_600), ("minutes", 60))


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """So many identifiers stand in it; the turn of the last is so many seconds from now, if nothing is in the way."""

    destination: str
    waiting: int
    seconds: float

    @property
    def lasting(self) -> str:
        """For how long, as people say it."""
        for name, length in _UNITS:
            if self.seconds >= 2 * length:
                return f"about {self.seconds / length:,.0f} {name}"
        return "less than two minutes"


def lines(connection: Connection, destinations: Mapping[str, Destination]) -> dict[str, Line]:
    """Those in which somebody stands, by destination: at their rates and daily limits."""
    taken = forgetting.taken_within_a_day(connection)
    found = {}
    for each in forgetting.still_open(connection):
        destination = destinations.get(each.destination)
        queue = queueing.of_forgetting(destination) if destination is not None else None
        if each.waiting and queue is not None:
            seconds = queue.seconds(each.waiting - 1, taken.get(each.destination_id, 0))
            found[each.destination] = Line(destination=each.destination, waiting=each.waiting, seconds=seconds)
    return found
