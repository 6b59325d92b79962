"""The embedded server's disk is full: said in one sentence, nothing is lost, and all goes on once there is room."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson
import psycopg
import pytest

from engage_sync.database import embedded
from engage_sync.sandbox.server import SandboxServer
from tests.factories.processes import WRITE_KEY, Fleet, eventually

SIZE = "110m"


@dataclass
class Disk:
    """A small disk of its own, and a file that fills it."""

    path: Path

    def fill(self) -> None:
        with (self.path / "filler").open("ab", buffering=0) as filler:
            for piece in (2**20, 2**12):
                try:
                    while filler.write(b"x" * piece) == piece:
                        pass
                except OSError:
                    continue

    def make_room(self) -> None:
        (self.path / "filler").unlink()


@pytest.fixture
def disk() -> Iterator[Disk]:
    folder = Path(tempfile.mkdtemp(prefix="es-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "none", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        folder.rmdir()
        pytest.skip("mounting a small disk takes root, and the right to mount")
    try:
        yield Disk(folder)
    finally:
        embedded.stop(folder)
        eventually(lambda: subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode == 0)
        folder.rmdir()


@pytest.fixture
def fleet(disk: Disk, sandbox: SandboxServer, free_port: int) -> Iterator[Fleet]:
    folder = Path(tempfile.mkdtemp(prefix="es-fleet-"))
    made = Fleet(folder, None, sandbox.url, free_port, {"ENGAGE_SYNC_HOME": str(disk.path)})
    yield made
    made.close()
    shutil.rmtree(folder)


@dataclass
class Caller:
    """Sends people's orders, one each; `taken` are the emails of those that were answered with 200."""

    port: int
    taken: list[str] = field(default_factory=list)
    number: int = 0

    def order(self) -> httpx.Response:
        self.number += 1
        email = f"p{self.number}@x.io"
        call = {"type": "track", "userId": f"u{self.number}", "event": "Order Completed",
                "context": {"traits": {"email": email}},
                # What doesn't compress needs room.
                "properties": {"note": os.urandom(8_000).hex()}}  # fmt: skip
        answer = httpx.post(f"http://127.0.0.1:{self.port}/v1/track", auth=(WRITE_KEY, ""), json=call, timeout=15)
        if answer.status_code == 200:
            self.taken.append(email)
        return answer

    def until(self, status: int) -> httpx.Response:
        for _ in range(400):
            answer = self.order()
            if answer.status_code == status:
                return answer
            time.sleep(0.05 if answer.status_code == 503 else 0)
        raise AssertionError(f"never {status}")


def told(sandbox: SandboxServer) -> set[str]:
    return {user["email"] for user in sandbox.users() if user["dataFields"].get("bought")}


def test_a_full_disk_is_said_and_all_goes_on_once_there_is_room(
    disk: Disk, fleet: Fleet, sandbox: SandboxServer
) -> None:
    fleet.audience("bought", "event('Order Completed').count() >= 1")
    fleet.run("apply", "--yes")
    up = fleet.start("up")
    eventually(lambda: httpx.get(f"http://127.0.0.1:{fleet.port}/health/ready").status_code == 200)
    caller = Caller(fleet.port)
    caller.until(200)
    eventually(lambda: told(sandbox) == set(caller.taken))

    # The tables can't grow.
    disk.fill()
    refused = caller.until(503)
    assert int(refused.headers["retry-after"]) > 0
    assert any(entry["reason"].startswith("The database's disk is full: ") for entry in up.said("inbox_commit_failed"))
    orders = fleet.folder / "orders.jsonl"
    orders.write_bytes(orjson.dumps({"type": "identify", "userId": "u0", "traits": {"note": os.urandom(9_000).hex()}}))
    said = fleet.run("import", str(orders), code=1).stderr
    assert "The database's disk is full: " in said
    assert "Traceback" not in said
    (finding,) = [line for line in fleet.run("doctor", code=1).stdout.splitlines() if line.startswith("disk ")]
    assert "no" in finding
    disk.make_room()
    caller.until(200)
    eventually(lambda: told(sandbox) >= set(caller.taken), 60)
    assert up.said("role_died") == []

    # The server's own log can't grow: it ends, and can't start.
    with psycopg.connect(embedded.start(disk.path), autocommit=True) as connection:
        disk.fill()
        with contextlib.suppress(psycopg.OperationalError):
            for _ in range(10):
                connection.execute("SELECT pg_logical_emit_message(false, 'fills', 'a file'), pg_switch_wal()")
    eventually(lambda: up.said("embedded_server_does_not_start"))
    assert "its disk is full" in up.said("embedded_server_does_not_start")[-1]["reason"]
    assert "disk is full" in fleet.run("audiences", code=1).stderr
    assert caller.order().status_code == 503
    disk.make_room()
    caller.until(200)
    eventually(lambda: told(sandbox) >= set(caller.taken), 60)
    assert up.said("role_died") == []
    up.stop()
