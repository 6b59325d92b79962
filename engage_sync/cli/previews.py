"""preview: what a query would say, without saving anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from engage_sync import runtime as composition
from engage_sync.cli import output
from engage_sync.cli.app import AsOf, Json, Limit, current, instant
from engage_sync.sync import previewing

_QUERY = "A query, as in the files; or the key of a definition, applied or only in a file."


def register(app: typer.Typer) -> None:
    app.command()(preview)


def preview(
    context: typer.Context,
    query: Annotated[str, typer.Argument(metavar="QUERY|KEY", help=_QUERY)],
    as_of: AsOf = None,
    limit: Limit = 10,
    include_anonymous: Annotated[
        bool, typer.Option("--include-anonymous", help="Also people without a user id or email.")
    ] = False,
    accounts: Annotated[
        bool, typer.Option("--accounts", help="Ask of accounts, as a definition with type: ACCOUNTS does.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what a query says without saving anything: size, a sample, what each condition leaves over, and for traits
    how the values are distributed.

    Example: engage-sync preview "event('Order Completed').within(30 days).count() >= 1 AND trait('plan') = 'gold'"
    """
    with composition.runtime(current(context)) as runtime, output.progress(quiet=json) as display:
        found = previewing.preview(
            runtime.engine,
            runtime.context,
            query,
            specs=runtime.workspace.definitions,
            as_of=instant(as_of),
            sample=limit or 10,
            include_anonymous=include_anonymous,
            of_accounts=accounts,
            watch=output.Bars(display),
        )
    if json:
        output.json(found)
        return
    output.out.print(f"{found['total']:,} of {found['profiles']:,} profiles as of {output.shown(found['as_of'])}")
    columns = {"profile_id": "profile", "user_id": "user id", "emails": "emails"}
    if found["kind"] == "audience":
        _show_waterfall(found["waterfall"])
    else:
        columns["value"] = "value"
        _show_distribution(found)
    output.table(found["sample"], columns, title="\nSample")


def _show_waterfall(waterfall: Mapping[str, Any] | None) -> None:
    if waterfall is None:
        return
    rows: list[dict[str, Any]] = []
    for number, each in enumerate(waterfall["conditions"]):
        inner = each.get("waterfall")
        text = f"({each['condition']})" if inner else each["condition"]
        rows.append(_condition({**each, "condition": text}, waterfall["junction"], number, ""))
        for place, nested in enumerate(inner["conditions"] if inner else ()):
            rows.append(_condition(nested, inner["junction"], place, "    "))
    columns = {"condition": "condition", "alone": "alone", "cumulative": "with those above"}
    output.table(rows, columns, title="\nConditions")


def _condition(each: Mapping[str, Any], junction: str, number: int, indent: str) -> dict[str, Any]:
    word = f"{junction} " if number else ""
    return {**each, "condition": f"{indent}{word}{each['condition']}"}


def _show_distribution(found: Mapping[str, Any]) -> None:
    nothing = {"value": "no value", "profiles": found["without_value"]}
    if found["histogram"]:
        values = {f"{each['quantile'] * 100:g} %": each["value"] for each in found["quantiles"]}
        output.table([values], {name: name for name in values}, title="\nQuantiles")
        bins = [
            {"value": _bounds(each["from"], each["to"]), "profiles": each["profiles"]} for each in found["histogram"]
        ]
        _show_values([*bins, nothing], "\nHistogram")
    if found["items"]:
        _show_values([*found["items"], nothing], "\nItems of lists, and people who have them")
        if found["other_items"]:
            output.out.print(f"and {found['other_items']:,} other items")
    texts = [each for each in found["distribution"] if not isinstance(each["value"], int | float | list)]
    texts += [each for each in found["distribution"] if isinstance(each["value"], bool)]
    if texts or not (found["histogram"] or found["items"]):
        others = {"value": f"{found['others']['values']:,} others", "profiles": found["others"]["profiles"]}
        _show_values([*texts, *([others] if found["others"]["values"] else []), nothing], "\nMost frequent values")


def _show_values(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    most = max((row["profiles"] for row in rows), default=0)
    shown = [{**row, "bar": output.bar(row["profiles"], most)} for row in rows]
    output.table(shown, {"value": "value", "profiles": "profiles", "bar": ""}, title=title)


def _bounds(start: float | None, end: float | None) -> str:
    """The bounds of a bin: the start counts, the end doesn't."""
    if start is None:
        return f"< {end:,}"
    return f"≥ {start:,}" if end is None else f"{start:,} – {end:,}"
