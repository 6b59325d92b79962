from __future__ import annotations

import pytest

from engage_sync.outbox import budget
from tests.factories.outbox import Outbox


def test_slots_are_evenly_spaced_and_follow_each_other(outbox: Outbox) -> None:
    with outbox.engine.begin() as connection:
        first = budget.reserve(connection, outbox.destination, "identify", 500, 100)
        second = budget.reserve(connection, outbox.destination, "identify", 500, 4)
        other = budget.reserve(connection, outbox.destination, "track", 500, 1)
    spacing = 1 / (0.97 * 500)
    assert (first.count, first.spacing) == (9, pytest.approx(spacing)), "no more than 20 ms at once"
    assert first.start == pytest.approx(0, abs=0.002)
    assert second.count == 4
    # The second was asked for a moment later than the first.
    assert 9 * spacing - 0.05 < second.start <= 9 * spacing
    assert second.offsets()[1] - second.offsets()[0] == pytest.approx(spacing)
    assert other.start == pytest.approx(0, abs=0.002)


def test_slow_budget_gives_one_slot_at_a_time(outbox: Outbox) -> None:
    with outbox.engine.begin() as connection:
        reservations = [budget.reserve(connection, outbox.destination, "slow", 1, 50) for _ in range(3)]
    assert [each.count for each in reservations] == [1, 1, 1]
    assert [each.start for each in reservations] == [pytest.approx(n / 0.97, abs=0.05) for n in range(3)]


def test_idle_time_is_not_saved_up(outbox: Outbox) -> None:
    with outbox.engine.begin() as connection:
        budget.reserve(connection, outbox.destination, "identify", 500, 1)
    with outbox.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE rate_budgets SET next_at = next_at - interval '1 hour'")
        assert budget.reserve(connection, outbox.destination, "identify", 500, 1).start > -0.002


def test_lead_puts_the_first_slot_later(outbox: Outbox) -> None:
    with outbox.engine.begin() as connection:
        for number in range(2):
            reserved = budget.reserve(connection, outbox.destination, "identify", 500, 1, lead=0.5)
            assert reserved.start == pytest.approx(0.5 + number / 485, abs=0.01)
