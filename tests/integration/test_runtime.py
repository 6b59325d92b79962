"""What every process is made of, when the database goes away in the middle of its start."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from engage_sync import errors
from engage_sync.runtime import runtime
from engage_sync.settings import Settings

# Whoever waits for us to let go of the sources is cut off.
_CUT = text(
    """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
    """
)


def test_a_connection_lost_while_starting_is_a_database_that_is_away(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    """The daemon waits for such a database, and tries again; anything else would end it."""
    (tmp_path / "engage.yml").write_text("sources:\n  web: {write_key: web-key}\n")
    settings = Settings(workspace=tmp_path, database_url=SecretStr(database_url))

    def start() -> None:
        with runtime(settings):
            pass

    # Each look is a transaction of its own, as activity stays as it was first seen within one.
    watching = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    with ThreadPoolExecutor(1) as threads, watching, engine.begin() as holding:
        holding.execute(text("LOCK TABLE sources"))
        starting = threads.submit(start)
        while not watching.execute(_CUT).scalar_one():
            assert not starting.done(), starting.result()
        with pytest.raises(errors.DatabaseUnavailable):
            starting.result()
