"""history, backtest: what was, and what would have been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from engage_sync import clock, errors, reports
from engage_sync import runtime as composition
from engage_sync.cli import output
from engage_sync.cli.app import Json, Limit, current, instant
from engage_sync.definitions import versions
from engage_sync.runtime import Runtime
from engage_sync.snapshots.timeline import Step
from engage_sync.sync import backtesting

From = Annotated[str | None, typer.Option("--from", metavar="T", help="From this instant on; ISO 8601, UTC.")]
To = Annotated[str | None, typer.Option("--to", metavar="T", help="Up to this instant; default: now.")]
Steps = Annotated[Step, typer.Option("--step", help="A row each hour, day or week (from Monday), as UTC has them.")]


def register(app: typer.Typer) -> None:
    app.command()(history)
    app.command()(backtest)


def history(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="KEY|ID", help="A definition's key; or a person, as user_id:u1.")],
    person: Annotated[
        str | None, typer.Option("--person", metavar="ID", help="What this person entered and left, of KEY alone.")
    ] = None,
    start: From = None,
    end: To = None,
    step: Steps = Step.DAY,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """Show membership over time, as it was recorded, newest first: the last 30 days unless --from says otherwise.

    Of a person: what it entered and left, and its values before and after, with the run that found it.

    Examples:

    engage-sync history order_completed_last_30days --from 2026-01-01 --step week

    engage-sync history email:ann@example.com
    """
    with composition.runtime(current(context)) as runtime:
        if person is None and not _is_person(runtime, what):
            _history_of_definition(runtime, what, start, end, step, limit, json)
            return
        if start or end or step is not Step.DAY:
            raise errors.UsageError("--from, --to and --step are for a definition's history; a person's takes --limit.")
        _history_of_person(runtime, None if person is None else what, person or what, limit, json)


def backtest(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="An audience or a computed trait, applied or only in a file.")],
    start: Annotated[str, typer.Option("--from", metavar="T", help="The first instant; ISO 8601, UTC.")],
    end: Annotated[str, typer.Option("--to", metavar="T", help="The last instant.")],
    step: Steps = Step.DAY,
    json: Json = False,
) -> None:
    """Show size, entries and exits over a past range, as if the definition had run then; nothing is saved.

    It is taken from its file where it has one. What it refers to is computed as of each instant, too. Facts are those
    known now: traits that people sent, and who they are, have no past.

    Example: engage-sync backtest order_completed_last_30days --from 2026-01-01 --to 2026-04-01
    """
    first, last = instant(start, "--from"), instant(end, "--to")
    assert first is not None
    assert last is not None
    with composition.runtime(current(context)) as runtime, output.progress(quiet=json) as display:
        found = backtesting.backtest(
            runtime.engine,
            runtime.context,
            runtime.workspace.definitions,
            key,
            start=first,
            end=last,
            step=step,
            watch=output.Bars(display),
        )
    if not found.is_applied:
        output.say(f"{key} is not applied as it stands here: this is what its file says.")
    if last > clock.now():
        output.say("What lies in the future holds only if nothing more happens.")
    rows = [_row(found, past) for past in found.past]
    if json:
        output.json(rows)
        return
    _show(rows, f"{key}, as if it had first run at {output.shown(first)}; entered and left: since the row above")


def _row(found: backtesting.Backtest, past: backtesting.Past) -> dict[str, Any]:
    row = {"as_of": past.as_of, "members": past.members, "entered": past.tally.entered, "left": past.tally.exited}
    return row if found.kind == "audience" else {**row, "changed": past.tally.changed}


def _is_person(runtime: Runtime, what: str) -> bool:
    """An identifier has a colon, which no key has; a key may well begin like a profile's id."""
    if ":" in what:
        return True
    if not what.startswith("use_"):
        return False
    with runtime.engine.begin() as connection:
        return all(each.key != what for each in versions.load(connection, include_disabled=True))


def _history_of_definition(
    runtime: Runtime, key: str, start: str | None, end: str | None, step: Step, limit: int | None, json: bool
) -> None:
    with runtime.engine.begin() as connection:
        definition = versions.find(connection, key)
        first, last = instant(start, "--from"), instant(end, "--to")
        rows = reports.history(connection, definition, start=first, end=last, step=step)[:limit]
        began = reports.first_change(connection, definition)
    if json:
        output.json(rows)
    elif began is None:
        output.say(f"Nothing was recorded of {key} yet. Compute it: engage-sync compute {key}")
    else:
        _show(rows, f"{key}, on record since {output.shown(began)}; entered and left: since the row below")


def _history_of_person(runtime: Runtime, key: str | None, identifier: str, limit: int | None, json: bool) -> None:
    with runtime.engine.begin() as connection:
        definition = None if key is None else versions.find(connection, key)
        found = reports.history_of_person(
            connection, identifier, definition=definition, limit=limit if json else limit or 50
        )
    if json:
        output.json(found)
        return
    if not found:
        output.say(f"Nothing was recorded of {identifier}{f' in {key}' if key else ''}.")
        return
    rows = [{**change, "what": _told(change), "before": _before(change)} for change in found]
    columns = {"as_of": "as of", "key": "definition", "what": "what", "before": "before", "after": "after"}
    output.table(rows, {**columns, "cause": "cause", "run_id": "run"})


def _told(change: Mapping[str, Any]) -> str:
    return f"{change['what']}{' (as another profile, merged since)' if change['is_merged'] else ''}"


def _before(change: Mapping[str, Any]) -> Any:
    """Whoever never was a member hasn't left either; people read both as no."""
    return False if change["kind"] == "audience" and change["before"] is None else change["before"]


def _show(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Rows of a time line with bars of the members."""
    most = max((row["members"] for row in rows), default=0)
    columns = {"as_of": "as of", "members": "members", "entered": "entered", "left": "left"}
    if rows and "changed" in rows[0]:
        columns["changed"] = "changed"
    shown = [{**row, "bar": output.bar(row["members"], most)} for row in rows]
    output.out.print(title, markup=False)
    output.table(shown, {**columns, "bar": ""})
