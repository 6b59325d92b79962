"""compute, deliver, sync: the work itself, on demand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from engage_sync import errors
from engage_sync import reports as questions
from engage_sync import runtime as composition
from engage_sync.cli import output
from engage_sync.cli.app import AsOf, Json, Keys, current, instant
from engage_sync.delivery.report import Report
from engage_sync.outbox import lanes, outages, workers
from engage_sync.profiles import finding
from engage_sync.reports import delivery
from engage_sync.runtime import Runtime
from engage_sync.sync import compute as computation
from engage_sync.sync import ingest
from engage_sync.sync.batches import RunReport

_COLUMNS = {
    "key": "definition", "status": "status", "cause": "cause", "scope": "scope", "as_of": "as of", "members": "members",
    "entered": "entered", "left": "left", "changed": "changed", "messages": "messages",
}  # fmt: skip


def register(app: typer.Typer) -> None:
    app.command()(compute)
    app.command()(deliver)
    app.command()(sync)


def compute(
    context: typer.Context,
    keys: Keys = None,
    as_of: AsOf = None,
    full: Annotated[
        bool, typer.Option("--full", help="Everybody, not only who may have changed; for checking.")
    ] = False,
    json: Json = False,
) -> None:
    """Compute definitions, record what changed, and fill the outbox.

    Example: engage-sync compute order_completed_last_30days --as-of 2026-03-01T12:00:00Z
    """
    with composition.runtime(current(context)) as runtime:
        reports = _compute(runtime, keys, instant(as_of), full=full, quiet=json)
    _show(reports, json)
    _announce(reports)
    end(reports)


def deliver(
    context: typer.Context,
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="Stop when every message is delivered or a dead letter.")
    ] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Try again at once what waits for its next attempt; then as --until-empty.")
    ] = False,
    json: Json = False,
) -> None:
    """Send what waits in the outbox. Without --until-empty or --now it goes on until it is stopped.

    With --now, where `up` or another `deliver` is running, it is they who send.

    Example, once a destination is well again: engage-sync deliver --now
    """
    if not until_empty and not now:
        from engage_sync import daemon

        daemon.run(current(context), ["deliver"])
        return
    with composition.runtime(current(context)) as runtime:
        if now:
            hurried = _hurry(runtime)
            output.say(f"{hurried:,} people's retries are due now.")
            if not until_empty and _others_deliver(runtime):
                output.say("Another process delivers them. What waits: engage-sync outbox")
                if json:
                    output.json({"hurried": hurried})
                return
        counts = _deliver(runtime, quiet=json)
    if json:
        output.json(counts)
    else:
        columns = {"sent": "sent", "skipped": "skipped", "failed": "dead letters", "seconds": "seconds"}
        output.table([counts], columns | _withheld(counts))
        _explain_withheld(counts)
    _explain_held(counts)
    if counts["failed"] or counts["held"]:
        raise typer.Exit(1)


def sync(
    context: typer.Context,
    keys: Keys = None,
    as_of: AsOf = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Send to this person alone, as all that they are: email:… or user_id:…; the rest waits."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Compute, then deliver until the outbox is empty; prints members, entered, left, sent and failed.

    Example, to see at one person how it arrives: engage-sync sync order_completed_last_30days --only email:me@x.io
    """
    with composition.runtime(current(context)) as runtime:
        if only is not None:
            _see_that_nobody_else_delivers(runtime)
            _resolve_inbox(runtime)
            _person(runtime, only)
        reports = _compute(runtime, keys, instant(as_of), full=False, quiet=json)
        _announce(reports)
        counts = _deliver(runtime, quiet=json, only=None if only is None else _person(runtime, only))
        waiting = {} if only is None else _waiting(runtime)
    by_key = counts["by_key"]
    rows = []
    for report in reports:
        sent = by_key.get(report.key, {"sent": 0, "failed": 0, "withheld": 0})
        rows.append({**row(report), **sent})
        if only is not None:
            rows[-1]["waiting"] = waiting.get(report.key, 0)
    if json:
        output.json(rows)
    else:
        columns = {**_COLUMNS, "sent": "sent", "failed": "failed", **_withheld(counts)}
        output.table(rows, columns if only is None else {**columns, "waiting": "waiting"})
        _explain_withheld(counts)
        if sum(waiting.values()):
            output.say(
                f"{sum(waiting.values()):,} messages to others wait. To send them: engage-sync deliver --until-empty"
            )
    _explain_held(counts)
    _end_failed(reports)
    if counts["failed"]:
        output.say("Some messages could not be delivered: engage-sync dead-letters list")
    if counts["failed"] or counts["held"]:
        raise typer.Exit(1)
    _end_held(reports)


def end(reports: Sequence[RunReport]) -> None:
    """End a command that computed: raises what failed (1), else what is held (3)."""
    _end_failed(reports)
    _end_held(reports)


def _compute(
    runtime: Runtime, keys: Sequence[str] | None, as_of: datetime | None, *, full: bool, quiet: bool
) -> list[RunReport]:
    _resolve_inbox(runtime)
    with output.progress(quiet=quiet) as display:
        return computation.compute(
            runtime.engine, runtime.context, keys or None, as_of=as_of, full=full, watch=output.Bars(display)
        )


def _resolve_inbox(runtime: Runtime) -> None:
    """What came by HTTP and still lies in the inbox belongs to now."""
    context = runtime.context
    while ingest.resolve_inbox(
        runtime.engine, runtime.workspace.limits, routes=context.routes, privacy_key=context.privacy_key
    ).taken:
        pass


def _hurry(runtime: Runtime) -> int:
    with runtime.engine.begin() as connection:
        outages.hurry(connection)
        return lanes.hurry(connection, list(runtime.context.destinations.values()), runtime.settings.request_timeout)


def _others_deliver(runtime: Runtime) -> bool:
    with runtime.engine.begin() as connection:
        return workers.others(connection, runtime.settings.request_timeout) > 0


def _see_that_nobody_else_delivers(runtime: Runtime) -> None:
    if _others_deliver(runtime):
        raise errors.UsageError(
            "Another process delivers just now, and would send to everybody: stop `up` or `deliver` first,"
            " then run sync --only again."
        )


def _person(runtime: Runtime, identifier: str) -> int:
    with runtime.engine.begin() as connection:
        return finding.find(connection, identifier).id


def _waiting(runtime: Runtime) -> dict[str, int]:
    with runtime.engine.begin() as connection:
        return questions.waiting(connection)


def _withheld(counts: dict[str, Any]) -> dict[str, str]:
    """The column of what `allow` kept from being sent, where there was any."""
    return {"withheld": "withheld"} if counts["withheld"] else {}


def _explain_withheld(counts: dict[str, Any]) -> None:
    if counts["withheld"]:
        output.say(
            f"{counts['withheld']:,} messages were withheld: `allow` lets only emails of its domains through."
            " Once it is gone, tell these people by: engage-sync resync KEY"
        )


def _explain_held(counts: dict[str, Any]) -> None:
    for each in counts["held"]:
        output.say(
            f"{each['destination']} is held since {output.shown(each['since'])}, {each['waiting']:,} messages wait:"
            f" {each['reason']}"
        )


def _deliver(runtime: Runtime, *, quiet: bool, only: int | None = None) -> dict[str, Any]:
    deliverer = composition.deliverer(runtime, only=only)
    begun = time.monotonic()
    with output.progress(quiet=quiet) as display:
        task = display.add_task("delivering", total=None, note="")

        def show(report: Report) -> None:
            done = report.delivered + report.skipped + report.withheld + report.failed
            total = done + report.waiting if only is None else None
            display.update(task, completed=done, total=total, note=f"{report.failed} failed")

        report = asyncio.run(deliverer.run_until_empty(show))
    by_key = {
        key: {"sent": tally.delivered, "failed": tally.failed, "withheld": tally.withheld}
        for key, tally in report.by_key.items()
    }
    return {
        "sent": report.delivered,
        "skipped": report.skipped,
        "withheld": report.withheld,
        "failed": report.failed,
        "seconds": round(time.monotonic() - begun, 3),
        "by_key": by_key,
        "held": _held(runtime),
    }


def _held(runtime: Runtime) -> list[dict[str, Any]]:
    """The destinations that are held, where something waits for them."""
    with runtime.engine.begin() as connection:
        found = delivery.destinations(connection, list(runtime.context.destinations))
    shown = ("destination", "since", "reason", "waiting")
    return [{name: row[name] for name in shown} for row in found if row["state"] == "held" and row["waiting"]]


def row(report: RunReport) -> dict[str, Any]:
    """A computation for machines; of a held one, the counts are those of what it would do."""
    return {
        "run_id": report.run_id,
        "key": report.key,
        "kind": report.kind,
        "cause": report.cause,
        "scope": report.scope,
        "as_of": report.as_of,
        "members": report.members,
        "evaluated": report.progress.evaluated,
        "entered": report.progress.tally.entered,
        "left": report.progress.tally.exited,
        "changed": report.progress.tally.changed,
        "messages": report.progress.messages,
        "status": report.status,
        "error": report.error,
        "held": report.held,
        "push": report.push.document() if report.push else None,
    }


def _show(reports: Sequence[RunReport], json: bool) -> None:
    rows = [row(report) for report in reports]
    if json:
        output.json(rows)
    elif rows:
        output.table(rows, _COLUMNS)
    else:
        output.say("There is no definition to compute. Run: engage-sync apply")


def _end_failed(reports: Sequence[RunReport]) -> None:
    failed = [report for report in reports if report.error]
    if failed:
        raise errors.ComputationFailed(
            "\n".join(
                f"{report.key} could not be computed: {(report.error or '').splitlines()[0]}" for report in failed
            )
        )


def _announce(reports: Sequence[RunReport]) -> None:
    """What first pushes are about to send."""
    for report in reports:
        if report.push is None or not report.push.messages:
            continue
        takes = (
            "" if report.push.seconds is None else f", at most {report.push.seconds:,.1f} s at the destination's rate"
        )
        output.say(
            f"{report.key}: the first push tells {report.push.people:,} people in {report.push.messages:,}"
            f" messages{takes}."
        )


def _end_held(reports: Sequence[RunReport]) -> None:
    held = [report for report in reports if report.held]
    if held:
        raise errors.HeldByGuard(
            "\n".join(
                f"{report.key} is held, nothing of it was written: {report.held}\n"
                f"  To write it: engage-sync approve {report.key}. To wait for the next tick: engage-sync discard"
                f" {report.key}"
                for report in held
            )
        )
