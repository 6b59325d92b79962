"""A fleet of processes on one database, whose Iterable is a sandbox."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engage_sync.sandbox.server import SandboxServer
from tests.factories.processes import Fleet


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as made:
        yield made


@pytest.fixture
def fleet(database_url: str, sandbox: SandboxServer, free_port: int) -> Iterator[Fleet]:
    folder = Path(tempfile.mkdtemp(prefix="es-fleet-"))
    made = Fleet(folder, database_url, sandbox.url, free_port)
    yield made
    made.close()
    shutil.rmtree(folder)
