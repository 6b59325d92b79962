"""`engage-sync test` as its users run it, in CI too: no secrets, no database but its own, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.factories import commands

DEMO = Path(__file__).parents[2] / "examples" / "demo"


class Shop:
    """A workspace as `init` writes it, whose secrets are elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.temporary = folder / "shop", folder / "tmp"
        self.temporary.mkdir()
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("ENGAGE_SYNC_") and name not in ("WEB_WRITE_KEY", "ITERABLE_API_KEY")
        } | {"TMPDIR": str(self.temporary)}
        self.run("init", str(self.folder), at=folder)
        (self.folder / ".env").unlink()

    def run(self, *arguments: str, code: int = 0, at: Path | None = None) -> subprocess.CompletedProcess[str]:
        done = commands.run(arguments, self.environment, folder=at or self.folder)
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        assert self.left() == []
        return done

    def left(self) -> list[str]:
        return [path.name for path in self.temporary.iterdir() if path.name.startswith("engage-sync")]

    def test(self, name: str, text: str) -> None:
        (self.folder / "tests" / name).write_text(text)


@pytest.fixture
def shop() -> Any:
    # A short path: the server's socket lies in it.
    with tempfile.TemporaryDirectory(prefix="es-") as folder:
        Path(folder).chmod(0o755)
        yield Shop(Path(folder))


WRONG = """\
tests:
  - name: Spending adds up
    given: [{type: track, userId: u1, event: Order Completed, properties: {total: 20}}]
    then:
      - at: 2026-01-01
        values: {total_spent_90d: {u1: 21}}
  - name: One order is enough
    given: [{type: track, userId: u1, event: Order Completed}]
    then: [{at: 2026-01-01, in: {order_completed_last_30days: u1}}]
"""


def test_the_example_passes_without_secrets_or_a_database(shop: Shop) -> None:
    shop.environment["ENGAGE_SYNC_DATABASE_URL"] = "postgresql://127.0.0.1:1/nothing"
    lines = shop.run("test").stdout.splitlines()
    assert lines[0] == "tests/buyers.yml"
    assert lines[1].startswith("  ✓ Buyers leave 30 days after their order  ")
    assert lines[2].startswith("1 passed in ")
    assert not (shop.folder / ".engage-sync").exists()
    (again,) = json.loads(shop.run("test", "--json").stdout)
    assert (again["name"], again["file"], again["passed"], again["failures"]) == (
        "Buyers leave 30 days after their order", "tests/buyers.yml", True, []
    )  # fmt: skip


def test_what_fails_is_told_with_its_place_and_reason(shop: Shop) -> None:
    shop.test("wrong.yml", WRONG)
    lines = shop.run("test", code=1).stdout.splitlines()
    place = lines.index("tests/wrong.yml")
    assert lines[place + 1].startswith("  ✗ Spending adds up  ")
    assert lines[place + 2 : place + 4] == [
        "      tests/wrong.yml:6:40: total_spent_90d, user_id:u1: expected 21, found 20.0",
        "        as of 2026-01-01T00:00:00Z: 20.0 since 2026-01-01T00:00:00Z;"
        " Order Completed: 1 so far, the last at 2026-01-01T00:00:00Z",
    ]
    assert lines[place + 4].startswith("  ✓ One order is enough  ")
    assert lines[-1].startswith("1 failed, 2 passed in ")
    chosen = json.loads(shop.run("test", "tests/wrong.yml", "-k", "SPENDING", "--json", code=1).stdout)
    assert [(test["name"], test["passed"]) for test in chosen] == [("Spending adds up", False)]
    (failure,) = chosen[0]["failures"]
    assert failure.pop("hint").startswith("20.0 since ")
    assert failure == {
        "line": 6, "column": 40, "at": "2026-01-01T00:00:00Z", "check": "values", "key": "total_spent_90d",
        "person": "user_id:u1", "expected": "21", "found": "20.0",
        "message": "total_spent_90d, user_id:u1: expected 21, found 20.0",
    }  # fmt: skip
    assert "2 passed" in shop.run("test", "-k", "order").stdout


def test_mistakes_in_files_are_told_all_at_once_by_test_and_check(shop: Shop) -> None:
    shop.test("a.yml", "name: a\nthen: [{at: 2026-01-01, in: {total_spent: u1}}]\n")
    shop.test("b.yml", "name: b\nthem: []\n")
    expected = [
        "tests/a.yml:2:30: unknown definition 'total_spent'; did you mean 'total_spent_90d'?",
        "tests/a.yml:2:43: no call up to this step names 'user_id:u1'",
        "tests/b.yml:2:1: unknown key 'them'; did you mean 'then'?",
    ]
    assert shop.run("test", code=2).stderr.splitlines() == expected
    shop.environment |= {"WEB_WRITE_KEY": "k", "ITERABLE_API_KEY": "k"}
    assert shop.run("check", code=2).stderr.splitlines() == expected
    for command in ("test", "check"):
        found = json.loads(shop.run(command, "--json", code=2).stdout)
        assert [f"{it['path']}:{it['line']}:{it['column']}: {it['message']}" for it in found["errors"]] == expected
    assert shop.run("test", "tests/buyers.yml").stdout.splitlines()[-1].startswith("1 passed")
    assert shop.run("test", "tests/c.yml", code=2).stderr == "tests/c.yml: there is no such file.\n"
    assert shop.run("test", "tests/buyers.yml", "-k", "nobody", code=2).stderr == (
        "None of 1 tests has 'nobody' in its name.\n"
    )


def test_without_tests_it_says_how_to_write_one_that_passes(shop: Shop) -> None:
    (shop.folder / "tests" / "buyers.yml").unlink()
    done = shop.run("test")
    assert "There are no tests in " in done.stderr
    shop.test("first.yml", done.stderr.partition("\n\n")[2])
    assert "1 passed" in shop.run("test").stdout
    (shop.folder / "tests" / "first.yml").unlink()
    assert json.loads(shop.run("test", "--json").stdout) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_of_a_run_that_was_stopped(shop: Shop, number: signal.Signals) -> None:
    step = "{at: 2026-01-01, members: {order_completed_last_30days: []}}"
    shop.test("long.yml", f"name: long\nthen: [{', '.join([step] * 300)}]\n")
    command = [sys.executable, "-m", "engage_sync", "test"]
    with subprocess.Popen(
        command, env=shop.environment, cwd=shop.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"tests/buyers.yml\n"
        (home,) = shop.left()
        pid = int((shop.temporary / home / "postgres" / "postmaster.pid").read_text().split()[0])
        run.send_signal(number)
    assert run.returncode not in (0, 2)
    assert shop.left() == []
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.05)


def test_the_tests_of_the_demo_pass(shop: Shop) -> None:
    outcomes = json.loads(shop.run("-C", str(DEMO), "test", "--json").stdout)
    assert len(outcomes) >= 8
    assert [test["failures"] for test in outcomes] == [[]] * len(outcomes)
