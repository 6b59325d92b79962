"""A PostgreSQL to throw away: a server of its own in a temporary folder, with the newest schema and nothing in it.

It has nothing to do with the database that the settings name. Both server and folder are gone at the end, whatever ends
it but SIGKILL.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, delete

from engage_sync.database import embedded, migrate
from engage_sync.database.engine import create_engine
from engage_sync.database.tables import metadata

# What belongs to the database and to who works on it, rather than to what it holds.
_STAYING = ("installation", "workers")
# Of a few rows each, deleting is a hundred times quicker than truncating, which makes new files for table and indexes.
_EMPTY = ";".join(str(delete(table)) for table in reversed(metadata.sorted_tables) if table.name not in _STAYING)


@contextmanager
def server() -> Iterator[str]:
    """The URL of its database. Raises errors.DatabaseUnavailable."""
    home = Path(tempfile.mkdtemp(prefix="engage-sync-test-"))
    # Where root starts it, the server runs as another user.
    home.chmod(0o755)
    try:
        url = embedded.start(home, scratch=True)
        engine = create_engine(url)
        migrate.upgrade(engine)
        engine.dispose()
        yield url
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


def empty(connection: Connection) -> None:
    """Leave every table empty: as good as another database, without the wait for one."""
    connection.exec_driver_sql(_EMPTY)
