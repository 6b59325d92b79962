from __future__ import annotations

from collections import deque

from engage_sync.delivery.turns import FIRST_PAUSE, LONGEST_PAUSE, Turns
from engage_sync.delivery.work import Lane


def lanes(count: int) -> list[Lane]:
    return [Lane(number, 1, deque()) for number in range(count)]


def test_two_seconds_worth_is_in_hand_and_the_others_come_one_after_the_other() -> None:
    turns, people = Turns(), lanes(10)
    asked = [turns.wait_until(lane, 2.0, 100.0) for lane in people]
    assert asked == [None] * 4 + [100.5, 101.0, 101.5, 102.0, 102.5, 103.0]
    # Their other identifiers go along.
    assert turns.wait_until(people[0], 2.0, 100.0) is None
    turns.left(people[:4])
    assert turns.wait_until(people[4], 2.0, 100.5) is None


def test_however_slow_one_goes() -> None:
    turns = Turns()
    assert [turns.wait_until(lane, 0.01, 0.0) for lane in lanes(2)] == [None, 100.0]


def test_pauses_grow_until_one_is_taken_and_count_once() -> None:
    turns, (one, other) = Turns(), lanes(2)
    assert [turns.throttled(10.0, None), turns.throttled(11.0, None)] == [10.0 + FIRST_PAUSE] * 2
    assert turns.wait_until(one, 1.0, 12.0) == 11.0 + FIRST_PAUSE
    assert turns.wait_until(one, 1.0, 10.0 + FIRST_PAUSE) is None
    now = 1_000.0
    for pause in (2 * FIRST_PAUSE, 4 * FIRST_PAUSE):
        assert turns.throttled(now, None) == now + pause
        now += pause
    assert turns.throttled(now, 2 * LONGEST_PAUSE) == now + 2 * LONGEST_PAUSE
    turns.delivered()
    assert turns.throttled(100_000.0, None) == 100_000.0 + FIRST_PAUSE
    assert turns.wait_until(other, 1.0, 200_000.0) is None
