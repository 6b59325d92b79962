"""What a line claims at once, and how much it keeps in hand.

Reads what the choice of a road needs in the same transaction: the road that each person was sent by, and how long the
line is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query
from engage_sync.delivery.roads import Roads
from engage_sync.delivery.work import Lane
from engage_sync.outbox import claim, roads
from engage_sync.outbox.claim import ClaimedLane
from engage_sync.outbox.enqueue import Priority
from engage_sync.outbox.roads import Last

_LANES_FOR_EACH_IN_FLIGHT = 4
_FEWEST_LANES, _MOST_LANES = 100, 1_000
# Where whole claims go in bulk: what is being started, sent and settled, each some requests full, and some to spare.
_LANES_IN_BULK = 8_000
_LANES_A_CLAIM = 1_000


@dataclass(frozen=True, slots=True)
class Claimed:
    """Lanes; by profile, the road of its last message; how many lanes wait behind, by priority."""

    lanes: list[ClaimedLane]
    last: Mapping[int, Last]
    waiting: Mapping[Priority, int]


class Claiming:
    """For one destination and worker. `target` is how many lanes to have in hand; `only`: those of one profile.

    `user_id_once`: of several emails of a person only the first one has the user id beside it.
    """

    def __init__(
        self,
        destination_id: int,
        worker_id: int,
        roads: Roads,
        most_in_flight: int,
        *,
        only: int | None = None,
        user_id_once: bool = False,
    ) -> None:
        self._destination_id = destination_id
        self._worker_id = worker_id
        self._roads = roads
        self._only = only
        self._user_id_once = user_id_once
        self._for_singles = max(_FEWEST_LANES, min(_MOST_LANES, most_in_flight * _LANES_FOR_EACH_IN_FLIGHT))
        self.target = self._for_singles

    @property
    def step(self) -> int:
        """For how many lanes there must be room, before more are claimed."""
        return min(self.target // 3, _LANES_A_CLAIM)

    def most(self, in_hand: int) -> int:
        """How many lanes to claim, 0 while there isn't room for a step."""
        room = self.target - in_hand
        return min(room, _LANES_A_CLAIM) if room >= self.step else 0

    def most_urgent(self, in_hand: int) -> int:
        """How many lanes with what somebody waits for still come in, when there is no room for others."""
        return min(self.target // 4, _LANES_A_CLAIM) if in_hand < 2 * self.target else 0

    def claim(self, connection: Connection, limit: int, last: Priority, *, is_probe: bool = False) -> Claimed:
        """Lease up to `limit` lanes, in the caller's transaction; `is_probe`: also of a destination that is held."""
        destination, worker = self._destination_id, self._worker_id
        if self._only is not None:
            leased = claim.lease_one(connection, destination, worker, self._only, is_probe=is_probe)
        else:
            leased = claim.lease(connection, destination, worker, limit, last=last, is_probe=is_probe)
        counted = [priority for priority in Priority if priority <= last]
        # A claim that got less than it asked for left nothing behind.
        waiting = dict.fromkeys(counted, 0)
        if not leased:
            return Claimed([], {}, waiting)
        queries: list[Query[Any]] = [claim.loading(destination, leased, user_id_once=self._user_id_once)]
        if self._roads.has_bulk:
            queries.append(roads.asking_last(destination, [lane.profile_id for lane in leased]))
        if self._roads.are_two and len(leased) >= limit:
            most = self._roads.most_to_count
            queries += [roads.asking_waiting(destination, most, priority) for priority in counted]
        lanes, *more = pipeline.ask_each(connection, queries)
        before = more.pop(0) if self._roads.has_bulk else {}
        return Claimed(lanes, before, waiting | dict(zip(counted, more, strict=False)))

    def learn(self, lanes: list[Lane], last: Priority) -> None:
        """Keep as much in hand as the road needs that the lanes of a whole claim took."""
        if last is Priority.FIRST_PUSH:
            in_bulk = sum(1 for lane in lanes if lane.in_bulk)
            self.target = _LANES_IN_BULK if 2 * in_bulk > len(lanes) else self._for_singles
