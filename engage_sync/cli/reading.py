"""audiences, traits, members, profile, runs: what is, and what was."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from engage_sync import reports
from engage_sync import runtime as composition
from engage_sync.cli import output
from engage_sync.cli.app import AsOf, Json, Limit, current, instant
from engage_sync.definitions import versions


def register(app: typer.Typer) -> None:
    app.command()(audiences)
    app.command()(traits)
    app.command()(members)
    app.command()(profile)
    app.command()(runs)


def audiences(context: typer.Context, limit: Limit = None, json: Json = False) -> None:
    """List the audiences, newest first."""
    _definitions(context, "audience", limit, json)


def traits(context: typer.Context, limit: Limit = None, json: Json = False) -> None:
    """List the computed traits, newest first."""
    _definitions(context, "computed_trait", limit, json)


def members(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="An audience or a computed trait by its key.")],
    as_of: AsOf = None,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """Who is in an audience, or has a value of a trait; with --as-of who was."""
    with composition.runtime(current(context)) as runtime, runtime.engine.begin() as connection:
        definition = versions.find(connection, key)
        found = reports.members(connection, definition, as_of=instant(as_of), limit=limit if json else limit or 50)
    if json:
        output.json(found)
        return
    columns = {"profile_id": "profile", "user_id": "user id", "emails": "emails", "since": "since"}
    if definition.spec.of_accounts:
        columns["accounts"] = "accounts"
    if definition.kind != "audience":
        columns["value"] = "value"
    output.table(found["members"], columns)
    output.out.print(f"{found['total']:,} in all, as of {output.shown(found['as_of'])}")


def profile(
    context: typer.Context,
    identifier: Annotated[str, typer.Argument(metavar="ID", help="user_id:u1, email:a@x.io or anonymous_id:…")],
    limit: Annotated[int, typer.Option(min=0, help="At most so many events.")] = 50,
    json: Json = False,
) -> None:
    """Everything that is known of one person: identities, traits, accounts, audiences, what was told, events."""
    with composition.runtime(current(context)) as runtime, runtime.engine.begin() as connection:
        found = reports.profile(connection, identifier, events=limit)
    if json:
        output.json(found)
        return
    show_profile(found)


def show_profile(found: dict[str, Any]) -> None:
    """A profile as tables."""
    output.out.print(f"Profile {found['profile_id']}, since {output.shown(found['created_at'])}")
    if found["is_suppressed"]:
        output.out.print("Suppressed: nothing of them is taken in, and nothing is sent to them.")
    output.table(found["identities"], {"type": "type", "value": "value", "source": "source"}, title="Identities")
    traits = [{"name": name, "value": value} for name, value in found["traits"].items()]
    if traits:
        output.table(traits, {"name": "name", "value": "value"}, title="Traits")
    if found["accounts"]:
        output.table(
            found["accounts"],
            {"group_id": "account", "traits": "traits", "timestamp": "last group call"},
            title="Accounts",
        )
    if found["computed_traits"]:
        output.table(
            found["computed_traits"], {"key": "key", "value": "value", "since": "since"}, title="Computed traits"
        )
    if found["audiences"]:
        output.table(found["audiences"], {"key": "key", "member": "member", "since": "since"}, title="Audiences")
    if found["forwarded"]:
        output.table(
            found["forwarded"],
            {"timestamp": "timestamp", "destination": "destination", "source": "source", "call_type": "call",
             "name": "name", "status": "status", "reason": "reason"},
            title="Forwarded",
        )  # fmt: skip
    if found["events"]:
        output.table(
            found["events"], {"timestamp": "timestamp", "event": "event", "properties": "properties"}, title="Events"
        )


def runs(
    context: typer.Context,
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="Only of this definition.")] = None,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """List the computations, newest first; of held ones, what they would do, and why they don't."""
    with composition.runtime(current(context)) as runtime, runtime.engine.begin() as connection:
        if key is not None:
            versions.find(connection, key)
        found = reports.runs(connection, key=key, limit=limit if json else limit or 30)
    if json:
        output.json(found)
        return
    output.table(
        [{**run, "note": run["error"] or run["note"]} for run in found],
        {"run_id": "run", "key": "definition", "status": "status", "cause": "cause", "scope": "scope",
         "as_of": "as of", "evaluated": "evaluated", "entered": "entered", "left": "left", "changed": "changed",
         "messages": "messages", "duration_ms": "ms", "note": "note"},
    )  # fmt: skip


def _definitions(context: typer.Context, kind: str, limit: int | None, json: bool) -> None:
    with composition.runtime(current(context)) as runtime, runtime.engine.begin() as connection:
        found = reports.definitions(connection, kind)[:limit]
    if json:
        output.json(found)
        return
    output.table(
        [{**each, "status": _status(each)} for each in found],
        {
            "key": "key",
            "name": "name",
            "members": "members",
            "as_of": "as of",
            "last_run_ms": "last run ms",
            "enabled": "enabled",
            "status": "status",
        },
    )
    for each in found:
        if each["held"] and each["held"]["status"] == "held":
            output.say(
                f"{each['key']} is held: {each['held']['because']} engage-sync approve {each['key']}, or discard"
                f" {each['key']}"
            )


def _status(definition: dict[str, Any]) -> str:
    if definition["error"]:
        return f"failed: {definition['error']}"
    if definition["held"]:
        return str(definition["held"]["status"])
    return "computed" if definition["is_computed"] else "waits for its first computation"
