"""How long one statement of a question may take, and what is said when it took longer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from engage_sync import errors

_TIMED_OUT = "57014"
_READ_ONLY = text("SET TRANSACTION READ ONLY")
_LIMIT = text("SELECT set_config('statement_timeout', :milliseconds, true)")


@contextmanager
def reading(connection: Connection, patience: float) -> Iterator[None]:
    """A transaction in which Postgres refuses to write anything but a session's own tables.

    Raises errors.ComputationFailed where a statement takes longer than `patience` seconds.
    """
    try:
        with connection.begin():
            connection.execute(_READ_ONLY)
            connection.execute(_LIMIT, {"milliseconds": str(round(patience * 1000))})
            yield
    except DBAPIError as failure:
        if getattr(failure.orig, "sqlstate", None) != _TIMED_OUT:
            raise
        raise errors.ComputationFailed(
            f"It took longer than {patience:g} seconds (ENGAGE_SYNC_COMPUTE_TIMEOUT)."
            " Narrow its windows, or give it more time."
        ) from failure
