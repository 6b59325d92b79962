"""test: the workspace's own tests, tests/*.yml."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from rich.text import Text

from engage_sync import errors
from engage_sync import runtime as composition
from engage_sync.cli import output
from engage_sync.cli.app import Json, current
from engage_sync.cli.workspaces import invalid_document
from engage_sync.definitions.model import Workspace
from engage_sync.definitions.scenarios import Scenario
from engage_sync.settings import Settings
from engage_sync.sync import rehearsing
from engage_sync.sync.rehearsing import Outcome
from engage_sync.sync.verdicts import Failure, instant

_HOW_TO_WRITE_ONE = """\
There are no tests in {folder}. A test is a file such as tests/buyers.yml:

  name: Buyers leave after 30 days
  given:
    - {{type: track, userId: u1, event: Order Completed, timestamp: 2026-01-01T10:00:00Z}}
  then:
    - at: 2026-01-31T10:00:00Z
      in: {{{key}: u1}}
    - at: 2026-01-31T10:00:01Z
      out: {{{key}: u1}}
"""


def register(app: typer.Typer) -> None:
    app.command("test")(run_tests)


def run_tests(
    context: typer.Context,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]…", help="Files with tests; none: all of tests/.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("-k", metavar="TEXT", help="Only tests with this in their name, in any case.")
    ] = None,
    json: Json = False,
) -> None:
    """Run the tests in tests/*.yml: given calls, and who must be in or out when.

    Each runs the real thing, on an empty PostgreSQL of its own that is gone afterwards; nothing is sent, and no secret
    is needed. Exit code 1 where one fails, 2 where a file is wrong.

    Example: engage-sync test tests/buyers.yml -k "30 days"
    """
    settings = current(context)
    for file in files or ():
        if not file.is_file():
            raise errors.UsageError(f"{file}: there is no such file.")
    workspace, scenarios = _load(settings, files, json=json)
    chosen = [each for each in scenarios if name is None or name.casefold() in each.name.casefold()]
    if not chosen:
        _say_there_is_none(settings, workspace, scenarios, name)
        if json:
            output.json([])
        return
    began = time.monotonic()
    outcomes = list(_run(workspace, chosen, json=json))
    if json:
        output.json([_document(outcome) for outcome in outcomes])
    else:
        _summarise(outcomes, time.monotonic() - began)
    if any(outcome.failures for outcome in outcomes):
        raise typer.Exit(1)


def _load(settings: Settings, files: Sequence[Path] | None, *, json: bool) -> tuple[Workspace, tuple[Scenario, ...]]:
    try:
        return composition.load_to_test(settings, files or None)
    except errors.WorkspaceInvalid as invalid:
        if not json:
            raise
        output.json(invalid_document(invalid))
        raise typer.Exit(invalid.exit_code) from None


def _say_there_is_none(
    settings: Settings, workspace: Workspace, scenarios: Sequence[Scenario], name: str | None
) -> None:
    if scenarios:
        raise errors.UsageError(f"None of {len(scenarios)} tests has {name!r} in its name.")
    audiences = [spec.key for spec in workspace.definitions if spec.kind == "audience"]
    key = audiences[0] if audiences else "order_completed_last_30days"
    output.say(_HOW_TO_WRITE_ONE.format(folder=settings.workspace / "tests", key=key).rstrip())


def _run(workspace: Workspace, scenarios: Sequence[Scenario], *, json: bool) -> Iterator[Outcome]:
    """Run them one by one, each told of as it ends."""
    file = None
    with _ended_by_signals(), output.progress(quiet=json) as display:
        task = display.add_task("starting PostgreSQL", total=len(scenarios), note="")
        with rehearsing.stage(workspace) as rehearsal:
            for number, scenario in enumerate(scenarios):
                display.update(task, description="testing", completed=number, note=scenario.name[:40])
                outcome = rehearsal.run(scenario)
                if not json:
                    if scenario.file != file:
                        file = scenario.file
                        output.out.print(file, markup=False)
                    _show(outcome)
                yield outcome


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl+C does, so that no server is left behind."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # What is ignored stays so: nohup means it.
    numbers = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]
    before = [signal.signal(number, end) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _show(outcome: Outcome) -> None:
    passed, failed = ("✓", "✗") if output.out.encoding.startswith("utf") else ("ok", "not ok")
    mark, style = (failed, "red") if outcome.failures else (passed, "green")
    output.out.print(Text.assemble("  ", (mark, style), f" {outcome.scenario.name}  ", (_time(outcome.seconds), "dim")))
    for failure in outcome.failures:
        output.out.print(f"      {_place(outcome, failure)}: {failure.message}", markup=False, soft_wrap=True)
        details = f"as of {instant(failure.at)}" + (f": {failure.hint}" if failure.hint else "")
        output.out.print(f"        {details}", markup=False, soft_wrap=True, style="dim")


def _summarise(outcomes: Sequence[Outcome], seconds: float) -> None:
    failed = sum(1 for outcome in outcomes if outcome.failures)
    passed = len(outcomes) - failed
    parts = [f"{failed} failed"] if failed else []
    parts += [f"{passed} passed"] if passed else []
    output.out.print(f"{', '.join(parts)} in {_time(seconds)}", style="red" if failed else "green")


def _document(outcome: Outcome) -> dict[str, Any]:
    scenario = outcome.scenario
    return {
        "name": scenario.name,
        "file": scenario.file,
        "line": scenario.position.line,
        "passed": not outcome.failures,
        "seconds": round(outcome.seconds, 3),
        "failures": [
            {
                "line": failure.position.line,
                "column": failure.position.column,
                "at": failure.at,
                "check": failure.kind,
                "key": failure.key,
                "person": failure.person,
                "expected": failure.expected,
                "found": failure.found,
                "message": failure.message,
                "hint": failure.hint,
            }
            for failure in outcome.failures
        ],
    }


def _place(outcome: Outcome, failure: Failure) -> str:
    return f"{outcome.scenario.file}:{failure.position.line}:{failure.position.column}"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
