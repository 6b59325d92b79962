"""Whether it is the destination that fails, rather than single messages: what answers say of it, seen by one worker.

Pure: instants are seconds on the caller's monotonic clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from engage_sync.delivery.work import Job
from engage_sync.destinations.protocol import Answer, Delivered, Outcome, Rejected, Retry, Unclear
from engage_sync.outbox.outages import Kind

# Nearly all fails: at most this share of what ended in the last seconds was delivered.
_DELIVERED_AT_MOST = 0.05
_WINDOW = 10
_PEOPLE, _SECONDS = 10, 5.0
# Or so many people failed, and nothing was delivered for so many seconds: where less is sent, it takes longer to tell.
_NOTHING = ((_PEOPLE, _SECONDS), (3, 60.0), (1, 1800.0))
# So many people refused for one reason, and nothing delivered between them, are no longer about single messages.
REFUSED_PEOPLE = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """The destination is to be held. `ago`: for how many seconds it has been so."""

    kind: Kind
    reason: str
    ago: float


@dataclass(slots=True)
class _Second:
    at: int
    delivered: int = 0
    failed: int = 0
    people: set[int] = field(default_factory=set)


class Circuit:
    """What ended lately. `held` is what this worker knows of an outage, which the database decides on."""

    def __init__(self) -> None:
        self.held: Kind | None = None
        self._seconds: deque[_Second] = deque()
        self._people: set[int] = set()
        self._failing_since: float | None = None
        self._reason = ""

    def note(self, profile_id: int, outcome: Outcome | Unclear, now: float) -> None:
        """Something ended."""
        match outcome:
            case Delivered():
                self._second(now).delivered += 1
                self._failing_since = None
                self._people.clear()
            case Retry(reason=reason, is_throttled=is_throttled):
                if not is_throttled:
                    second = self._second(now)
                    second.failed += 1
                    _add(second.people, profile_id)
                if self._failing_since is None:
                    self._failing_since = now
                if not is_throttled or not self._reason:
                    self._reason = reason
                # One that only says "too many requests" lives: that is looked at for a minute at least.
                if not is_throttled or len(self._people) < _PEOPLE - 1:
                    _add(self._people, profile_id)

    def trouble(self, now: float) -> Trouble | None:
        """What makes it necessary to hold the destination."""
        if self.held is not None or not (self._seconds or self._people):
            return None
        ago = self._nearly_all(now)
        if ago is None and self._failing_since is not None:
            quiet = now - self._failing_since
            if any(len(self._people) >= people and quiet >= seconds for people, seconds in _NOTHING):
                ago = quiet
        if ago is None:
            return None
        reason = f"nearly nothing gets through; the last reason: {self._reason}"
        return Trouble(kind=Kind.FAILING, reason=reason, ago=ago)

    def shows_life(self, outcome: Outcome | Unclear) -> bool:
        """Whether the end of a probe says that the destination takes something again."""
        match outcome:
            case Delivered():
                return True
            case Rejected() | Unclear():
                # Whoever refuses sensibly is back; each message may be to blame by itself.
                return self.held is Kind.FAILING
            case _:
                return False

    def hold(self, kind: Kind) -> None:
        """The destination is held."""
        self.held = kind
        self._forget_all()

    def released(self) -> None:
        """It isn't held, or not any more."""
        if self.held is not None:
            self.held = None
            self._forget_all()

    def _forget_all(self) -> None:
        self._seconds.clear()
        self._people.clear()
        self._failing_since = None
        self._reason = ""

    def _nearly_all(self, now: float) -> float | None:
        """For how long nearly all has failed, if for long enough."""
        self._forget(now)
        failed = sum(second.failed for second in self._seconds)
        delivered = sum(second.delivered for second in self._seconds)
        people = set().union(*(second.people for second in self._seconds))
        if len(people) < _PEOPLE or delivered > _DELIVERED_AT_MOST * (failed + delivered):
            return None
        begun = next(second.at for second in self._seconds if second.failed)
        return now - begun if now - begun >= _SECONDS else None

    def _second(self, now: float) -> _Second:
        self._forget(now)
        if not self._seconds or self._seconds[-1].at != int(now):
            self._seconds.append(_Second(int(now)))
        return self._seconds[-1]

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0].at <= now - _WINDOW:
            self._seconds.popleft()


@dataclass(frozen=True, slots=True)
class Refusal:
    job: Job
    reason: str
    answer: Answer | None


class Suspects:
    """Refusals of which it is open whether the messages are to blame, or the destination refuses everybody.

    Only those of our own messages: a source that sends what can't be taken says nothing of the destination.
    """

    def __init__(self) -> None:
        self._waiting: list[Refusal] = []
        # By the kind of reason, since the last delivery: those that were dead letters before are still counted.
        self._people: dict[str, set[int]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, refusal: Refusal) -> Trouble | None:
        """One more; says what it comes to when that is all of them."""
        self._waiting.append(refusal)
        people = self._people.setdefault(_kind(refusal.reason), set())
        people.add(refusal.job.lane.profile_id)
        if len(people) < REFUSED_PEOPLE:
            return None
        reason = f"{len(people)} people in a row were refused; the last one: {refusal.reason}"
        return Trouble(kind=Kind.REFUSING, reason=reason, ago=0.0)

    def delivered(self) -> list[Refusal]:
        """Something got through: those that were refused before are to blame themselves."""
        self._people.clear()
        return self.release()

    def release(self) -> list[Refusal]:
        """Those that wait, which wait no more."""
        waiting, self._waiting = self._waiting, []
        return waiting


def _kind(reason: str) -> str:
    """What refusals for one reason have in common: the status and the code, not what they say of somebody."""
    return " ".join(reason.split()[:2])


def _add(people: set[int], profile_id: int) -> None:
    if len(people) < _PEOPLE:
        people.add(profile_id)
