"""Every test that touches data gets a real PostgreSQL database of its own, cloned from a template.

The server is the one of ENGAGE_SYNC_TEST_DATABASE_URL; else a container where Docker answers; else the embedded one.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from engage_sync.database import embedded, migrate
from engage_sync.database.engine import create_engine

_numbers = itertools.count(1)

# Tests start hundreds of commands: read from source each time, their modules would cost more than what they do.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(tempfile.gettempdir()) / "engage-sync-tests"))

_MEMORY = Path("/dev/shm")
_ROOM = 4 * 2**30


def _work_in_memory() -> None:
    """Put folders that tests make where no disk is waited for: a database has 500 files, and each test has a database.

    There it's made in 30 ms, on a disk in 300 and more.
    """
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK):
        return
    found = os.statvfs(_MEMORY)
    if found.f_bavail * found.f_frsize >= _ROOM and not found.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = str(_MEMORY)
        tempfile.tempdir = None


_work_in_memory()


def _docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False)
    return asked.returncode == 0


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The URL of a database on the server, from which others are made."""
    given = os.environ.get("ENGAGE_SYNC_TEST_DATABASE_URL")
    if given:
        yield given
    elif _docker_answers():
        from testcontainers.postgres import PostgresContainer

        with PostgresContainer("postgres:18", driver=None) as container:
            yield container.get_connection_url()
    else:
        # A short path: the server's socket lies in it, and a socket's path may have 107 characters.
        home = Path(tempfile.mkdtemp(prefix="es-test-"))
        home.chmod(0o755)
        yield embedded.start(home, scratch=True)
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def template(server_url: str) -> str:
    """The name of a database with the newest schema and nothing in it."""
    name = f"template_{os.getpid()}"
    _create(server_url, name)
    engine = create_engine(_url(server_url, name))
    migrate.upgrade(engine)
    engine.dispose()
    return name


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    """A database of the test's own, with the schema and nothing in it; gone afterwards."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    _create(server_url, name, template)
    yield _url(server_url, name)
    _execute(server_url, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on the test's own database."""
    made = create_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _url(server_url: str, name: str) -> str:
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def _create(server_url: str, name: str, template: str = "template0") -> None:
    _execute(
        server_url,
        # Where nothing waits for the disk, copying the files takes a tenth of writing them to the log.
        sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8' STRATEGY FILE_COPY").format(
            sql.Identifier(name), sql.Identifier(template)
        ),
    )


def _execute(server_url: str, statement: sql.Composed) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(statement)
