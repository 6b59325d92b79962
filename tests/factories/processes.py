"""engage-sync's roles as processes of their own, with what they log, on a workspace whose Iterable is a sandbox."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.factories import commands

WRITE_KEY = "web-key"
# How long a role gets to end after SIGTERM (daemon.run).
LONGEST_STOP = 20


@dataclass
class Process:
    """A role that runs; its log is JSON lines."""

    role: str
    popen: subprocess.Popen[bytes]
    file: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    def said(self, event: str) -> list[dict[str, Any]]:
        """What was logged under a name so far."""
        lines = (line for line in self.file.read_text().splitlines() if line.startswith("{"))
        return [entry for entry in map(json.loads, lines) if entry["event"] == event]

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> float:
        """SIGTERM; how many seconds it took to end. It must end by itself, and well."""
        began = time.monotonic()
        self.popen.send_signal(signal.SIGTERM)
        assert self.popen.wait(LONGEST_STOP) == 0, self.file.read_text()
        return time.monotonic() - began


@dataclass
class Fleet:
    """A workspace in a folder, and the processes that were started on it."""

    folder: Path
    database_url: str | None
    sandbox_url: str
    port: int
    variables: Mapping[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "engage.yml").write_text(
            f"space: {{slug: shop}}\nsources:\n  web: {{write_key: {WRITE_KEY}}}\n"
            "destinations:\n  iterable:\n    type: iterable\n"
            f'    settings: {{api_key: sandbox-key, base_url: "{self.sandbox_url}"}}\n'
        )

    @property
    def environment(self) -> dict[str, str]:
        own = {key: value for key, value in os.environ.items() if not key.startswith("ENGAGE_SYNC_")}
        own |= {"ENGAGE_SYNC_WORKSPACE": str(self.folder), "ENGAGE_SYNC_PORT": str(self.port)}
        own |= {} if self.database_url is None else {"ENGAGE_SYNC_DATABASE_URL": self.database_url}
        return own | self.variables

    def audience(self, key: str, query: str) -> None:
        file = self.folder / "audiences" / f"{key}.yml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"name: {key}\nquery: {query}\ndestinations: {{iterable: {{identify: true}}}}\n")

    def start(self, role: str, *, waits: bool = True, **variables: str) -> Process:
        """Start a role; with `waits`, return once it works."""
        file = self.folder / f"{role}-{len(self.processes)}.log"
        with file.open("wb") as log:
            popen = subprocess.Popen(
                [sys.executable, "-m", "engage_sync", role],
                env=self.environment | variables,
                stdout=log,
                stderr=log,
            )
        made = Process(role, popen, file)
        self.processes.append(made)
        if waits:
            self.until_started(made)
        return made

    def until_started(self, *processes: Process) -> None:
        for process in processes:
            eventually(lambda process=process: process.said("started") or process.popen.poll() is not None, 60)
            assert process.popen.poll() is None, process.file.read_text()

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        done = commands.run(arguments, self.environment)
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def close(self) -> None:
        """Nothing that was started stays behind."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.popen.kill()
            process.popen.wait()


def eventually(holds: Callable[[], Any], seconds: float = 30.0) -> float:
    """Wait until something is so; how many seconds it took. Fails where it never is."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"not so within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - began
