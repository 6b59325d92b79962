from __future__ import annotations

import pytest
from sqlalchemy import Connection, text

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


def test_complaints_lower_the_rate_for_all_by_a_tenth_once_a_second(outbox: Outbox) -> None:
    with outbox.engine.begin() as connection:
        budget.reserve(connection, outbox.destination, "identify", 500, 1)
        budget.reserve(connection, outbox.destination, "track", 500, 1)
        assert budget.lower(connection, outbox.destination, "identify") == pytest.approx(0.9)
        assert budget.lower(connection, outbox.destination, "identify") is None
    with outbox.engine.begin() as connection:
        later(connection, 1.0)
        assert budget.lower(connection, outbox.destination, "identify") == pytest.approx(0.81)
        (lowered,) = budget.lowered(connection)
        assert (lowered.destination, lowered.name, lowered.share) == ("iterable", "identify", pytest.approx(0.81))
        reserved = budget.reserve(connection, outbox.destination, "identify", 500, 9)
        assert reserved.spacing == pytest.approx(1 / (0.97 * 500 * 0.81))
        following = budget.reserve(connection, outbox.destination, "identify", 500, 1)
        assert following.start - reserved.start == pytest.approx(9 * reserved.spacing, abs=0.01)
        other = budget.reserve(connection, outbox.destination, "track", 500, 1)
        assert other.spacing == pytest.approx(1 / (0.97 * 500))


@pytest.mark.parametrize(("seconds", "share"), [(0, 0.5), (4.9, 0.5), (7.5, 0.75), (9, 0.9), (10, 1), (1000, 1)])
def test_lowered_rate_is_kept_for_a_while_and_back_within_ten_seconds(
    outbox: Outbox, seconds: float, share: float
) -> None:
    with outbox.engine.begin() as connection:
        budget.reserve(connection, outbox.destination, "identify", 500, 1)
        connection.execute(text("UPDATE rate_budgets SET share = 0.5, lowered_at = clock_timestamp()"))
        later(connection, seconds)
        reserved = budget.reserve(connection, outbox.destination, "identify", 500, 1)
    assert 1 / reserved.spacing == pytest.approx(0.97 * 500 * share, rel=0.01)


def test_rate_never_falls_to_nothing(outbox: Outbox) -> None:
    with outbox.engine.begin() as connection:
        budget.reserve(connection, outbox.destination, "identify", 500, 1)
        for _ in range(60):
            later(connection, 1.0)
            share = budget.lower(connection, outbox.destination, "identify")
    assert share == pytest.approx(budget.LEAST_SHARE)


def later(connection: Connection, seconds: float) -> None:
    connection.execute(
        text("UPDATE rate_budgets SET lowered_at = lowered_at - CAST(:seconds AS float8) * interval '1 second'"),
        {"seconds": seconds},
    )
