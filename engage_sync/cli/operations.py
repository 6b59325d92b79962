"""render, dead-letters, migrate, doctor, down: keeping it running."""

from __future__ import annotations

import sys
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer

from engage_sync import clock, errors, health
from engage_sync import runtime as composition
from engage_sync.cli import output
from engage_sync.cli.app import Json, Limit, current
from engage_sync.database import copies, embedded, migrate
from engage_sync.database import engine as database
from engage_sync.destinations import registry
from engage_sync.destinations.allowing import Allowed
from engage_sync.destinations.render import render_line
from engage_sync.outbox import dead_letters as letters
from engage_sync.outbox import destinations_table

dead_letters = typer.Typer(help="Messages that could not be delivered, with their reasons.", no_args_is_help=True)

Numbers = Annotated[list[int] | None, typer.Argument(metavar="[ID]…", help="Their numbers, as `list` shows them.")]
Everything = Annotated[bool, typer.Option("--all", help="All of them.")]


def register(app: typer.Typer) -> None:
    app.command()(render)
    app.command("migrate")(run_migrations)
    app.command()(doctor)
    app.command()(down)
    app.command()(pause)
    app.command()(resume)
    dead_letters.command("list")(list_dead_letters)
    dead_letters.command("replay")(replay)
    dead_letters.command("discard")(discard)
    app.add_typer(dead_letters, name="dead-letters")


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
    engine.dispose()
    output.out.print(f"The database is at revision {migrate.head_revision()}.")


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


def list_dead_letters(
    context: typer.Context,
    destination: Annotated[str | None, typer.Option(help="Only of this destination.")] = None,
    key: Annotated[str | None, typer.Option(help="Only of this definition.")] = None,
    status: Annotated[str, typer.Option(help="open, replayed or discarded; all of them with 'all'.")] = "open",
    limit: Limit = None,
    json: Json = False,
) -> None:
    """List dead letters, newest first."""
    with composition.runtime(current(context)) as runtime, runtime.engine.begin() as connection:
        found = letters.listing(
            connection,
            destination=destination,
            key=key,
            status=None if status == "all" else status,
            limit=limit if json else limit or 50,
        )
    rows = [asdict(letter) for letter in found]
    if json:
        output.json(rows)
        return
    output.table(
        [{**asdict(letter), "about": letter.key or _forwarded(letter)} for letter in found],
        {"id": "id", "failed_at": "failed at", "destination": "destination", "about": "of",
         "identity_value": "identity", "call_type": "call", "attempts": "attempts", "reason": "reason"},
    )  # fmt: skip


def _forwarded(letter: letters.DeadLetter) -> str | None:
    """What a call that no definition made is known by: 'web: Order Completed'."""
    if letter.source is None:
        return None
    return f"{letter.source}: {letter.value}" if letter.value else letter.source


def replay(context: typer.Context, numbers: Numbers = None, everything: Everything = False, json: Json = False) -> None:
    """Put dead letters back into the outbox, in their order; what is no longer true isn't sent again."""
    chosen = _chosen(numbers, everything)
    waiting = obsolete = 0
    after: int | None = 0
    with composition.runtime(current(context)) as runtime:
        while after is not None:
            with runtime.engine.begin() as connection:
                batch, after = letters.replay(connection, chosen, after=after)
            waiting += batch.waiting
            obsolete += batch.obsolete
    if json:
        output.json({"replayed": waiting, "obsolete": obsolete})
    else:
        output.out.print(f"{waiting} replayed, {obsolete} no longer true")


def discard(
    context: typer.Context, numbers: Numbers = None, everything: Everything = False, json: Json = False
) -> None:
    """Give dead letters up; they stay on record."""
    with composition.runtime(current(context)) as runtime, runtime.engine.begin() as connection:
        count = letters.discard(connection, _chosen(numbers, everything))
    if json:
        output.json({"discarded": count})
    else:
        output.out.print(f"{count} discarded")


def _chosen(numbers: list[int] | None, everything: bool) -> list[int] | None:
    if bool(numbers) == everything:
        raise errors.UsageError("Name dead letters by their numbers, or all of them with --all.")
    return numbers or None
