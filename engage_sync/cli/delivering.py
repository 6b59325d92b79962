"""destinations, outbox: how delivery stands."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from engage_sync import errors
from engage_sync import runtime as composition
from engage_sync.cli import output
from engage_sync.cli.app import Json, Limit, current
from engage_sync.definitions import versions
from engage_sync.profiles import finding
from engage_sync.reports import delivery


def register(app: typer.Typer) -> None:
    app.command()(destinations)
    app.command()(outbox)


def destinations(context: typer.Context, json: Json = False) -> None:
    """List the destinations: sending, paused or held, since when and why, and what waits for each.

    Example: engage-sync destinations
    """
    with composition.runtime(current(context)) as runtime, runtime.engine.begin() as connection:
        found = delivery.destinations(connection)
    if json:
        output.json(found)
        return
    output.table(
        [{**row, "rates": _shares(row["rates"])} for row in found],
        {"destination": "destination", "state": "state", "since": "since", "waiting": "waiting",
         "retrying": "retrying", "dead_letters": "dead letters", "rates": "rate now", "next_probe_at": "next probe",
         "reason": "reason"},
    )  # fmt: skip
    if any(row["state"] == "held" for row in found):
        output.say("held: nothing got through, so only a probe is sent now and then; the first that does ends it.")
        output.say("To probe at once: engage-sync deliver --now")
    if any(row["state"] == "paused" for row in found):
        output.say("paused: until engage-sync resume DESTINATION")


def outbox(
    context: typer.Context,
    destination: Annotated[str | None, typer.Option(help="Only for this destination.")] = None,
    key: Annotated[str | None, typer.Option(help="Only of this definition.")] = None,
    person: Annotated[str | None, typer.Option(metavar="ID", help="Only to this person: email:… or user_id:…")] = None,
    retrying: Annotated[bool, typer.Option("--retrying", help="Only what was tried already.")] = False,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """List what waits to be sent, newest first: attempts, the next one, and what went wrong.

    Example: engage-sync outbox --retrying
    """
    settings = current(context)
    with composition.runtime(settings) as runtime, runtime.engine.begin() as connection:
        if destination is not None and destination not in runtime.context.destinations:
            known = ", ".join(sorted(runtime.context.destinations)) or "none"
            raise errors.NotFound(f"There is no destination {destination!r} in engage.yml. Known are: {known}.")
        if key is not None and key not in (keys := versions.keys(connection).values()):
            raise errors.NotFound(versions.unknown_key(key, keys))
        found = delivery.outbox(
            connection,
            retry_for=settings.retry_for,
            destination=destination,
            key=key,
            profile=None if person is None else finding.find(connection, person).id,
            retrying=retrying,
            limit=limit if json else limit or 50,
        )
    if json:
        output.json(found)
        return
    output.table(
        [{**row, "about": _about(row)} for row in found],
        {"id": "id", "destination": "destination", "about": "of", "identity_value": "identity", "call_type": "call",
         "state": "state", "attempts": "attempts", "next_at": "next attempt", "gives_up_at": "gives up",
         "last_error": "last error"},
    )  # fmt: skip
    if any(row["state"] in ("retrying", "behind a retry") for row in found):
        output.say("To try again at once: engage-sync deliver --now")


def _about(row: dict[str, Any]) -> str | None:
    if row["key"] is not None:
        return str(row["key"])
    return f"{row['source']}: {row['value']}" if row["value"] else row["source"]


def _shares(rates: dict[str, float]) -> str:
    """`identify 47 %` where a budget is lowered."""
    return ", ".join(f"{name} {share:.0%}" for name, share in sorted(rates.items()))
