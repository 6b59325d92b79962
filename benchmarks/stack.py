"""A whole installation for a benchmark: workspace, embedded Postgres, sandbox and `up`, each its own process."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

COMMAND = [sys.executable, "-m", "engage_sync"]


@dataclass(frozen=True, kw_only=True)
class Stack:
    folder: Path
    api: str
    sandbox: str
    write_key: str
    environment: Mapping[str, str]

    def run(self, *arguments: str) -> str:
        """A command of engage-sync in the workspace; its stdout."""
        done = subprocess.run([*COMMAND, *arguments], env=dict(self.environment), capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"engage-sync {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    @contextlib.contextmanager
    def process(self, *arguments: str, ready: str) -> Iterator[None]:
        """A process of engage-sync, from when its URL answers until the block ends."""
        log = (self.folder / f"{arguments[0]}.log").open("ab")
        started = subprocess.Popen([*COMMAND, *arguments], env=dict(self.environment), stdout=log, stderr=log)
        try:
            _wait(ready, started)
            yield
        finally:
            started.terminate()
            started.wait(30)
            log.close()

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        with self.process("up", ready=f"{self.api}/health/ready"):
            yield

    @contextlib.contextmanager
    def stand_in(self, *options: str) -> Iterator[None]:
        port = self.sandbox.rsplit(":", 1)[1]
        with self.process("sandbox", "--port", port, *options, ready=f"{self.sandbox}/sandbox/summary"):
            yield


@contextlib.contextmanager
def stack(definitions: Mapping[str, str], *, forwards: bool = False) -> Iterator[Stack]:
    """A workspace with definition files by path; everything is gone afterwards. `forwards`: the source's own calls."""
    folder = Path(tempfile.mkdtemp(prefix="es-bench-"))
    folder.chmod(0o755)
    port, sandbox = _free_port(), _free_port()
    (folder / "engage.yml").write_text(
        "space: {slug: bench}\n"
        # What is measured changes more within minutes than a shop does in an hour.
        "guard: off\n"
        'sources:\n  web: {write_key: "bench-key"}\n'
        "destinations:\n  iterable:\n    type: iterable\n"
        f'    settings: {{api_key: "sandbox-key", base_url: "http://127.0.0.1:{sandbox}"}}\n'
        + ("    connected_sources: [web]\n" if forwards else "")
    )
    for name, text in definitions.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    made = Stack(
        folder=folder,
        api=f"http://127.0.0.1:{port}",
        sandbox=f"http://127.0.0.1:{sandbox}",
        write_key="bench-key",
        environment={
            **{key: value for key, value in os.environ.items() if not key.startswith("ENGAGE_SYNC_")},
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
            "ENGAGE_SYNC_WORKSPACE": str(folder),
            "ENGAGE_SYNC_PORT": str(port),
            "ENGAGE_SYNC_LOG_LEVEL": "WARNING",
        },
    )
    try:
        yield made
    finally:
        subprocess.run([*COMMAND, "down"], env=dict(made.environment), capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise SystemExit(f"the process for {url} ended with {process.returncode}")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url).status_code == 200:
                return
        time.sleep(0.1)
    raise SystemExit(f"{url} did not answer")
