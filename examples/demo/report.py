"""How the demo speaks: headings and tables; with colours on a terminal, plain text elsewhere."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

out = Console(highlight=False, width=None if sys.stdout.isatty() else 140)

_DIFFERENCES_SHOWN = 20


def instant(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def opening(folder: Path) -> None:
    out.print("A grocer's year of purchases, told to the stand-in for Iterable.", style="bold")
    out.print(f"Until the end everything lives in {folder}", markup=False, soft_wrap=True)


def heading(title: str, command: str | None = None) -> None:
    out.print(f"\n[bold cyan]{escape(title)}[/]")
    if command:
        out.print(f"[dim]$ engage-sync {escape(command)}[/]")
    # Commands write to the same terminal next.
    sys.stdout.flush()


def increment(as_of: datetime | None, rows: Sequence[Mapping[str, Any]], seconds: float) -> None:
    """One line of an hour: what came and went in all definitions together."""
    total = {name: sum(row[name] for row in rows) for name in ("entered", "left", "changed", "sent", "failed")}
    took = f", {seconds:.1f} s" if seconds else ""
    out.print(
        f"{instant(as_of) if as_of else 'now'}: {total['entered']:>4,} entered {total['left']:>4,} left"
        f" {total['changed']:>4,} values changed {total['sent']:>5,} messages sent {total['failed']} failed{took}"
    )


def effect(household: str, accepted: float, sent: float, requests: Sequence[Mapping[str, Any]]) -> None:
    """When the stand-in heard of a call; `accepted` in milliseconds, `sent` a Unix time."""
    out.print(f"POST /v1/track for {household}: accepted after {accepted:.0f} ms")
    # Whoever was told something in bulk just before keeps to the bulk requests for some minutes.
    entries = [
        (request, entry)
        for request in requests
        for entry in request["body"].get("users") or request["body"].get("events") or [request["body"]]
    ]
    for request, body in entries:
        fields = ", ".join(f"{name}={value!r}" for name, value in body.get("dataFields", {}).items() if name != "email")
        who = body.get("email") or body.get("userId")
        out.print(
            f"  after [bold]{1000 * (request['unix'] - sent):>4.0f} ms[/]  {request['path']}"
            f"  {request['status']}  {escape(f'{who}: {fields}')}"
        )


def verdict(compared: int, differences: Sequence[str]) -> None:
    if not differences:
        out.print(f"[green]The sandbox holds what the snapshots say: {compared:,} fields and events compared.[/]")
        return
    out.print(f"[red]The sandbox differs from the snapshots in {len(differences):,} of {compared:,}:[/]")
    for difference in differences[:_DIFFERENCES_SHOWN]:
        out.print(f"  {escape(difference)}")


def definitions(found: Iterable[Mapping[str, Any]], runs: Iterable[Mapping[str, Any]]) -> None:
    """Members, entered, left and messages of each definition, over all its runs."""
    totals: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for run in runs:
        for name in ("entered", "left", "changed", "messages"):
            totals[run["key"]][name] += run[name]
        totals[run["key"]]["runs"] += 1
    rows = []
    for each in found:
        total = totals[each["key"]]
        shown = [total[name] for name in ("runs", "entered", "left", "changed", "messages")]
        rows.append([each["key"], each["kind"].replace("_", " "), each["members"], *shown])
    _table(
        "Definitions, over all runs",
        ["definition", "kind", "members", "runs", "entered", "left", "changed", "messages"],
        rows,
    )


def requests(summary: Mapping[str, Any]) -> None:
    rows = [
        [path, status, count] for path, by_status in summary["requests"].items() for status, count in by_status.items()
    ]
    _table("Requests at the sandbox", ["path", "status", "requests"], rows)
    out.print(
        f"{summary['total']:,} requests, {summary['users']:,} users, {summary['events']:,} events,"
        f" {summary['repeats']:,} repeats"
    )


def beside(profile: Mapping[str, Any], held: Mapping[str, Mapping[str, Any]]) -> None:
    """A profile's audiences and traits beside the fields that the stand-in holds for each of its emails."""
    mine = {each["key"]: each["member"] for each in profile["audiences"]}
    mine |= {each["key"]: each["value"] for each in profile["computed_traits"]}
    rows = [
        [key, _value(mine.get(key)), *(_value(fields.get(key)) for fields in held.values())] for key in sorted(mine)
    ]
    user_id = next((each["value"] for each in profile["identities"] if each["type"] == "user_id"), "")
    _table(f"{user_id} here, and at the sandbox by its emails", ["field", "here", *held], rows)
    out.print("[dim]Empty at the sandbox: told as events only, or to nobody.[/]")


def timings(seconds: Mapping[str, float]) -> None:
    rows: list[list[Any]] = [[title, f"{took:.1f}"] for title, took in seconds.items()]
    rows.append(["all", f"{sum(seconds.values()):.1f}"])
    _table("Seconds", ["step", "seconds"], rows)


def next_steps() -> None:
    heading("Next")
    out.print(
        "  make demo STAY=1                  keep it running, to look around with the command line\n"
        "  engage-sync init shop             a workspace of your own, with commented examples\n"
        "  engage-sync -C shop check         parse and type-check it\n"
        "  engage-sync -C shop up            run it; examples/demo/ shows what audiences and traits can say",
        markup=False,
    )


def staying(workspace: Path, api: str) -> None:
    heading("Running until Ctrl+C")
    out.print(
        f"The API is at {api}. In another terminal:\n"
        f"  engage-sync -C {workspace} audiences\n"
        f"  engage-sync -C {workspace} members big_spenders\n"
        f"  engage-sync -C {workspace} preview \"event('Order Completed').within(7 days).count() >= 3\"",
        markup=False,
        soft_wrap=True,
    )


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    made = Table(title=title, title_justify="left", title_style="bold cyan", header_style="bold", box=None)
    for number, name in enumerate(headings):
        is_number = any(isinstance(row[number], int | float) for row in rows)
        made.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(f"{cell:,}" if isinstance(cell, int | float) else str(cell) for cell in row))
    out.print()
    out.print(made)


def _value(value: Any) -> str:
    return "" if value is None else str(value)
