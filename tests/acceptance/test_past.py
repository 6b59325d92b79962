"""preview, backtest and history as their users run them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.acceptance.test_commands import Shop, identify, order, shop

__all__ = ["shop"]

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def filled(shop: Shop) -> Shop:
    """Two customers and an audience of the last two days that is only in its file."""
    shop.audience("recent", "event('Order Completed').within(2 days).count() >= 1")
    calls = [*identify("u1", "a@x.io"), *identify("u2", "b@x.io")]
    shop.run("import", shop.calls(*calls, order("u1", MIDNIGHT), order("u2", MIDNIGHT + DAY)))
    return shop


def test_a_backtest_before_applying_is_what_computing_then_records(filled: Shop) -> None:
    arguments = ("backtest", "recent", "--from", "2026-02-28", "--to", "2026-03-05")
    rows = filled.json(*arguments)
    assert [(row["as_of"], row["members"], row["entered"], row["left"]) for row in rows] == [
        ("2026-02-28T00:00:00Z", 0, 0, 0),
        ("2026-03-01T00:00:00Z", 1, 1, 0),
        ("2026-03-02T00:00:00Z", 2, 1, 0),
        ("2026-03-03T00:00:00Z", 2, 0, 0),
        ("2026-03-04T00:00:00Z", 1, 0, 1),
        ("2026-03-05T00:00:00Z", 0, 0, 1),
    ]
    shown = filled.run(*arguments)
    assert "not applied" in shown.stderr
    assert "█" in shown.stdout

    filled.run("apply", "--yes")
    for row in rows:
        filled.run("compute", "--as-of", row["as_of"])
    assert filled.json("history", "recent", "--from", "2026-02-28", "--to", "2026-03-05") == rows[::-1]
    assert filled.json("history", "recent", "--limit", "1") == [rows[-1]]
    assert "on record since 2026-03-01" in filled.run("history", "recent").stdout


def test_a_persons_history_by_identifier_or_within_one_definition(filled: Shop) -> None:
    filled.run("apply", "--yes")
    for days in (0, 5):
        filled.run("compute", "--as-of", (MIDNIGHT + days * DAY).isoformat())
    changes = filled.json("history", "email:a@x.io")
    assert [(each["key"], each["what"], each["cause"]) for each in changes] == [
        ("recent", "left", "manual"), ("recent", "entered", "first")
    ]  # fmt: skip
    assert filled.json("history", "recent", "--person", "user_id:u1", "--limit", "1") == changes[:1]
    public = filled.json("profile", "user_id:u1")["profile_id"]
    assert filled.json("history", public) == changes
    assert "entered" in filled.run("history", public).stdout
    assert filled.json("history", "user_id:u2") == []


def test_a_preview_shows_conditions_and_values(filled: Shop) -> None:
    query = "event('Order Completed').count() >= 1 AND (trait('email') = 'a@x.io' OR trait('email').absent())"
    found = filled.json("preview", query)
    assert [(each["alone"], each["cumulative"]) for each in found["waterfall"]["conditions"]] == [(2, 2), (1, 1)]
    shown = filled.run("preview", query).stdout
    assert "AND (trait('email') = 'a@x.io' OR trait('email').absent())" in shown
    assert filled.json("preview", "recent", "--as-of", "2026-03-02")["total"] == 2
    shown = filled.run("preview", "event('Order Completed').sum(property('total'))").stdout
    assert "Histogram" in shown
    assert "no value" in shown


def test_mistakes_say_what_to_do(filled: Shop) -> None:
    reversed_ = filled.run("backtest", "recent", "--from", "2026-03-05", "--to", "2026-03-01", code=2)
    assert "swap them" in reversed_.stderr
    assert "ISO 8601" in filled.run("backtest", "recent", "--from", "soon", "--to", "2026-03-01", code=2).stderr
    many = filled.run("backtest", "recent", "--from", "2020-01-01", "--to", "2026-03-01", code=2)
    assert "at most 1,000" in many.stderr
    assert "Did you mean 'recent'" in filled.run("preview", "recnt", code=1).stderr
    assert "engage-sync apply" in filled.run("history", "recent", code=1).stderr
    filled.run("apply", "--yes")
    assert "engage-sync compute recent" in filled.run("history", "recent").stderr
    assert "takes --limit" in filled.run("history", "user_id:u1", "--from", "2026-03-01", code=2).stderr
