from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engage_sync.delivery.retry import Decision, GiveUp, Policy, RetryAt, decide
from engage_sync.destinations.protocol import Retry

START = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Policy(retry_for=4 * 3600.0, request_timeout=10.0)


def decided(after_start: float = 1.0, **changes: Any) -> Decision:
    given: dict[str, Any] = {
        "attempts": 1,
        "first_started_at": START,
        "started_at": START,
        "outcome": Retry(reason="503"),
        "now": START + timedelta(seconds=after_start),
        "policy": POLICY,
        "chance": 1.0,
    }
    return decide(**{**given, **changes})


def delay(after_start: float = 1.0, **changes: Any) -> float:
    decision = decided(after_start, **changes)
    assert isinstance(decision, RetryAt)
    return (decision.due - START).total_seconds() - after_start


def test_first_retry_comes_within_a_second() -> None:
    assert (delay(chance=0.0), delay(chance=1.0)) == (0.5, 1.0)


def test_delays_double_up_to_five_minutes() -> None:
    assert [delay(attempts=number) for number in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert [delay(attempts=number) for number in (9, 10, 32767)] == [256, 300, 300]


def test_destination_s_wish_goes_before() -> None:
    assert delay(outcome=Retry(reason="429", after=30)) == 30
    assert delay(attempts=7, outcome=Retry(reason="429", after=30)) == 64
    assert delay(outcome=Retry(reason="429", after=-5)) == 1


def test_wish_beyond_all_reason_is_cut() -> None:
    assert delay(outcome=Retry(reason="429", after=1e9)) == 4 * 3600


def test_unanswered_request_may_be_on_its_way_until_its_time_is_over() -> None:
    assert delay(0.2, outcome=Retry(reason="reset", unanswered=True)) == pytest.approx(9.8)
    assert delay(10.0, outcome=Retry(reason="timeout", unanswered=True)) == 1


def test_last_attempt_is_made_when_the_time_is_over() -> None:
    assert delay(4 * 3600 - 10, attempts=20) == 10
    assert decided(4 * 3600, attempts=21) == GiveUp("gave up after 21 attempts: 503")
