"""What answers say of the destination itself: slower, held, or free again. Beside a line, which is about messages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

import structlog
from sqlalchemy import Connection

from engage_sync.delivery.apart import Apart
from engage_sync.delivery.circuit import Circuit, Refusal, Suspects, Trouble
from engage_sync.delivery.exchange import Ended
from engage_sync.destinations.protocol import Delivered, Retry
from engage_sync.messages.forwarded import FORGET
from engage_sync.outbox import budget, outages, workers
from engage_sync.outbox.outages import Kind

log = structlog.get_logger(__name__)

# How long refused messages wait, after the last of them, for a delivery, which tells that it is they who are to blame.
# In bulk, with five requests a second, the next one that stands alone may take as long.
_SUSPECTED_FOR = 3.0
# What was claimed while an outage was just being written says nothing of its end.
_WRITTEN_WITHIN = 2.0


class Standing:
    """For one destination and worker. `also` writes with the next settlements; `clean` takes secrets out of a text.

    A refused message is given to `convict` where it is to blame, to `take_back` where everybody is refused. Where
    nothing gets through, this worker keeps `apart`, and `give_back` is called: what waits in its hands is for others.
    """

    def __init__(
        self,
        destination_id: int,
        slug: str,
        worker_id: int,
        apart: Apart,
        *,
        also: Callable[[Callable[[Connection], object]], None],
        clean: Callable[[str], str],
        convict: Callable[[Refusal], None],
        take_back: Callable[[Refusal], None],
        give_back: Callable[[], None],
    ) -> None:
        self._destination_id = destination_id
        self._slug = slug
        self._worker_id = worker_id
        self._apart = apart
        self._also = also
        self._clean = clean
        self._convict = convict
        self._take_back = take_back
        self._give_back = give_back
        self._circuit = Circuit()
        self._suspects = Suspects()
        self._held_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def claimed(self, kind: Kind | None) -> None:
        """Something could be claimed: by a probe of what is held for this kind of outage, or (None) just so."""
        if kind is not None:
            self._circuit.hold(kind)
        elif self._apart:
            self._circuit.hold(Kind.FAILING)
        elif time.monotonic() - self._held_at > _WRITTEN_WITHIN:
            self._circuit.released()

    def observe(self, budget_name: str, ended: Sequence[Ended]) -> None:
        """A request ended, that drew on this budget."""
        now = time.monotonic()
        for each in ended:
            if not _is_of_a_day(each):
                self._circuit.note(each.job.lane.profile_id, each.outcome, now)
        if len(ended) == 1 and isinstance(ended[0].outcome, Delivered) and not ended[0].job.lane.is_probe:
            # As nearly all of them: that makes no trouble.
            self._each(self._convict, self._suspects.delivered())
            return
        if any(isinstance(each.outcome, Retry) and each.outcome.is_throttled for each in ended):
            self._also(lambda connection: self._lower(connection, budget_name))
        self._probed([each for each in ended if each.job.lane.is_probe], now)
        if any(isinstance(each.outcome, Delivered) for each in ended):
            self._each(self._convict, self._suspects.delivered())
        if trouble := self._circuit.trouble(now):
            self._hold(trouble)

    def refused(self, refusal: Refusal, *, certain: bool, others: int) -> None:
        """A message was refused. `certain`: it is to blame; else `others` are the people who may still tell."""
        if self._circuit.held is Kind.REFUSING:
            self._take_back(refusal)
        elif certain or refusal.job.message.definition_id is None:
            # A source that sends what can't be taken says nothing of the destination.
            self._convict(refusal)
        elif trouble := self._suspects.add(refusal):
            self._hold(trouble)
            self._each(self._take_back, self._suspects.release())
        elif len(self._suspects) > others:
            self.release()
        else:
            self._wait()

    def release(self) -> None:
        """Wait no longer for what may tell: those that were refused are to blame themselves."""
        self._each(self._convict, self._suspects.release())

    def _probed(self, ended: Sequence[Ended], now: float) -> None:
        """Probes ended."""
        if any(
            self._circuit.shows_life(each.outcome) or (_is_of_a_day(each) and self._circuit.held is Kind.FAILING)
            for each in ended
        ):
            self._circuit.released()
            if (seconds := self._apart.end(now)) is not None:
                log.info("reached_again", destination=self._slug, seconds=round(seconds, 1))
                self._also(lambda connection: self._reaches(connection, is_reached=True))
            self._also(self._release)
        elif self._apart and (reasons := [each.outcome.reason for each in ended if isinstance(each.outcome, Retry)]):
            self._also(lambda connection: self._stay_apart(connection, reasons[0]))

    def _stay_apart(self, connection: Connection, reason: str) -> None:
        """Still nothing gets through. Where nobody else says otherwise, it is the destination again that fails."""
        apart = self._apart.lasts(time.monotonic())
        if not outages.others_send(connection, self._destination_id, self._worker_id, apart=apart):
            self._begin(connection, Trouble(kind=Kind.FAILING, reason=reason, ago=0.0))
        elif self._apart.is_alone():
            log.error("unreachable_from_here", destination=self._slug, reason=self._clean(reason))
            self._reaches(connection, is_reached=False)

    def _reaches(self, connection: Connection, *, is_reached: bool) -> None:
        workers.reaches(connection, self._worker_id, self._destination_id, is_reached=is_reached)

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_SUSPECTED_FOR, self.release)

    def _each(self, do: Callable[[Refusal], None], refusals: Iterable[Refusal]) -> None:
        for each in refusals:
            do(each)

    def _hold(self, trouble: Trouble) -> None:
        """Nothing more starts but probes: the outage is in the database, where every start looks."""
        self._circuit.hold(trouble.kind)
        self._held_at = time.monotonic()
        self._also(lambda connection: self._begin(connection, trouble))
        if trouble.kind is Kind.FAILING:
            self._apart.begin(self._held_at)
            self._give_back()

    def _begin(self, connection: Connection, trouble: Trouble) -> None:
        reason = self._clean(trouble.reason)
        if outages.begin(connection, self._destination_id, trouble.kind, reason, ago=trouble.ago):
            log.error("destination_held", destination=self._slug, kind=str(trouble.kind), reason=reason)

    def _release(self, connection: Connection) -> None:
        seconds = outages.end(connection, self._destination_id)
        if seconds is not None:
            log.info("destination_released", destination=self._slug, seconds=round(seconds, 1))

    def _lower(self, connection: Connection, budget_name: str) -> None:
        share = budget.lower(connection, self._destination_id, budget_name)
        if share is not None:
            log.warning("rate_lowered", destination=self._slug, budget=budget_name, share=round(share, 3))


def _is_of_a_day(ended: Ended) -> bool:
    """Whether it says that enough people were forgotten for now: that lives, and takes all else."""
    is_throttled = isinstance(ended.outcome, Retry) and ended.outcome.is_throttled
    return is_throttled and ended.job.message.call_type == FORGET
