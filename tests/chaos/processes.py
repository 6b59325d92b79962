"""Processes that are killed, frozen and begun again; all are forked by one nursery."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_LOOK_AGAIN_AFTER: Final = 0.02
# What a role logs when all its parts run.
_STARTED: Final = b'"event": "started"'


class Nursery:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._one_at_a_time = threading.Lock()

    def begin(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], stdout: Path, stderr: Path
    ) -> Child:
        asked = {"module": module, "arguments": list(arguments), "environment": dict(environment)}
        return Child(self, self.ask({**asked, "stdout": str(stdout), "stderr": str(stderr)}))

    def ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._one_at_a_time:
            self._process.stdin.write(f"{json.dumps(question)}\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


class Child:
    """One process; its exit code is negative where a signal ended it."""

    def __init__(self, nursery: Nursery, process: int) -> None:
        self._nursery, self._id = nursery, process
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            self._code = self._nursery.ask({"poll": self._id})
        return self._code

    def send(self, number: signal.Signals) -> None:
        if self._code is None:
            os.kill(self._id, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.wait()

    def wait(self, seconds: float = float("inf")) -> int | None:
        """The exit code; None where it lives longer than that."""
        until = time.monotonic() + seconds
        while (code := self.poll()) is None and time.monotonic() < until:
            time.sleep(_LOOK_AGAIN_AFTER)
        return code


class Role:
    """A process that is killed and started again. `died`: the codes with which it ended by itself."""

    def __init__(self, name: str, nursery: Nursery, environment: Mapping[str, str], logs: Path) -> None:
        self.name, self.is_frozen = name, False
        self.died: list[int] = []
        self._nursery, self._environment, self._log = nursery, environment, logs / f"{name}.log"
        self._process: Child | None = None
        self._logged_before = 0

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def is_at_work(self) -> bool:
        """Whether it got further than starting."""
        if not self.is_running:
            return False
        with self._log.open("rb") as log:
            log.seek(self._logged_before)
            return _STARTED in log.read()

    def start(self) -> None:
        if self.is_running:
            return
        self._note_death()
        self._logged_before = self._log.stat().st_size if self._log.exists() else 0
        command = [self.name.partition("-")[0]]
        self._process = self._nursery.begin("engage_sync", command, self._environment, self._log, self._log)

    def kill(self) -> bool:
        """Whether it was there to be killed."""
        self._note_death()
        process, self._process, self.is_frozen = self._process, None, False
        if process is None:
            return False
        process.kill()
        return True

    def freeze(self) -> None:
        if self.is_running and self._process is not None:
            self._process.send(signal.SIGSTOP)
            self.is_frozen = True

    def thaw(self) -> None:
        if self.is_frozen and self._process is not None:
            self._process.send(signal.SIGCONT)
        self.is_frozen = False

    def _note_death(self) -> None:
        if self._process is not None and (code := self._process.poll()) is not None:
            self.died.append(code)
            self._process = None
