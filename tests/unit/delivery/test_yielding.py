"""How fast a line takes up what nobody waits for, as real time's requests are late or on time."""

from __future__ import annotations

from engage_sync.delivery.yielding import LATE, SLOWEST, Yielding

STEP = 0.05


def taken(yielding: Yielding, start: float, seconds: float, late: float | None, most: int = 1_000) -> tuple[int, float]:
    """How many lanes are claimed in that time, while real time's requests are that late; and when it is over."""
    lanes, now = 0, start
    while now < start + seconds:
        if late is not None:
            yielding.sent(late, now)
        allowed = yielding.most(now)
        claimed = most if allowed is None else min(most, allowed)
        yielding.took(claimed)
        lanes += claimed
        now += STEP
    return lanes, now


def test_nothing_is_held_back_where_nobody_waits() -> None:
    lanes, _ = taken(Yielding(0.0), 0.0, 10, None)
    assert lanes == 1_000 * 10 / STEP


def test_nothing_is_held_back_where_real_time_is_on_time() -> None:
    lanes, _ = taken(Yielding(0.0), 0.0, 10, LATE / 2)
    assert lanes == 1_000 * 10 / STEP


def test_while_real_time_is_late_the_rest_goes_slower_and_slower_and_never_stops() -> None:
    yielding = Yielding(0.0)
    _, now = taken(yielding, 0.0, 3, 4 * LATE)
    lanes, _ = taken(yielding, now, 20, 4 * LATE)
    assert 0.9 * SLOWEST * 20 <= lanes <= 1.1 * SLOWEST * 20


def test_it_goes_faster_again_when_real_time_is_on_time() -> None:
    yielding = Yielding(0.0)
    _, now = taken(yielding, 0.0, 3, 4 * LATE)
    slow, now = taken(yielding, now, 2, LATE / 2)
    fast, now = taken(yielding, now, 2, LATE / 2)
    assert slow < fast
    _, now = taken(yielding, now, 10, LATE / 2)
    assert yielding.most(now) is None


def test_the_last_real_time_is_soon_forgotten() -> None:
    yielding = Yielding(0.0)
    _, now = taken(yielding, 0.0, 3, 4 * LATE)
    assert yielding.most(now) is not None
    assert yielding.most(now + 10) is None


def test_a_rest_is_as_long_as_it_takes_until_more_may_be_claimed() -> None:
    yielding = Yielding(0.0)
    _, now = taken(yielding, 0.0, 3, 4 * LATE)
    while allowed := yielding.most(now):
        yielding.took(allowed)
    # Still late, so that the pace stays what it is.
    yielding.sent(4 * LATE, now)
    rest = yielding.rest()
    assert yielding.most(now + rest / 2) == 0
    assert yielding.most(now + 1.1 * rest)
