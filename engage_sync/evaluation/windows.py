"""When an event counts: the ages between which it lies inside a stream's windows, and the edges that it crosses.

Source of the rules: docs/decisions/0004-semantics.md. Both edges of a window are inclusive; an event of the future does
not exist yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from engage_sync.definitions.language import tree
from engage_sync.definitions.language.walk import walk
from engage_sync.evaluation import dates, funnels

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ages:
    """An event counts at `as_of` if as_of − oldest ≤ its timestamp ≤ as_of − youngest; `oldest` None: for ever."""

    youngest: timedelta
    oldest: timedelta | None

    @property
    def is_windowed(self) -> bool:
        return self.oldest is not None or self.youngest > timedelta(0)

    def covers(self, other: Ages) -> bool:
        """Whether every event that counts for the other one counts here."""
        return self.youngest <= other.youngest and (
            self.oldest is None or (other.oldest is not None and other.oldest <= self.oldest)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Crossing:
    """Events of a name whose timestamps lie in [start, end) cross an edge of a window between two instants."""

    event: str
    start: datetime
    end: datetime


def ages(stream: tree.Stream) -> Ages:
    """The intersection of a stream's windows before as_of, in whatever order they stand; not those after a parent."""
    youngest, oldest = timedelta(0), None
    for each in stream.filters:
        match each:
            case tree.Within(of_parent=False):
                near, far = timedelta(0), each.duration.delta
            case tree.Between(of_parent=False):
                near, far = each.nearest.delta, each.farthest.delta
            case _:
                continue
        youngest = max(youngest, near)
        oldest = far if oldest is None else min(oldest, far)
    return Ages(youngest=youngest, oldest=oldest)


def turning_ages(definition: tree.Node) -> Iterator[tuple[str, timedelta]]:
    """(name of events, age): when an event is that old, time alone may change a definition's value.

    It enters a window at its timestamp + youngest, the instant included, and has left it just after timestamp + oldest.
    What follows a parent is decided at the instant when its window closes.
    """
    for node in walk(definition):
        if not isinstance(node, tree.Stream):
            continue
        window = ages(node)
        yield node.event, window.youngest
        if window.oldest is not None:
            yield node.event, window.oldest + _TICK
        for child in funnels.inside(node):
            closes = funnels.closes_after(child)
            if closes is not None:
                yield node.event, closes


def crossings(definition: tree.Node, swept_to: datetime, as_of: datetime) -> Iterator[Crossing]:
    """The ranges of events for which time alone, going from `swept_to` to `as_of`, may change a definition's value.

    Those that reach a turning age in (t0, t1]; timestamps have microseconds, which makes all ranges half-open ones.
    """
    for event, age in turning_ages(definition):
        yield Crossing(event=event, start=swept_to - age + _TICK, end=as_of - age + _TICK)


def turns_for_all(definition: tree.Node, swept_to: datetime, as_of: datetime) -> bool:
    """Whether a literal that is compared with now has an edge between two instants: it concerns everybody at once."""
    return any(swept_to < edge <= as_of for edge in dates.fixed(definition))
