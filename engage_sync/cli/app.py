"""The commands, and what they have in common: `-C DIR`, `--json`, instants."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from engage_sync import __version__, clock, errors, logs, settings
from engage_sync.settings import Settings

app = typer.Typer(
    name="engage-sync",
    help="Audiences and computed traits, kept true and told to Iterable: once, in order, within its rate limits.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, and nothing else.")]
AsOf = Annotated[
    str | None, typer.Option("--as-of", metavar="T", help="The instant, ISO 8601, UTC where no zone is given.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many.")]
Keys = Annotated[list[str] | None, typer.Argument(metavar="[KEY]…", help="Definitions by their keys; none: all.")]


def current(context: typer.Context) -> Settings:
    """The settings of this invocation."""
    found: Settings = context.obj
    return found


def instant(text: str | None, option: str = "--as-of") -> datetime | None:
    """An instant as people write it: `2026-03-01T12:00:00Z`, `2026-03-01`, `now`. UTC without a zone."""
    if text is None:
        return None
    if text == "now":
        return clock.now()
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise errors.UsageError(
            f"{option} {text!r} is no instant. Expected ISO 8601, for example 2026-03-01T12:00:00Z."
        ) from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"engage-sync {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    workspace: Annotated[
        Path | None, typer.Option("-C", metavar="DIR", help="The workspace: the folder with engage.yml.")
    ] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    context.obj = settings.load(workspace)
    logs.configure(context.obj)


from engage_sync.cli import (  # noqa: E402
    computing,
    dead_letters,
    delivering,
    explaining,
    facts,
    guarding,
    operations,
    past,
    previews,
    privacy,
    reading,
    repairing,
    serving,
    testing,
    workspaces,
)

for group in (
    workspaces,
    testing,
    facts,
    computing,
    previews,
    serving,
    reading,
    explaining,
    past,
    guarding,
    operations,
    delivering,
    dead_letters,
    repairing,
    privacy,
):
    group.register(app)
