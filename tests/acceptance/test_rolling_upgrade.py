"""Old and new processes side by side: a migration that only adds lets the old ones go on; another one ends them."""

from __future__ import annotations

import httpx
from alembic import command
from sqlalchemy import Engine, text

from engage_sync.database import migrate
from engage_sync.database.tables import metadata
from engage_sync.sandbox.server import SandboxServer
from tests.factories.processes import WRITE_KEY, Fleet, eventually


def a_release_to_come_adds(engine: Engine) -> None:
    """To each table a column with a default and one without, and a table of its own; nothing is taken away."""
    for table in metadata.tables:
        with engine.begin() as connection:
            connection.exec_driver_sql(
                f"ALTER TABLE {table} ADD COLUMN future text, ADD COLUMN sooner integer NOT NULL DEFAULT 1"
            )
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE future (id bigint PRIMARY KEY)")
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))


def bought(fleet: Fleet, sandbox: SandboxServer, *emails: str) -> None:
    """Orders of new people, until Iterable knows of all of them."""
    for email in emails:
        call = {"userId": email, "event": "Order Completed", "context": {"traits": {"email": email}}}
        answer = httpx.post(f"http://127.0.0.1:{fleet.port}/v1/track", auth=(WRITE_KEY, ""), json=call)
        assert answer.status_code == 200
    eventually(lambda: {user["email"] for user in sandbox.users()} >= set(emails))


def test_old_processes_go_on_on_a_newer_schema_as_long_as_it_says_that_they_may(
    fleet: Fleet, sandbox: SandboxServer, engine: Engine
) -> None:
    fleet.audience("bought", "event('Order Completed').count() >= 1")
    fleet.run("apply", "--yes")
    processes = [fleet.start(role, waits=False) for role in ("serve", "schedule", "deliver")]
    fleet.until_started(*processes)
    # Often enough for every statement to be prepared.
    for number in range(6):
        bought(fleet, sandbox, f"before{number}@x.io")
    a_release_to_come_adds(engine)
    for number in range(6):
        bought(fleet, sandbox, f"after{number}@x.io")
    assert httpx.get(f"http://127.0.0.1:{fleet.port}/health/ready").status_code == 200
    assert "bought" in fleet.run("audiences").stdout, "one that starts now goes on, too"
    said = fleet.run("doctor").stdout
    assert f"newer than this version's {migrate.head_revision()}" in said
    assert all(f"process {process.pid} " in said for process in processes)
    assert [process.popen.poll() for process in processes] == [None] * 3
    assert not any(process.said("database_unavailable") for process in processes)

    with engine.begin() as connection:
        connection.execute(text("UPDATE installation SET compatible_since = '9999'"))
    for process in processes:
        assert process.popen.wait(30) == 1
        assert process.file.read_text().rstrip().endswith(f"ends with {migrate.head_revision()}. Install the version"
                                                          " that the others run.")  # fmt: skip
    assert "9999" in fleet.run("audiences", code=1).stderr


def test_processes_that_start_before_the_migration_wait_for_it(fleet: Fleet, engine: Engine) -> None:
    configuration = migrate.configuration()
    with engine.begin() as connection:
        configuration.attributes["connection"] = connection
        # Before who may run on a schema was written down.
        command.downgrade(configuration, "0015")
    deliver = fleet.start("deliver", waits=False)
    eventually(lambda: deliver.said("waiting_for_database"))
    assert "Run: engage-sync migrate" in deliver.said("waiting_for_database")[0]["reason"]
    fleet.run("migrate")
    fleet.until_started(deliver)
    deliver.stop()
