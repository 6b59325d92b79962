"""approve, discard: what becomes of a definition that a guard holds."""

from __future__ import annotations

from typing import Annotated

import typer

from engage_sync import runtime as composition
from engage_sync.cli import output
from engage_sync.cli.app import Json, current
from engage_sync.cli.computing import end, row
from engage_sync.snapshots import guards
from engage_sync.sync import approving

Held = Annotated[str, typer.Argument(metavar="KEY", help="A held definition by its key, or its run by its number.")]


def register(app: typer.Typer) -> None:
    app.command()(approve)
    app.command()(discard)


def approve(
    context: typer.Context,
    key: Held,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    json: Json = False,
) -> None:
    """Compute anew and write what a guard holds, up to the counts that `runs` shows and a tenth; beyond, hold it again.

    The messages wait in the outbox then, and are sent by up, deliver or sync. Ends with exit code 3 where it is held
    again.

    Example: engage-sync runs order_completed_last_30days, then engage-sync approve order_completed_last_30days
    """
    with composition.runtime(current(context)) as runtime:
        with runtime.engine.begin() as connection:
            key = approving.key_of(connection, key)
            counts = approving.counts(connection, key)
        if not yes and not json and output.err.is_terminal:
            output.say(f"{key}: {guards.shown(counts)}.")
            if not typer.confirm("Approve?", err=True):
                raise typer.Exit(1)
        with output.progress(quiet=json) as display:
            report = approving.approve(runtime.engine, runtime.context, key, counts, watch=output.Bars(display))
    if json:
        output.json(row(report))
    elif report.status == "done":
        output.out.print(
            f"{key} is written: {report.progress.tally.entered:,} entered, {report.progress.tally.exited:,} left,"
            f" {report.progress.tally.changed:,} changed, {report.progress.messages:,} messages wait."
        )
        output.say("To send them: engage-sync deliver --until-empty (up does it by itself)")
    end([report])


def discard(context: typer.Context, key: Held, json: Json = False) -> None:
    """Give up what a guard holds: nothing of it is written, and the next tick computes anew.

    So can what was approved be, once its run has failed; what it wrote until then stands.

    Example: engage-sync discard order_completed_last_30days
    """
    with composition.runtime(current(context)) as runtime:
        with runtime.engine.begin() as connection:
            key = approving.key_of(connection, key)
        hold = approving.discard(runtime.engine, key)
    if json:
        output.json({"key": key, "run_id": hold.run_id, "status": "discarded"})
    else:
        output.out.print(
            f"{key}: what was held is discarded. The next tick computes it anew; at once: engage-sync compute {key}"
        )
