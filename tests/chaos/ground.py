"""Where a run takes place: a Postgres of its own, the witnesses, a workspace, and the processes of the roles."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx

from engage_sync.database import embedded
from tests.chaos import worlds
from tests.chaos.patience import eventually
from tests.chaos.postgres import Postgres
from tests.chaos.processes import Child, Nursery, Role
from tests.chaos.worlds import World

ROLES: Final = ("serve", "schedule", "deliver", "deliver-2")


class Ground:
    """All of it. `lookback`: with a definition that time alone changes."""

    def __init__(self, folder: Path, world: World, *, request_timeout: float, lookback: bool) -> None:
        self.folder, self.world = folder, world
        self.logs = folder / "logs"
        self.logs.mkdir()
        self._nursery = Nursery()
        self.postgres = Postgres(folder)
        port, *ports = _free_ports(1 + len(world.destinations))
        self.api = f"http://127.0.0.1:{port}"
        self.witnesses = {
            slug: f"http://127.0.0.1:{place}" for slug, place in zip(world.destinations, ports, strict=True)
        }
        workspace = folder / "workspace"
        worlds.write(workspace, world, self.witnesses, lookback=lookback)
        others = {key: value for key, value in os.environ.items() if not key.startswith("ENGAGE_SYNC_")}
        self._environment = others | {
            "ENGAGE_SYNC_DATABASE_URL": self.postgres.url,
            "ENGAGE_SYNC_WORKSPACE": str(workspace),
            "ENGAGE_SYNC_PORT": str(port),
            "ENGAGE_SYNC_REQUEST_TIMEOUT": str(request_timeout),
            "ENGAGE_SYNC_LOG_FORMAT": "json",
        }
        self._commands = 0
        self._witness: Child | None = None
        self.roles = {name: Role(name, self._nursery, self._environment, self.logs) for name in ROLES}

    def start(self) -> None:
        ports = [url.rpartition(":")[2] for url in self.witnesses.values()]
        log = self.logs / "witnesses.log"
        self._witness = self._nursery.begin("tests.chaos.witnesses", ports, self._environment, log, log)
        self.run("migrate")
        self.run("apply", "--yes")
        for role in self.roles.values():
            role.start()
        for url in (*(f"{url}/sandbox/summary" for url in self.witnesses.values()), f"{self.api}/health/ready"):
            eventually(partial(_answers, url), url)

    def run(self, *arguments: str) -> str:
        """A command; what it says. Raises AssertionError with that where it fails."""
        code, said, complained = self.try_(*arguments)
        assert code == 0, (arguments, code, said, complained)
        return said

    def try_(self, *arguments: str, seconds: float = float("inf")) -> tuple[int | None, str, str]:
        """A command's exit code, and what it says; None where it was killed, having lived that long."""
        self._commands += 1
        said, complained = (self.logs / f"{arguments[0]}-{self._commands}.{name}" for name in ("out", "err"))
        command = self._nursery.begin("engage_sync", arguments, self._environment, said, complained)
        code = command.wait(seconds)
        if code is None:
            command.kill()
        return code, said.read_text(), complained.read_text()

    def read(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def stop(self) -> None:
        for role in self.roles.values():
            role.thaw()
            role.kill()
        if self._witness is not None:
            self._witness.kill()
        self._nursery.close()
        embedded.stop(self.folder)


@contextlib.contextmanager
def ground(world: World, *, request_timeout: float, lookback: bool) -> Iterator[Ground]:
    """It is gone afterwards, but for the folder of a run that failed."""
    # A short path: the server's socket lies in it, and a socket's path may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="es-chaos-"))
    folder.chmod(0o755)
    made = Ground(folder, world, request_timeout=request_timeout, lookback=lookback)
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
