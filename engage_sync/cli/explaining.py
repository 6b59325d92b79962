"""explain: why a definition says what it says of a person, and when that changes by itself."""

from __future__ import annotations

from typing import Annotated

import typer

from engage_sync import runtime as composition
from engage_sync.cli import output
from engage_sync.cli.app import AsOf, Json, current, instant
from engage_sync.cli.explanation import lines
from engage_sync.sync.explaining import explain as ask


def register(app: typer.Typer) -> None:
    app.command()(explain)


def explain(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="An audience or a computed trait by its key.")],
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="user_id:u1, email:a@x.io, anonymous_id:… or a profile's use_… id.")
    ],
    as_of: AsOf = None,
    events: Annotated[int, typer.Option("--events", min=0, max=1000, help="Of each event at most so many.")] = 10,
    json: Json = False,
) -> None:
    """Why somebody is in an audience or isn't, or has a value: each expression, its events, and when it will change.

    Of accounts, for each account of theirs, with its users. Of an SQL trait, the row of its last reading.

    Example: engage-sync explain order_completed_last_30days email:a@x.io
    """
    with composition.runtime(current(context)) as runtime:
        found = ask(runtime.engine, key, identifier, as_of=instant(as_of), events=events)
    if json:
        output.json(found)
        return
    for line in lines(found):
        output.out.print(line, markup=False, soft_wrap=True)
