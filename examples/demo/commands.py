"""The command line as a person uses it: each call is a process of its own, in one workspace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

# The command that was installed beside this interpreter.
EXECUTABLE = Path(sys.executable).with_name("engage-sync")
_SECONDS_TO_START = 30
_SECONDS_TO_STOP = 25


class CommandFailed(Exception):
    """A command ended with another exit code than 0; it has said why on stderr."""


class CommandLine:
    """Runs `engage-sync -C workspace …`. What its own environment says of other workspaces doesn't count."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("ENGAGE_SYNC_")}

    def run(self, *arguments: str) -> None:
        """Run a command that speaks to the terminal itself. Raises CommandFailed."""
        self._finish(arguments, subprocess.run(self._line(arguments), env=self._environment, check=False))

    def read(self, *arguments: str) -> Any:
        """The document that a command prints with --json. Raises CommandFailed."""
        line = self._line((*arguments, "--json"))
        done = subprocess.run(line, env=self._environment, stdout=subprocess.PIPE, check=False)
        self._finish(arguments, done)
        return json.loads(done.stdout)

    def quietly(self, *arguments: str) -> None:
        """Run a command whatever it says."""
        subprocess.run(self._line(arguments), env=self._environment, capture_output=True, check=False)

    def start(self, *arguments: str, answers: str) -> Service:
        """Start a command that stays, and wait until its URL `answers`; its output goes to a file in the workspace."""
        log = self._workspace / f"{arguments[0]}.log"
        with log.open("ab") as output:
            # In a session of its own, so that Ctrl+C reaches this process only, which then stops things in order.
            process = subprocess.Popen(
                self._line(arguments), env=self._environment, stdout=output, stderr=output, start_new_session=True
            )
        service = Service(arguments[0], process, log)
        try:
            service.wait_for(answers)
        except BaseException:
            service.stop()
            raise
        return service

    def _line(self, arguments: tuple[str, ...]) -> list[str]:
        return [str(EXECUTABLE), "-C", str(self._workspace), *arguments]

    def _finish(self, arguments: tuple[str, ...], done: subprocess.CompletedProcess[bytes]) -> None:
        if done.returncode:
            raise CommandFailed(f"engage-sync {' '.join(arguments)} ended with exit code {done.returncode}.")


class Service:
    """A process that stays until it is stopped."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self._name = name
        self._process = process
        self._log = log

    def wait_for(self, url: str) -> None:
        """Until the URL answers 200. Raises CommandFailed with what the process said last."""
        deadline = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(url, timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        said = self._log.read_text(errors="replace").splitlines()[-20:]
        raise CommandFailed("\n".join([f"engage-sync {self._name} did not start. It said:", *said]))

    def wait(self) -> None:
        """Until it ends by itself."""
        self._process.wait()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
