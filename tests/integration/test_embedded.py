"""The embedded server under the daemon: started again when it dies, left alone when somebody stopped it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from engage_sync.database import embedded, keeping
from tests.integration.delivery.test_deliverer import eventually


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="es-home-"))
    folder.chmod(0o755)
    yield folder
    embedded.stop(folder)
    shutil.rmtree(folder, ignore_errors=True)


def answers(url: str) -> bool:
    try:
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def test_a_server_that_dies_is_started_again_and_one_that_was_stopped_is_not(home: Path) -> None:
    url = embedded.start(home, scratch=True)

    async def run() -> None:
        stop = asyncio.Event()
        keeper = asyncio.create_task(keeping.keep_running(home, stop))
        process = int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(process, signal.SIGKILL)
        await eventually(lambda: not answers(url))
        await eventually(lambda: answers(url))
        await asyncio.to_thread(embedded.stop, home)
        # Longer than it takes to notice.
        await asyncio.sleep(2.5)
        assert not embedded.is_running(home)
        assert answers(await asyncio.to_thread(embedded.start, home))
        stop.set()
        await keeper

    asyncio.run(run())
