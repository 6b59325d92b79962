"""Whether this database is the one that it was, or a copy: restored elsewhere, or cloned. Writes `installation`.

A copy holds what was told, what waits, and the keys to say it: two databases that each go on delivering would tell
people twice, and a staging system would tell real ones.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

REASON = "this database is a copy of another: engage-sync doctor --adopt-copy lets it speak"
# The server's identity is made by initdb and lives as long as its data; a clone on the same server has another oid.
_HERE = """
    SELECT (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
           (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS database_oid
"""
_IS_COPY = text(
    f"""
    SELECT (installation.system_identifier, installation.database_oid)
           IS DISTINCT FROM (here.system_identifier, here.database_oid)
    FROM installation, ({_HERE}) AS here
    """  # noqa: S608 - a constant of this module
)
_BIND = f"""
    UPDATE installation SET system_identifier = here.system_identifier, database_oid = here.database_oid
    FROM ({_HERE}) AS here
"""  # noqa: S608 - a constant of this module
_BIND_NEW = text(_BIND + " WHERE installation.system_identifier IS NULL")


def is_copy(connection: Connection) -> bool:
    """Whether the installation is bound to another server or database. A new one is bound to this one."""
    connection.execute(_BIND_NEW)
    return bool(connection.execute(_IS_COPY).scalar_one())


def adopt(connection: Connection) -> None:
    """This is the installation from now on."""
    connection.execute(text(_BIND))
