"""import: facts from files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engage_sync import errors
from engage_sync import runtime as composition
from engage_sync.cli import output
from engage_sync.cli.app import Json, current
from engage_sync.ingest.mapping import RowMapping
from engage_sync.ingest.sources import ensure_sources
from engage_sync.sync import ingest
from engage_sync.sync.ingest import ImportOptions, ImportReport


def register(app: typer.Typer) -> None:
    app.command("import")(import_files)


def import_files(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="JSON lines (also .gz), CSV or Parquet.")],
    source: Annotated[
        str | None, typer.Option(help="The source's slug in engage.yml; its first one by default.")
    ] = None,
    as_: Annotated[str | None, typer.Option("--as", help="Rows of a table: track, identify or page calls.")] = None,
    event: Annotated[str | None, typer.Option(help="With --as track: the event's name.")] = None,
    user_id: Annotated[str | None, typer.Option(metavar="COL", help="The column with user ids.")] = None,
    anonymous_id: Annotated[str | None, typer.Option(metavar="COL")] = None,
    email: Annotated[str | None, typer.Option(metavar="COL", help="The column with emails.")] = None,
    timestamp: Annotated[str | None, typer.Option(metavar="COL", help="The column with instants.")] = None,
    message_id: Annotated[str | None, typer.Option(metavar="COL", help="The column with message ids.")] = None,
    properties: Annotated[
        str | None, typer.Option(metavar="a,b=c", help="Columns that become properties, renamed by =; none: all.")
    ] = None,
    traits: Annotated[str | None, typer.Option(metavar="a,b=c", help="The same for the traits of identify.")] = None,
    json: Json = False,
) -> None:
    """Import Segment calls, or rows of a table; safe to run again, as every call counts once.

    What is imported counts for audiences and traits, and is not forwarded to destinations as it stands: that is for
    calls that come in by the tracking API.

    Rows that can't be stored are written to FILE.rejects.jsonl with their number and the reason.

    Examples:

    engage-sync import calls.jsonl.gz

    engage-sync import orders.csv --as track --event "Order Completed" --user-id customer --timestamp bought_at
    """
    mapping = None
    if as_ is not None:
        if as_ not in ("track", "identify", "page"):
            raise errors.UsageError(f"--as {as_}: expected track, identify or page.")
        if as_ == "track" and not event:
            raise errors.UsageError("--as track needs --event, the name of the event that each row is.")
        mapping = RowMapping(
            as_=as_,  # type: ignore[arg-type]
            event=event,
            user_id=user_id,
            anonymous_id=anonymous_id,
            email=email,
            timestamp=timestamp,
            message_id=message_id,
            properties=_columns(properties),
            traits=_columns(traits),
        )
    elif any((event, user_id, anonymous_id, email, timestamp, message_id, properties, traits)):
        raise errors.UsageError("Columns are named for rows of a table: add --as track, identify or page.")
    for file in files:
        if not file.is_file():
            raise errors.UsageError(f"{file}: there is no such file.")
    with composition.runtime(current(context)) as runtime:
        slug = source or (runtime.workspace.sources[0].slug if runtime.workspace.sources else "import")
        known = {each.slug for each in runtime.workspace.sources}
        if source is not None and source not in known:
            raise errors.UsageError(
                f"There is no source {source!r} in engage.yml. Known are: {', '.join(sorted(known))}."
            )
        with runtime.engine.begin() as connection:
            source_id = ensure_sources(connection, [slug])[slug]
        with output.progress(quiet=json) as display:
            task = display.add_task("importing", total=None, note="")

            def show(report: ImportReport) -> None:
                rate = report.read / report.seconds if report.seconds else 0
                display.update(task, completed=report.read, note=f"{rate:,.0f}/s, {report.rejected} rejected")

            report = ingest.import_files(
                runtime.engine,
                files,
                source_id,
                runtime.workspace.limits,
                ImportOptions(mapping=mapping, routes=runtime.context.routes, privacy_key=runtime.context.privacy_key),
                progress=show,
            )
    row = {name: getattr(report, name) for name in report.__dataclass_fields__}
    if json:
        output.json(row)
        return
    output.table(
        [{**row, "rate": report.read / report.seconds if report.seconds else 0.0}],
        {"read": "read", "stored": "stored", "duplicates": "known before", "rejected": "rejected",
         "profiles": "new profiles", "seconds": "seconds", "rate": "rows a second"},
    )  # fmt: skip
    if report.suppressed:
        output.say(f"{report.suppressed:,} rows of suppressed people were dropped.")
    if report.rejected:
        output.say("Rejected rows, with reasons: " + ", ".join(f"{file}.rejects.jsonl" for file in files))


def _columns(text: str | None) -> tuple[tuple[str, str], ...] | None:
    """`a,b=c`: column a under its own name, column b as c. (column, name) pairs."""
    if text is None:
        return None
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    return tuple((column.strip(), (name or column).strip()) for column, _, name in pairs)
