"""The commands, and what they have in common: `-C DIR`, `--json`, instants."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

from engage_sync import __version__, clock, errors, logs, settings
from engage_sync.settings import Settings

# What lies in which module, in the order of the help. A command imports its own module and what that needs: importing
# takes most of the time of a short one. Only the help of all imports all.
MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "workspaces": ("init", "check", "schema", "plan", "apply"),
    "testing": ("test",),
    "facts": ("import",),
    "computing": ("compute", "deliver", "sync"),
    "previews": ("preview",),
    "serving": ("up", "serve", "schedule", "sandbox"),
    "reading": ("audiences", "traits", "members", "profile", "runs"),
    "explaining": ("explain",),
    "past": ("history", "backtest"),
    "guarding": ("approve", "discard"),
    "operations": ("render", "migrate", "doctor", "down", "pause", "resume"),
    "delivering": ("destinations", "outbox"),
    "repairing": ("resync", "reconcile"),
    "privacy": ("suppress", "forget", "privacy"),
    "dead_letters": ("dead-letters",),
}


class Commands(TyperGroup):
    """Imports a command's module when it is asked for."""

    def list_commands(self, _context: Any) -> list[str]:
        return [name for names in MODULES.values() for name in names]

    def get_command(self, _context: Any, cmd_name: str) -> Any:
        module = next((module for module, names in MODULES.items() if cmd_name in names), None)
        return None if module is None else commands_of(module)[cmd_name]


@cache
def commands_of(module: str) -> Mapping[str, Any]:
    """The commands that a module of this package registers, by name."""
    alone = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    # With a callback of its own it is a group even where it has one command.
    alone.callback()(lambda: None)
    importlib.import_module(f"engage_sync.cli.{module}").register(alone)
    return get_group(alone).commands


app = typer.Typer(
    cls=Commands,
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
    # Everything is imported, or nearly: none of it goes again, and collecting need not look at it.
    gc.freeze()
    gc.enable()
    context.obj = settings.load(workspace)
    logs.configure(context.obj)
