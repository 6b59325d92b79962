"""The command line as its users run it: a workspace, the real sandbox over HTTP, exit codes, JSON, and `up`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import segment.analytics as analytics

from engage_sync.sandbox.server import SandboxServer
from tests.factories import commands

T = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RECENT = "event('Order Completed').within(30 days).count() >= 1"


class Shop:
    """A workspace in a folder, on a database of its own, whose Iterable is a sandbox."""

    def __init__(self, folder: Path, database_url: str, sandbox: SandboxServer, port: int) -> None:
        self.folder, self.sandbox, self.port = folder, sandbox, port
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("ENGAGE_SYNC_")} | {
            "ENGAGE_SYNC_DATABASE_URL": database_url,
            "ENGAGE_SYNC_WORKSPACE": str(folder),
            "ENGAGE_SYNC_PORT": str(port),
            "WEB_WRITE_KEY": "web-key",
            "ITERABLE_API_KEY": "sandbox-key",
        }
        self.write(
            "engage.yml",
            'space: {slug: shop}\nsources:\n  web: {write_key: "${WEB_WRITE_KEY}"}\n'
            "destinations:\n  iterable:\n    type: iterable\n"
            f'    settings: {{api_key: "${{ITERABLE_API_KEY}}", base_url: "{sandbox.url}"}}\n',
        )

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(exist_ok=True)
        (self.folder / name).write_text(text)

    def audience(self, key: str, query: str, tells: str = "{identify: true}") -> None:
        self.write(f"audiences/{key}.yml", f"name: {key}\nquery: {query}\ndestinations: {{iterable: {tells}}}\n")

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = commands.run(arguments, self.environment)
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def calls(self, *calls: dict[str, Any]) -> str:
        file = self.folder / "calls.jsonl"
        file.write_text("".join(json.dumps(call) + "\n" for call in calls))
        return str(file)

    def fields(self, email: str) -> dict[str, Any]:
        user = self.sandbox.user(email)
        return {} if user is None else {key: value for key, value in user["dataFields"].items() if key != "email"}

    def up(self) -> subprocess.Popen[bytes]:
        daemon = subprocess.Popen([sys.executable, "-m", "engage_sync", "up"], env=self.environment)
        for _ in range(300):
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/health/ready").status_code == 200:
                    return daemon
            except httpx.HTTPError:
                time.sleep(0.1)
        daemon.kill()
        raise AssertionError("up did not answer")


@pytest.fixture
def shop(database_url: str, free_port: int) -> Iterator[Shop]:
    folder = Path(tempfile.mkdtemp(prefix="es-shop-"))
    with SandboxServer() as sandbox:
        yield Shop(folder, database_url, sandbox, free_port)
    shutil.rmtree(folder)


def order(user: str, at: datetime, **more: Any) -> dict[str, Any]:
    return {
        "type": "track", "event": "Order Completed", "userId": user, "timestamp": at.isoformat(),
        "messageId": f"{user}-{at.isoformat()}", "properties": {"total": 20}, **more,
    }  # fmt: skip


def identify(user: str, *emails: str) -> list[dict[str, Any]]:
    return [
        {"type": "identify", "userId": user, "traits": {"email": email}, "messageId": f"{user}-{email}",
         "timestamp": T.isoformat()}
        for email in emails
    ]  # fmt: skip


def test_an_order_is_told_once_and_its_end_once(shop: Shop) -> None:
    shop.audience("order_completed_last_30days", RECENT, "{identify: true, track: true}")
    shop.run("apply", "--yes")
    file = shop.calls(*identify("u1", "a@x.io", "b@x.io", "c@x.io"), order("u1", T))
    assert shop.json("import", file)["stored"] == 4
    assert shop.json("import", file)["duplicates"] == 4

    (first,) = shop.json("sync", "--as-of", T.isoformat())
    assert (first["members"], first["entered"], first["sent"], first["failed"]) == (1, 1, 6, 0)
    assert [shop.fields(f"{name}@x.io") for name in "abc"] == [{"order_completed_last_30days": True}] * 3
    for later in (timedelta(hours=1), timedelta(days=30)):
        (again,) = shop.json("sync", "--as-of", (T + later).isoformat())
        assert (again["entered"], again["left"], again["sent"]) == (0, 0, 0)
    (end,) = shop.json("sync", "--as-of", (T + timedelta(days=30, seconds=1)).isoformat())
    assert (end["left"], end["sent"]) == (1, 6)
    assert [shop.fields(f"{name}@x.io") for name in "abc"] == [{"order_completed_last_30days": False}] * 3
    names = [event["eventName"] for event in shop.sandbox.events()]
    assert sorted(names) == ["Audience Entered"] * 3 + ["Audience Exited"] * 3

    then = shop.json("members", "order_completed_last_30days", "--as-of", T.isoformat())
    assert (then["total"], then["members"][0]["user_id"], then["members"][0]["emails"]) == (
        1, "u1", ["a@x.io", "b@x.io", "c@x.io"]
    )  # fmt: skip
    assert shop.json("members", "order_completed_last_30days")["total"] == 0
    causes = [run["cause"] for run in shop.json("runs")]
    assert causes == ["manual", "manual", "manual", "first"]
    shop.run("compute", "--as-of", T.isoformat(), code=1)


def test_a_crash_between_computing_and_sending_loses_nothing(shop: Shop) -> None:
    shop.audience("bought", "event('Order Completed').count() >= 1")
    shop.run("apply", "--yes")
    shop.run("import", shop.calls(*identify("u1", "a@x.io"), order("u1", T)))
    shop.run("compute")
    assert shop.fields("a@x.io") == {}
    assert shop.json("deliver", "--until-empty")["sent"] == 1
    assert shop.fields("a@x.io") == {"bought": True}
    assert shop.json("deliver", "--until-empty")["sent"] == 0


def test_what_iterable_refuses_is_a_dead_letter_with_its_answer(shop: Shop) -> None:
    shop.audience("bought", "event('Order Completed').count() >= 1")
    shop.run("apply", "--yes")
    shop.run("import", shop.calls(*identify("u1", "a@x.io"), order("u1", T), *identify("u2", "b@x.io"), order("u2", T)))
    shop.sandbox.add_faults(
        {"path": "/api/users/update", "match": {"email": "a@x.io"}, "times": 1, "kind": "status", "status": 400,
         "body": {"code": "BadParams", "msg": "no such thing"}}
    )  # fmt: skip
    (done,) = shop.json("sync", code=1)
    assert (done["sent"], done["failed"]) == (1, 1)
    (letter,) = shop.json("dead-letters", "list")
    assert (letter["identity_value"], letter["key"]) == ("a@x.io", "bought")
    assert "no such thing" in letter["reason"]
    assert shop.json("dead-letters", "replay", "--all") == {"replayed": 1, "obsolete": 0}
    assert shop.json("deliver", "--until-empty")["sent"] == 1
    assert shop.fields("a@x.io") == {"bought": True}


def test_mistakes_are_named_all_at_once_and_nothing_is_applied(shop: Shop) -> None:
    shop.audience("good", RECENT)
    shop.write("audiences/bad.yml", "name: Bad\nquery: event('A').cuont() >= 1\n")
    shop.write("audiences/other.yml", "nmae: Other\nquery: event('A').count() >= 1\n")
    shop.write("traits/same.yml", "name: Good\nquery: event('A').count()\n")
    done = shop.run("check", code=2)
    lines = done.stderr.splitlines()
    assert any(line.startswith("audiences/bad.yml:2:19: ") and "count" in line for line in lines), lines
    assert any(line.startswith("audiences/other.yml:1:1: ") and "name" in line for line in lines), lines
    assert any("same.yml" in line and "good" in line for line in lines), lines
    assert done.stdout == ""
    shop.run("apply", "--yes", code=2)
    for name in ("bad", "other"):
        (shop.folder / f"audiences/{name}.yml").unlink()
    (shop.folder / "traits/same.yml").unlink()
    assert shop.json("audiences") == []
    del shop.environment["WEB_WRITE_KEY"]
    assert "engage.yml:3:" in shop.run("check", code=2).stderr


def test_a_database_that_is_away_is_said_in_one_line(shop: Shop) -> None:
    shop.environment["ENGAGE_SYNC_DATABASE_URL"] = "postgresql://nobody:secret@127.0.0.1:1/nothing"
    done = shop.run("audiences", code=1)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("Postgres can't be reached")
    assert "secret" not in done.stderr


def test_render_needs_no_database(shop: Shop) -> None:
    shop.environment["ENGAGE_SYNC_DATABASE_URL"] = "postgresql://127.0.0.1:1/nothing"
    file = shop.calls(*identify("u1", "a@x.io"), {"type": "group", "groupId": "g", "userId": "u1"}, order("u1", T))
    lines = [json.loads(line) for line in shop.run("render", "iterable", file).stdout.splitlines()]
    assert lines[0]["path"] == "/api/users/update"
    assert "skipped" in lines[1]
    assert len(lines) == 3


def test_real_client_against_up_is_told_at_once(shop: Shop) -> None:
    shop.audience("bought", "event('Order Completed').count() >= 1", "{identify: true, track: true}")
    shop.run("apply", "--yes")
    daemon = shop.up()
    try:
        client = analytics.Client("web-key", host=f"http://127.0.0.1:{shop.port}", gzip=True, sync_mode=True)
        client.identify("u1", {"email": "a@x.io", "plan": "gold"})
        client.track("u1", "Order Completed", {"total": 12.5})
        for _ in range(100):
            if shop.sandbox.events():
                break
            time.sleep(0.1)
        assert shop.fields("a@x.io") == {"bought": True}
        assert [event["eventName"] for event in shop.sandbox.events()] == ["Audience Entered"]
        found = shop.json("profile", "email:a@x.io")
        assert (found["traits"]["plan"], found["audiences"][0]["key"]) == ("gold", "bought")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0
    finally:
        daemon.kill()
        daemon.wait()


# --- up and its processes -----------------------------------------------------------------------------------------


def children(process: subprocess.Popen[bytes]) -> dict[str, int]:
    """The roles that `up` runs as processes of its own, by name."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if parent == process.pid and b"engage_sync" in line:
            found[line[-2].decode()] = int(folder.name)
    return found


def is_running(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def eventually(holds: Callable[[], bool], seconds: float = 20) -> bool:
    for _ in range(int(seconds * 10)):
        if holds():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_a_role_that_dies_is_started_again_and_goes_with_up(shop: Shop) -> None:
    shop.audience("bought", "event('Order Completed').count() >= 1")
    shop.run("apply", "--yes")
    daemon = shop.up()
    try:
        assert eventually(lambda: children(daemon).keys() == {"schedule", "deliver"})
        before = children(daemon)
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: children(daemon).keys() == before.keys() and children(daemon) != before)
        client = analytics.Client("web-key", host=f"http://127.0.0.1:{shop.port}", sync_mode=True)
        client.track("u1", "Order Completed", {"total": 1}, {"traits": {"email": "a@x.io"}})
        assert eventually(lambda: shop.fields("a@x.io") == {"bought": True}, 40)
        running = children(daemon)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0
        assert [pid for pid in running.values() if is_running(pid)] == []
    finally:
        daemon.kill()
        daemon.wait()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_no_role_outlives_an_up_that_was_killed(shop: Shop) -> None:
    daemon = shop.up()
    try:
        assert eventually(lambda: children(daemon).keys() == {"schedule", "deliver"})
        running = children(daemon)
    finally:
        daemon.kill()
        daemon.wait()
    assert eventually(lambda: not any(map(is_running, running.values())))
