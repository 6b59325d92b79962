"""up, serve, schedule, sandbox: processes that stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from engage_sync.cli import output
from engage_sync.cli.app import current


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(serve)
    app.command()(schedule)
    app.command()(sandbox)


def up(
    context: typer.Context,
    one_process: Annotated[
        bool, typer.Option("--one-process", help="No processes for scheduler and delivery: less memory, slower.")
    ] = False,
) -> None:
    """Everything: API, real time, scheduler and delivery. Applies no definitions by itself.

    Scheduler and delivery are processes of their own, which start and end with this one.
    """
    from engage_sync import daemon

    settings = current(context)
    output.say(f"engage-sync listens on http://{settings.host}:{settings.port} (Ctrl+C stops it)")
    if one_process:
        daemon.run(settings, daemon.ROLES)
    else:
        daemon.run(settings, ["serve"], apart=["schedule", "deliver"])


def serve(context: typer.Context) -> None:
    """Only the HTTP API: calls are accepted and kept until a scheduler resolves them."""
    from engage_sync import daemon

    daemon.run(current(context), ["serve"])


def schedule(context: typer.Context) -> None:
    """Only the scheduler: resolving, real time, ticks. One of many leads; the others stand by."""
    from engage_sync import daemon

    daemon.run(current(context), ["schedule"])


def sandbox(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8091,
    api_key: Annotated[str, typer.Option(help="The only key that it takes.")] = "sandbox-key",
    project_type: Annotated[str, typer.Option(help="email, user_id or hybrid.")] = "email",
    identify_rate: Annotated[float, typer.Option(help="users/update a second; 0 = no limit.")] = 500,
    track_rate: Annotated[float, typer.Option(help="events/track a second; 0 = no limit.")] = 2000,
    rate: Annotated[
        list[str] | None,
        typer.Option(help="Another endpoint's limit a second, e.g. users/bulkUpdate=50; 0 = no limit. Repeatable."),
    ] = None,
) -> None:
    """Run the stand-in for Iterable: strict, with a record of all requests under /sandbox/.

    Example: engage-sync sandbox --port 8091 --rate users/bulkUpdate=50 --rate events/trackBulk=0
    """
    from engage_sync.sandbox import options
    from engage_sync.sandbox.server import run

    if project_type not in ("email", "user_id", "hybrid"):
        raise typer.BadParameter("expected email, user_id or hybrid", param_hint="--project-type")
    output.say(f"The Iterable stand-in listens on http://{host}:{port}")
    run(
        host,
        port,
        options.Options(
            api_key=api_key,
            project_type=project_type,  # type: ignore[arg-type]
            rate_limits={options.USERS_UPDATE: identify_rate, options.EVENTS_TRACK: track_rate, **_rates(rate or ())},
        ),
    )


def _rates(given: Sequence[str]) -> dict[str, float]:
    """Requests a second by path, from texts such as users/bulkUpdate=50."""
    from engage_sync.sandbox import options

    known = {path.removeprefix("/api/"): path for path in options.RATE_LIMITS}
    rates: dict[str, float] = {}
    for text in given:
        name, _, number = text.partition("=")
        try:
            rate = float(number)
        except ValueError:
            rate = -1.0
        if name not in known or not 0 <= rate < float("inf"):
            raise typer.BadParameter(
                f"{text!r}: expected NAME=NUMBER, with a name of {', '.join(known)}", param_hint="--rate"
            )
        rates[known[name]] = rate
    return rates
