"""render, migrate, doctor, pause, resume, down: keeping it running."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import Annotated

import orjson
import typer

from engage_sync import clock, errors, health
from engage_sync import runtime as composition
from engage_sync.cli import output
from engage_sync.cli.app import Json, current
from engage_sync.database import copies, embedded, migrate
from engage_sync.database import engine as database
from engage_sync.destinations import registry
from engage_sync.destinations.allowing import Allowed
from engage_sync.destinations.render import render_line
from engage_sync.outbox import destinations_table


def register(app: typer.Typer) -> None:
    app.command()(render)
    app.command("migrate")(run_migrations)
    app.command()(doctor)
    app.command()(down)
    app.command()(pause)
    app.command()(resume)


def render(
    context: typer.Context,
    destination: Annotated[str, typer.Argument(help="A destination by its slug.")],
    file: Annotated[str, typer.Argument(metavar="[FILE or -]", help="Segment calls as JSON lines.")] = "-",
) -> None:
    """Show the HTTP requests that Segment calls would become, one JSON line a call, without sending any.

    Example: echo '{"type": "identify", "traits": {"email": "a@x.io"}}' | engage-sync render iterable
    """
    settings = current(context)
    workspace = composition.load(settings)
    configured = {config.slug: config for config in workspace.destinations}
    if destination not in configured:
        raise errors.NotFound(
            f"There is no destination {destination!r} in engage.yml."
            f" Known are: {', '.join(sorted(configured)) or 'none'}."
        )
    made = registry.build(configured[destination])
    allowed = Allowed(configured[destination].allow)
    if file != "-" and not Path(file).is_file():
        raise errors.UsageError(f"{file}: there is no such file.")
    source = sys.stdin.buffer if file == "-" else Path(file).open("rb")  # noqa: SIM115 - closed below
    with source:
        for line in source:
            if not line.strip():
                continue
            rendered = render_line(
                made, line, message_id=lambda: str(uuid.uuid4()), timestamp=clock.now(), allowed=allowed
            )
            sys.stdout.buffer.write(orjson.dumps(rendered) + b"\n")
    sys.stdout.flush()


def run_migrations(context: typer.Context) -> None:
    """Bring the database to the newest schema. Safe to run again, and from many machines at once."""
    settings = current(context)
    engine = database.create_engine(database.database_url(settings), application="engage-sync migrate")
    migrate.upgrade(engine)
    with engine.connect() as connection:
        revision = migrate.current_revision(connection)
    engine.dispose()
    newer = "" if revision == migrate.head_revision() else ", of a newer version that this one gets along with"
    output.out.print(f"The database is at revision {revision}{newer}.")


def doctor(
    context: typer.Context,
    adopt_copy: Annotated[
        bool, typer.Option("--adopt-copy", help="This database, a copy of another, is the installation from now on.")
    ] = False,
    json: Json = False,
) -> None:
    """Check the set-up: workspace, database, schema, clocks, scheduler, destinations.

    A database that was restored elsewhere, or cloned, sends nothing by itself: what it holds, the other one may have
    said already. --adopt-copy lets it speak, when the other one is silent for ever.
    """
    if adopt_copy:
        with composition.runtime(current(context)) as runtime, runtime.engine.begin() as connection:
            copies.adopt(connection)
            resumed = destinations_table.resume_paused_for(connection, copies.REASON)
        output.say(f"This database is the installation now. Resumed: {', '.join(resumed) or 'nothing was paused'}.")
    findings = health.examine(current(context))
    rows = [finding.document() for finding in findings]
    if json:
        output.json(rows)
    else:
        output.table(rows, {"check": "check", "ok": "ok", "detail": "detail"})
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def down(context: typer.Context) -> None:
    """Stop the embedded Postgres of this workspace."""
    home = current(context).home
    output.say("stopped" if embedded.stop(home) else "The embedded Postgres is not running.")


def pause(
    context: typer.Context, destination: Annotated[str, typer.Argument(help="A destination by its slug.")]
) -> None:
    """Send nothing more to a destination until resume; what is to be said waits in the outbox."""
    with composition.runtime(current(context)) as runtime, runtime.engine.begin() as connection:
        destinations_table.pause(connection, destination, "paused by hand")
    output.out.print(f"{destination} is paused.")


def resume(
    context: typer.Context, destination: Annotated[str, typer.Argument(help="A destination by its slug.")]
) -> None:
    """Go on sending to a destination that was paused, by hand or after a wrong key."""
    with composition.runtime(current(context)) as runtime, runtime.engine.begin() as connection:
        if copies.is_copy(connection):
            raise errors.UsageError(f"{destination} is paused, as {copies.REASON}.")
        destinations_table.resume(connection, destination)
    output.out.print(f"{destination} is sent to again.")
