"""Where a run takes place: a Postgres of its own, two sandboxes, a workspace, and the processes of the roles."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg

from engage_sync.database import embedded
from tests.factories import commands

ROLES: Final = ("serve", "schedule", "deliver", "deliver-2")
# The second one is spoken to in bulk.
DESTINATIONS: Final = ("iterable", "bulk")
_TO_BE_PATIENT: Final = 120

_ENGAGE = """
space: {{slug: shop}}
sources:
  web: {{write_key: web-key}}
  app: {{write_key: app-key}}
destinations:
  iterable:
    type: iterable
    settings: {{api_key: sandbox-key, base_url: "{iterable}"}}
    connected_sources: [web]
  bulk:
    type: iterable
    settings: {{api_key: sandbox-key, base_url: "{bulk}", bulk: always}}
    connected_sources: [web]
schedule: {{lookback: "* * * * *"}}
guard: off
"""
_IDENTIFY = "destinations: {iterable: {identify: true}, bulk: {identify: true}}\n"
_BOTH = "destinations: {iterable: {identify: true, track: true}, bulk: {identify: true, track: true}}\n"
_DEFINITIONS: Final = {
    "audiences/gold.yml": "name: Gold\nquery: trait('plan') = 'gold'\n" + _BOTH,
    "audiences/loyal.yml": "name: Loyal\nquery: trait('gold') = 'true' AND trait('orders') >= 2\n" + _BOTH,
    "audiences/big_spender.yml": "name: Big Spender\nquery: trait('spent') > 100\n" + _IDENTIFY,
    "traits/spent.yml": "name: Spent\nquery: event('Order Completed').sum(property('total'))\n" + _BOTH,
    "traits/orders.yml": "name: Orders\nquery: event('Order Completed').count()\n" + _IDENTIFY,
    "traits/last_viewed.yml": "name: Last Viewed\nquery: event('Product Viewed').last(property('sku'))\n" + _BOTH,
}
# What time alone ends; it takes a minute or two.
LOOKBACK: Final = {
    "audiences/active.yml": "name: Active\nquery: event('Product Viewed').within(1 minute).count() >= 1\n" + _BOTH,
}


class Postgres:
    """The embedded server; a crash loses nothing that was committed, although nothing waits for the disk."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.url = embedded.start(home)
        # The machine stays up: what a killed server has written, the system keeps.
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")

    def crash(self) -> None:
        """All backends end at once, in the middle of what they do; the next start recovers."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(self._process(), signal.SIGQUIT)
        _eventually(lambda: not (self.home / "postgres" / "postmaster.pid").exists(), "Postgres to end")

    def start(self) -> None:
        for _ in range(5):
            with contextlib.suppress(Exception):
                embedded.start(self.home)
                return
            time.sleep(1)
        embedded.start(self.home)

    def kill_backend(self, place: float) -> bool:
        """One backend of the daemon is killed; the server ends all others, and recovers by itself."""
        backends = self.backends()
        if not backends:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(backends[int(place * len(backends))], signal.SIGKILL)
        return True

    def backends(self) -> list[int]:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                " ORDER BY pid"
            ).fetchall()
            return [row[0] for row in rows]
        return []

    def cut(self, backends: list[int]) -> None:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS cut (pid)", (backends,))

    def _process(self) -> int:
        return int((self.home / "postgres" / "postmaster.pid").read_text().splitlines()[0])


class Role:
    """A process that is killed and started again. `died`: the codes with which it ended by itself."""

    def __init__(self, name: str, environment: dict[str, str], logs: Path) -> None:
        self.name, self.is_frozen = name, False
        self.died: list[int] = []
        self._command = [sys.executable, "-m", "engage_sync", name.partition("-")[0]]
        self._environment, self._log = environment, logs / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        if self.is_running:
            return
        self._note_death()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> bool:
        """Whether it was there to be killed."""
        self._note_death()
        process, self._process, self.is_frozen = self._process, None, False
        if process is None:
            return False
        process.kill()
        process.wait()
        return True

    def _note_death(self) -> None:
        if self._process is not None and (code := self._process.poll()) is not None:
            self.died.append(code)
            self._process = None

    def freeze(self) -> None:
        if self.is_running and self._process is not None:
            self._process.send_signal(signal.SIGSTOP)
            self.is_frozen = True

    def thaw(self) -> None:
        if self.is_frozen and self._process is not None:
            self._process.send_signal(signal.SIGCONT)
        self.is_frozen = False


class Ground:
    """All of it. `lookback`: with a definition that time alone changes."""

    def __init__(self, folder: Path, *, request_timeout: float, lookback: bool) -> None:
        self.folder = folder
        self.keys = [Path(name).stem for name in (_DEFINITIONS | (LOOKBACK if lookback else {}))]
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.postgres = Postgres(folder)
        port, *sandboxes = _free_ports(1 + len(DESTINATIONS))
        self.api = f"http://127.0.0.1:{port}"
        self.sandboxes = {
            slug: f"http://127.0.0.1:{place}" for slug, place in zip(DESTINATIONS, sandboxes, strict=True)
        }
        workspace = folder / "workspace"
        files = {"engage.yml": _ENGAGE.format(**self.sandboxes), **_DEFINITIONS, **(LOOKBACK if lookback else {})}
        for name, text in files.items():
            (workspace / name).parent.mkdir(parents=True, exist_ok=True)
            (workspace / name).write_text(text)
        others = {key: value for key, value in os.environ.items() if not key.startswith("ENGAGE_SYNC_")}
        self._environment = others | {
            "ENGAGE_SYNC_DATABASE_URL": self.postgres.url,
            "ENGAGE_SYNC_WORKSPACE": str(workspace),
            "ENGAGE_SYNC_PORT": str(port),
            "ENGAGE_SYNC_REQUEST_TIMEOUT": str(request_timeout),
            "ENGAGE_SYNC_LOG_FORMAT": "json",
            "PYTHONUNBUFFERED": "1",
        }
        self._witnesses: list[subprocess.Popen[bytes]] = []
        self.roles = {name: Role(name, self._environment, self.logs) for name in ROLES}

    def start(self) -> None:
        for slug, url in self.sandboxes.items():
            with (self.logs / f"sandbox-{slug}.log").open("ab") as log:
                command = [sys.executable, "-m", "engage_sync.sandbox", "--port", url.rpartition(":")[2]]
                self._witnesses.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True))
        self.run("migrate")
        self.run("apply", "--yes")
        for role in self.roles.values():
            role.start()
        for url in (*(f"{url}/sandbox/summary" for url in self.sandboxes.values()), f"{self.api}/health/ready"):
            _eventually(lambda url=url: _answers(url), url)

    def run(self, *arguments: str) -> str:
        """A command; what it says. Raises AssertionError with that where it fails."""
        done = commands.run(arguments, self._environment)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    def read(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def stop(self) -> None:
        for role in self.roles.values():
            role.thaw()
            role.kill()
        for witness in self._witnesses:
            witness.kill()
            witness.wait()
        embedded.stop(self.folder)


@contextlib.contextmanager
def ground(*, request_timeout: float, lookback: bool) -> Iterator[Ground]:
    """It is gone afterwards, but for the folder of a run that failed."""
    # A short path: the server's socket lies in it, and a socket's path may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="es-chaos-"))
    folder.chmod(0o755)
    made = Ground(folder, request_timeout=request_timeout, lookback=lookback)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder / "postgres", ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5.0).status_code == 200
    except httpx.HTTPError:
        return False


def _eventually(is_so: Any, what: str) -> None:
    until = time.monotonic() + _TO_BE_PATIENT
    while not is_so():
        assert time.monotonic() < until, f"waited {_TO_BE_PATIENT} seconds for {what}"
        time.sleep(0.05)
