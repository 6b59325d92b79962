"""The demo on a small slice of its data: the whole way in real processes, as `make demo` goes it."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "demo"
NOW = datetime(2026, 3, 12, 9, 30, tzinfo=UTC)


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The demo's module that writes the history."""
    monkeypatch.syspath_prepend(str(DEMO))
    import history

    return history


def test_the_stand_in_ends_with_what_the_snapshots_say() -> None:
    done = subprocess.run(
        [sys.executable, DEMO / "demo.py", "--households", "40", "--hours", "2"],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "The sandbox holds what the snapshots say" in said
    assert "/api/users/update  200  household" in said, "the new order was told at once"
    assert "\x1b[" not in said, "plain text where there is no terminal"
    assert "Traceback" not in said


def test_nothing_is_left_of_a_demo_that_was_stopped() -> None:
    demo = subprocess.Popen(
        [sys.executable, "-u", DEMO / "demo.py", "--households", "20"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert demo.stdout is not None
    line = next(line for line in demo.stdout if "everything lives in" in line)
    folder = Path(line.split()[-1])
    while "Plan" not in line:
        line = demo.stdout.readline()
    assert (folder / "workspace" / ".engage-sync" / "postgres" / "postmaster.pid").exists()
    demo.terminate()
    demo.communicate(timeout=60)
    assert demo.returncode == 143
    assert not folder.exists()


def test_the_history_is_moved_by_whole_weeks_to_the_last_end_of_its_last_day(tmp_path: Path, history: Any) -> None:
    found = history.write_history(tmp_path, now=NOW, households=20)
    assert found.end == datetime(2026, 3, 9, 5, tzinfo=UTC)
    assert found.end <= NOW < found.end + timedelta(weeks=1)
    first = read(found.orders)[0]
    moved = found.end - history.LAST_MIDNIGHT
    assert moved % timedelta(weeks=1) == timedelta()
    assert datetime.fromisoformat(first["timestamp"]) - moved >= datetime(2017, 1, 1, tzinfo=UTC)


def test_a_history_written_later_has_the_same_calls_with_the_same_ids(tmp_path: Path, history: Any) -> None:
    (tmp_path / "later").mkdir()
    now = history.write_history(tmp_path, now=NOW, households=20)
    later = history.write_history(tmp_path / "later", now=NOW + timedelta(weeks=3), households=20)
    for mine, theirs in ((now.orders, later.orders), (now.identifies, later.identifies)):
        assert [without_timestamp(call) for call in read(mine)] == [without_timestamp(call) for call in read(theirs)]


def test_households_have_one_email_two_or_none(tmp_path: Path, history: Any) -> None:
    emails: dict[str, set[str]] = {}
    for call in read(history.write_history(tmp_path, now=NOW, households=60).identifies):
        emails.setdefault(call["userId"], set()).update({call["traits"].get("email")} - {None})
    assert len(emails) == 60
    assert {len(each) for each in emails.values()} == {0, 1, 2}


def test_a_basket_adds_up(tmp_path: Path, history: Any) -> None:
    for call in read(history.write_history(tmp_path, now=NOW, households=5).orders):
        bought = sum(product["price"] * product["quantity"] for product in call["properties"]["products"])
        # Prices are rounded to cents, one by one.
        slack = 0.01 * sum(product["quantity"] for product in call["properties"]["products"])
        assert call["properties"]["total"] == pytest.approx(bought, abs=slack + 0.01)


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def without_timestamp(call: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in call.items() if name != "timestamp"}
