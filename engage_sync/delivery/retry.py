"""Whether and when a message is tried again: a pure function of what happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from engage_sync.destinations.protocol import Retry

FIRST_DELAY = 1.0
LONGEST_DELAY = 300.0


@dataclass(frozen=True, slots=True)
class RetryAt:
    """`due` is on the database's clock."""

    due: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    reason: str


Decision: TypeAlias = RetryAt | GiveUp


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """In seconds: how long a message is tried, and how long one request may live."""

    retry_for: float
    request_timeout: float


def decide(
    *,
    attempts: int,
    first_started_at: datetime,
    started_at: datetime,
    outcome: Retry,
    now: datetime,
    policy: Policy,
    chance: float,
) -> Decision:
    """When to try again, after `attempts` attempts of which the last began at `started_at`.

    The first delay is at most a second; each further one is twice as long, up to five minutes; the later half of it is
    left to `chance` (0 to 1). The destination's own wish goes before. All instants are on the database's clock.
    """
    end = first_started_at + timedelta(seconds=policy.retry_for)
    if now >= end:
        return GiveUp(f"gave up after {attempts} attempts: {outcome.reason}")
    # 2 ** 10 is past the longest delay; attempts may be any number.
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(attempts - 1, 10))
    delay = longest * (0.5 + 0.5 * chance)
    # One last attempt when the time is over, rather than none in the last minutes.
    due = min(now + timedelta(seconds=delay), end)
    if outcome.after is not None:
        due = max(due, now + timedelta(seconds=min(max(outcome.after, 0.0), policy.retry_for)))
    if outcome.unanswered:
        due = max(due, started_at + timedelta(seconds=policy.request_timeout))
    return RetryAt(due)
