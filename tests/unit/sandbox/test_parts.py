"""Limits, faults and records, each by itself."""

from __future__ import annotations

from typing import Any

import pytest

from engage_sync.sandbox.faults import Faults
from engage_sync.sandbox.limits import RateLimits, SlidingLimit
from engage_sync.sandbox.options import EVENTS_TRACK, USERS_FORGET, USERS_UPDATE
from engage_sync.sandbox.records import Records


def test_no_second_takes_more_than_the_limit() -> None:
    limit = SlidingLimit(3)
    taken = [instant for instant in (tenth / 10 for tenth in range(40)) if limit.take(instant)]
    assert taken == [0.0, 0.1, 0.2, 1.0, 1.1, 1.2, 2.0, 2.1, 2.2, 3.0, 3.1, 3.2]


def test_limit_below_one_a_second_widens_the_window() -> None:
    limit = SlidingLimit(0.5)
    assert [limit.take(second) for second in (0, 1, 1.9, 2, 3, 4)] == [True, False, False, True, False, True]


def test_limits_of_iterable_hold_where_no_other_is_set() -> None:
    limits = RateLimits({EVENTS_TRACK: 0, "/other": 1})
    assert sum(limits.take(USERS_UPDATE, 1.0) for _ in range(600)) == 500
    assert sum(limits.take(EVENTS_TRACK, 1.0) for _ in range(3000)) == 3000
    assert sum(limits.take("/other", 1.0) for _ in range(3)) == 1
    assert sum(limits.take("/unknown", 1.0) for _ in range(3)) == 3


def test_forgetting_has_a_limit_of_a_day_too() -> None:
    limits = RateLimits({})
    taken = sum(limits.take(USERS_FORGET, second) for second in range(1100))
    assert taken == 1000
    assert limits.take(USERS_FORGET, 86_400.0)


def test_fault_concerns_its_path_and_body_as_often_as_asked() -> None:
    faults = Faults(seed=0)
    faults.add({"kind": "reset", "path": "/a", "match": {"email": "a@x.io"}, "times": 2})
    assert faults.take("/b", {"email": "a@x.io"}) is None
    assert faults.take("/a", {"email": "b@x.io"}) is None
    assert faults.take("/a", None) is None
    assert faults.take("/a", {"email": "a@x.io"}) is not None
    assert faults.take("/a", {"user": {"email": "a@x.io"}}) is not None
    assert faults.take("/a", {"email": "a@x.io"}) is None


def test_fault_may_be_rare() -> None:
    faults = Faults(seed=1)
    faults.add({"kind": "status", "probability": 0.25})
    assert 200 < sum(faults.take("/a", {}) is not None for _ in range(1000)) < 300


def test_delays_lie_within_their_bounds() -> None:
    faults = Faults(seed=1)
    fault = faults.add({"kind": "delay", "seconds": 0.5, "up_to": 8.0})
    drawn = [faults.pause(fault) for _ in range(1000)]
    assert 0.5 <= min(drawn) < 1.0 < 7.5 < max(drawn) <= 8.0
    assert faults.pause(faults.add({"kind": "delay", "seconds": 0.25})) == 0.25


@pytest.mark.parametrize(
    ("description", "problem"),
    [
        ("reset", "must be an object"),
        ({}, "kind must be one of"),
        ({"kind": "explode"}, "kind must be one of"),
        ({"kind": "reset", "time": 1}, "unknown in a fault: time"),
        ({"kind": "reset", "times": "1"}, "times has the wrong type"),
        ({"kind": "delay", "when": "never"}, "when must be"),
    ],
)
def test_fault_that_is_not_understood_is_an_error(description: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Faults(seed=0).add(description)


def test_records_forget_the_oldest_but_keep_counting() -> None:
    records = Records(limit=10)
    for number in range(5000):
        records.finish(records.arrive("POST", "/a", float(number), 0.0), 200, 0.0)
    assert len(records) == 5000
    assert records.counts == {("/a", "200"): 5000}
    kept = records.after(0, 10_000)
    assert 10 <= len(kept) <= 1011
    assert [record.sequence for record in records.after(4998, 10)] == [4999, 5000]
    assert records.after(5000, 10) == []
