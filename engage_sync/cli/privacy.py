"""suppress, forget, privacy: people who want to be left alone."""

from __future__ import annotations

import csv
import getpass
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from engage_sync import errors
from engage_sync import runtime as composition
from engage_sync.cli import output
from engage_sync.cli.app import Json, Limit, current
from engage_sync.profiles.identifiers import EMAIL, USER_ID, Identifier
from engage_sync.reports import privacy as reports
from engage_sync.runtime import Runtime
from engage_sync.sync import erasing, queues
from engage_sync.sync import privacy as use_case

_MOST = 100_000
_MOST_BYTES = 50_000_000
_HEADERS = {"email": EMAIL, "e-mail": EMAIL, "user_id": USER_ID, "userid": USER_ID, "id": None, "identifier": None}
_SHOWN = 5

People = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]…", help="An email, user_id:…, anonymous_id:… or a profile's use_… id."),
]
File = Annotated[
    Path | None,
    typer.Option(
        "--file", help="A file with one a line, or a CSV: its first column, typed by a header `email` or `user_id`."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
By = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who enters it, for the record; default: this login.")
]


def register(app: typer.Typer) -> None:
    app.command()(suppress)
    app.command()(forget)
    app.command()(privacy)


def suppress(
    context: typer.Context,
    people: People = None,
    file: File = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take their calls in again, and tell destinations what is true.")
    ] = False,
    yes: Yes = False,
    by: By = None,
    json: Json = False,
) -> None:
    """Take nothing of these people in from now on, and send nothing to them; what is stored stays.

    Their calls are answered with 200 and dropped. What waits for them is withdrawn. All identifiers of a person count,
    whichever is given. People whom nobody knows yet are suppressed as well.

    Example: engage-sync suppress ann@example.com; and back: engage-sync suppress ann@example.com --undo
    """
    asked = _asked(people, file)
    with composition.runtime(current(context)) as runtime:
        if undo:
            _undo(runtime, asked, _name(by), json=json)
            return
        _confirm(f"Suppress {_number(asked)}?", yes=yes, json=json)
        with output.progress(quiet=json) as display:
            bars = output.Bars(display)
            done = use_case.suppress(
                runtime.engine,
                runtime.context,
                asked,
                _name(by),
                watch=lambda so_far, total: bars("suppressing", so_far, total),
            )
    if json:
        output.json(_document(done))
        return
    output.out.print(f"Suppressed: {done.known + done.unknown:,}. Withdrawn messages: {done.withdrawn:,}.")
    _explain(done)


def forget(
    context: typer.Context,
    people: People = None,
    file: File = None,
    yes: Yes = False,
    by: By = None,
    json: Json = False,
) -> None:
    """Delete all that is known of these people, have destinations forget them, and suppress them from now on.

    There is no way back: `suppress --undo` takes their calls in again, but brings nothing back. Destinations are told
    by `up` or `deliver`. Safe to run again: what was cut short is finished.

    Examples: engage-sync forget ann@example.com

    engage-sync forget --file requests.csv --yes --json
    """
    asked = _asked(people, file)
    with composition.runtime(current(context)) as runtime:
        _confirm(
            f"Delete all data of {_number(asked)}, here and in {_destinations(runtime)}, for good?", yes=yes, json=json
        )
        with output.progress(quiet=json) as display:
            bars = output.Bars(display)
            done = use_case.forget(
                runtime.engine,
                runtime.context,
                asked,
                _name(by),
                runtime.destinations(),
                watch=lambda so_far, total: bars("forgetting", so_far, total),
            )
        with runtime.engine.connect() as connection:
            said = reports.answered(connection, done.requests)
    if json:
        output.json({**_document(done), "deleted": dict(done.deleted), "destinations": [asdict(each) for each in said]})
        return
    rows = sum(done.deleted.values())
    output.out.print(f"Forgotten: {done.known + done.unknown:,}. Rows deleted: {rows:,}.")
    if rows:
        output.table(
            [{"table": table, "rows": number} for table, number in sorted(done.deleted.items())],
            {"table": "deleted from", "rows": "rows"},
        )
    if said:
        _show_answers(said)
    _explain(done)
    if any(each.status == "waiting" for each in said):
        output.say(
            "What waits is sent by `up`, or: engage-sync deliver --until-empty. How far it is: engage-sync privacy"
        )


def privacy(
    context: typer.Context,
    of: Annotated[
        str | None, typer.Option("--of", metavar="ID", help="Only by which this person is suppressed or forgotten now.")
    ] = None,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """List who was suppressed or forgotten, newest first: when, by whom, what was deleted, what destinations said.

    The list names nobody. Whether somebody is among them: engage-sync privacy --of ann@example.com
    """
    with composition.runtime(current(context)) as runtime, runtime.engine.begin() as connection:
        ids = None if of is None else use_case.concerning(connection, runtime.context, use_case.parse(of))
        found = reports.recorded(connection, ids=ids, limit=limit if json else limit or 50)
        dropped = reports.dropped_calls(connection)
        lines = queues.lines(connection, runtime.destinations()) if of is None and not json else {}
    if json:
        output.json([each.document() for each in found])
        return
    output.table(
        [_row(each) for each in found],
        {"id": "id", "kind": "kind", "asked_at": "asked at", "asked_by": "by", "was_known": "known", "status": "status",
         "rows": "rows deleted", "withdrawn": "withdrawn", "destinations": "destinations"},
    )  # fmt: skip
    for line in lines.values():
        output.say(f"{line.destination}: {line.waiting:,} identifiers wait, {line.lasting} at its limits.")
    if of is None and dropped:
        output.say(f"Calls of suppressed people that were dropped: {dropped:,}.")


# --- who ----------------------------------------------------------------------------------------------------------


def _asked(people: list[str] | None, file: Path | None) -> list[Identifier]:
    """What was given on the command line or in the file, without repetition. Raises errors.UsageError, all at once."""
    if bool(people) == (file is not None):
        raise errors.UsageError("Name people, or give a file with --file.")
    lines = [(None, each) for each in people or ()] if file is None else _lines(file)
    found: dict[Identifier, None] = {}
    problems = []
    for number, given in lines:
        try:
            found[use_case.parse(given)] = None
        except errors.UsageError as problem:
            problems.append(str(problem) if number is None else f"{file}:{number}: {problem}")
    if problems:
        rest = f"\n… and {len(problems) - _SHOWN} more." if len(problems) > _SHOWN else ""
        raise errors.UsageError("\n".join(problems[:_SHOWN]) + rest + "\nNothing was done.")
    if not found:
        raise errors.UsageError(f"{file}: nobody in it.")
    if len(found) > _MOST:
        raise errors.UsageError(f"{file}: {len(found):,} people; at most {_MOST:,} are taken at once.")
    return list(found)


def _lines(file: Path) -> list[tuple[int | None, str]]:
    """Numbers and identifiers of a file, with a type where its header gives one."""
    if not file.is_file():
        raise errors.UsageError(f"{file}: there is no such file.")
    if file.stat().st_size > _MOST_BYTES:
        raise errors.UsageError(f"{file}: larger than {_MOST_BYTES // 1_000_000} MB.")
    lines: list[tuple[int | None, str]] = []
    type_: str | None = None
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = csv.reader(opened)
            for row in rows:
                value = row[0].strip() if row else ""
                if not lines and type_ is None and value.lower() in _HEADERS:
                    type_ = _HEADERS[value.lower()] or ""
                elif value:
                    is_typed = ":" in value and type_ != USER_ID
                    lines.append((rows.line_num, value if is_typed or not type_ else f"{type_}:{value}"))
    except (UnicodeDecodeError, csv.Error) as problem:
        raise errors.UsageError(f"{file}: not a text file in UTF-8, or no CSV: {problem}") from None
    return lines


def _name(by: str | None) -> str:
    if by:
        return by[:200]
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _number(asked: list[Identifier]) -> str:
    return "1 person" if len(asked) == 1 else f"{len(asked):,} people"


def _destinations(runtime: Runtime) -> str:
    return ", ".join(sorted(runtime.destinations())) or "no destination"


def _confirm(question: str, *, yes: bool, json: bool) -> None:
    if yes:
        return
    if json or not output.err.is_terminal:
        raise errors.UsageError("Nobody is here to be asked: add --yes.")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


# --- what was done ------------------------------------------------------------------------------------------------


def _undo(runtime: Runtime, asked: list[Identifier], by: str, *, json: bool) -> None:
    done = use_case.undo(runtime.engine, runtime.context, asked, by)
    if json:
        output.json(asdict(done))
        return
    output.out.print(f"Lifted: {len(done.requests):,}.")
    if done.unknown:
        output.say(f"Not suppressed: {done.unknown:,}.")
    if done.forgotten:
        output.say(f"{done.forgotten:,} of them were forgotten; Iterable refuses their data for good.")


def _document(done: use_case.Outcome) -> dict[str, Any]:
    return {
        "requests": done.requests,
        "known": done.known,
        "unknown": done.unknown,
        "already": done.already,
        "withdrawn": done.withdrawn,
        "unfinished": len(done.unfinished),
    }


def _explain(done: use_case.Outcome) -> None:
    if done.unknown:
        output.say(f"{done.unknown:,} of them had no profile; what comes of them is dropped all the same.")
    if done.already:
        output.say(f"{done.already:,} were so before; nothing to do.")
    if done.unfinished:
        output.say(
            f"{len(done.unfinished):,} aren't finished, as a definition is being computed all the time; `up` finishes"
            f" them within {2 * erasing.ABANDONED_AFTER / 60:.0f} minutes after that, or run this again."
        )


def _show_answers(said: list[reports.Summary]) -> None:
    output.table(
        [asdict(each) for each in said],
        {"destination": "destination", "requests": "identifiers", "status": "status", "reason": "reason"},
    )


def _row(each: reports.Recorded) -> dict[str, Any]:
    said = ", ".join(f"{one.destination}: {one.requests} {one.status}" for one in each.destinations)
    document = each.document()
    return {**document, "rows": sum(each.request.deleted.values()), "destinations": said}
