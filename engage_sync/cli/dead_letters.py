"""dead-letters: what could not be delivered; looking at it, sending it again, giving it up."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated, Any

import orjson
import typer
from sqlalchemy import Connection

from engage_sync import errors
from engage_sync import runtime as composition
from engage_sync.cli import output
from engage_sync.cli.app import Json, Limit, current, instant
from engage_sync.outbox import dead_letters as letters
from engage_sync.outbox.dead_letters import Chosen, DeadLetter
from engage_sync.profiles import finding
from engage_sync.sync import replaying

Numbers = Annotated[list[int] | None, typer.Argument(metavar="[ID]…", help="Their numbers, as `list` shows them.")]
Everything = Annotated[bool, typer.Option("--all", help="All of them.")]
OfDestination = Annotated[str | None, typer.Option("--destination", help="Only of this destination.")]
OfKey = Annotated[str | None, typer.Option("--key", help="Only of this definition, also of one that was deleted.")]
OfReason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Only with this in their reason, in any case.")
]
OfPerson = Annotated[
    str | None,
    typer.Option("--person", metavar="ID", help="Only of this person: email:… or user_id:…"),
]
OfCall = Annotated[str | None, typer.Option("--call", help="Only such calls: identify, track, …")]
Since = Annotated[str | None, typer.Option("--since", metavar="T", help="Only those that failed then or later.")]
Until = Annotated[str | None, typer.Option("--until", metavar="T", help="Only those that failed before.")]

_SEND = "They wait in the outbox; `up` sends them, or: engage-sync deliver --until-empty"


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Messages that could not be delivered, with their reasons.", no_args_is_help=True)
    group.command("list")(list_dead_letters)
    group.command()(reasons)
    group.command()(show)
    group.command()(replay)
    group.command()(discard)
    app.add_typer(group, name="dead-letters")


def list_dead_letters(
    context: typer.Context,
    destination: OfDestination = None,
    key: OfKey = None,
    reason: OfReason = None,
    person: OfPerson = None,
    call: OfCall = None,
    since: Since = None,
    until: Until = None,
    status: Annotated[
        str, typer.Option(help="open, replayed, obsolete or discarded; all of them with 'all'.")
    ] = "open",
    limit: Limit = None,
    json: Json = False,
) -> None:
    """List dead letters, newest first.

    Example: engage-sync dead-letters list --destination iterable --reason "InvalidEmail" --since 2026-03-01
    """
    chosen = _filter(destination, key, reason, call, since, until, status=None if status == "all" else status)
    with composition.runtime(current(context)) as runtime, runtime.engine.begin() as connection:
        found = letters.listing(connection, _of(connection, chosen, person), limit=limit if json else limit or 50)
    if json:
        output.json([_document(letter) for letter in found])
        return
    output.table(
        [{**asdict(letter), "about": _about(letter)} for letter in found],
        {"id": "id", "failed_at": "failed at", "destination": "destination", "about": "of",
         "identity_value": "identity", "call_type": "call", "attempts": "attempts", "reason": "reason"},
    )  # fmt: skip


def reasons(
    context: typer.Context,
    destination: OfDestination = None,
    key: OfKey = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """Count open dead letters by what they are of and why they failed.

    Example: engage-sync dead-letters reasons --destination iterable
    """
    chosen = _filter(destination, key, None, None, since, until)
    with composition.runtime(current(context)) as runtime, runtime.engine.begin() as connection:
        found = letters.reasons(connection, chosen, limit=limit if json else limit or 50)
    if json:
        output.json(found)
        return
    output.table(
        [{**row, "about": row["key"] or row["source"]} for row in found],
        {"letters": "dead letters", "destination": "destination", "about": "of", "call_type": "call",
         "first_at": "first", "last_at": "last", "reason": "reason"},
    )  # fmt: skip


def show(
    context: typer.Context,
    number: Annotated[int, typer.Argument(metavar="ID", help="Its number, as `list` shows it.")],
    json: Json = False,
) -> None:
    """Show one dead letter with the request that was sent and the answer that came back.

    Example: engage-sync dead-letters show 12
    """
    with composition.runtime(current(context)) as runtime, runtime.engine.begin() as connection:
        letter = letters.find(connection, number)
    if json:
        output.json(_document(letter))
        return
    fields = {
        "status": letter.status,
        "failed at": letter.failed_at,
        "destination": letter.destination,
        "of": _about(letter),
        "call": letter.call_type,
        "value": letter.value,
        "happened at": letter.happened_at,
        "identity": f"{letter.identity_type}:{letter.identity_value}",
        "profile": letter.profile_id,
        "attempts": letter.attempts,
        "reason": letter.reason,
    }
    for name, value in fields.items():
        output.out.print(f"{name + ':':13}{output.shown(value)}", markup=False)
    sent = letter.request or {}
    output.out.print(f"{'request:':13}{sent.get('method', '')} {sent.get('path', '')}".rstrip(), markup=False)
    output.out.print(_pretty(sent.get("body", letter.request)), markup=False)
    output.out.print("answer:")
    output.out.print(_text(letter.answer) or "(none)", markup=False)


def replay(
    context: typer.Context,
    numbers: Numbers = None,
    everything: Everything = False,
    destination: OfDestination = None,
    key: OfKey = None,
    reason: OfReason = None,
    person: OfPerson = None,
    call: OfCall = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
) -> None:
    """Send dead letters again, in their order, as far as they say what is true now: by number, by filter, or --all.

    What was said since, or is no longer true, becomes obsolete; a value that changed is said as it is now.

    Example, when the field has its right type in Iterable: engage-sync dead-letters replay --reason "data type"
    """
    chosen = _chosen(_filter(destination, key, reason, call, since, until), numbers, person, everything)
    with composition.runtime(current(context)) as runtime, output.progress(quiet=json) as display:
        with runtime.engine.begin() as connection:
            chosen = _of(connection, chosen, person)
        done = replaying.replay(runtime.engine, runtime.context, chosen, watch=output.Bars(display))
    if json:
        output.json(done.document())
        return
    left = f", {done.left_open:,} left open" if done.left_open else ""
    output.out.print(f"{done.waiting:,} replayed, {done.obsolete:,} no longer true{left}")
    for note in done.notes():
        output.say(note)
    if done.waiting:
        output.say(_SEND)


def discard(
    context: typer.Context,
    numbers: Numbers = None,
    everything: Everything = False,
    destination: OfDestination = None,
    key: OfKey = None,
    reason: OfReason = None,
    person: OfPerson = None,
    call: OfCall = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
) -> None:
    """Give dead letters up: by number, by filter, or --all; they stay on record.

    Example: engage-sync dead-letters discard --key old_campaign
    """
    chosen = _chosen(_filter(destination, key, reason, call, since, until), numbers, person, everything)
    with composition.runtime(current(context)) as runtime, runtime.engine.begin() as connection:
        count = letters.discard(connection, _of(connection, chosen, person))
    if json:
        output.json({"discarded": count})
    else:
        output.out.print(f"{count:,} discarded")


def _filter(
    destination: str | None,
    key: str | None,
    reason: str | None,
    call: str | None,
    since: str | None,
    until: str | None,
    *,
    status: str | None = "open",
) -> Chosen:
    return Chosen(
        destination=destination,
        key=key,
        reason=reason,
        call_type=call,
        since=instant(since, "--since"),
        until=instant(until, "--until"),
        status=status,
    )


def _of(connection: Connection, chosen: Chosen, person: str | None) -> Chosen:
    return chosen if person is None else replace(chosen, profile=finding.find(connection, person).id)


def _chosen(chosen: Chosen, numbers: list[int] | None, person: str | None, everything: bool) -> Chosen:
    """What is changed must be named: by numbers, by a filter, or by --all."""
    is_filtered = chosen != Chosen() or person is not None
    if bool(numbers) + is_filtered + everything != 1:
        raise errors.UsageError(
            "Name dead letters by their numbers, or by what they have in common (--destination, --key, --reason,"
            " --person, --call, --since, --until), or all of them with --all."
        )
    return replace(chosen, ids=numbers) if numbers else chosen


def _about(letter: DeadLetter) -> str | None:
    """What it is of: a definition by its key, or what a call that no definition made is known by."""
    if letter.key is not None:
        return f"{letter.key} (deleted)" if letter.is_deleted else letter.key
    if letter.source is None:
        return None
    return f"{letter.source}: {letter.value}" if letter.value else letter.source


def _document(letter: DeadLetter) -> dict[str, Any]:
    return {**asdict(letter), "answer": _text(letter.answer)}


def _text(answer: bytes | None) -> str | None:
    return None if answer is None else answer.decode("utf-8", "replace")


def _pretty(request: Any) -> str:
    return "(none)" if request is None else orjson.dumps(request, option=orjson.OPT_INDENT_2).decode()
