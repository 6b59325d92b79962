"""init, check, schema, plan, apply: the workspace's files and what they mean for the database."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from engage_sync import errors
from engage_sync import runtime as composition
from engage_sync.cli import output
from engage_sync.cli.app import Json, current
from engage_sync.definitions import example, schema
from engage_sync.definitions.model import Workspace
from engage_sync.destinations import registry
from engage_sync.sync import planning, sweeping

Delete = Annotated[
    list[str] | None,
    typer.Option(
        "--delete",
        metavar="KEY",
        help="Also delete this definition, whose file is gone; `on_delete: sweep` tells people.",
    ),
]


def register(app: typer.Typer) -> None:
    app.command()(init)
    app.command()(check)
    app.command("schema")(print_schema)
    app.command()(plan)
    app.command()(apply)


def init(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Where; made if it isn't there.")] = None,
) -> None:
    """Make a new workspace with commented examples.

    Example: engage-sync init shop && cd shop && engage-sync apply && engage-sync up
    """
    target = folder or current(context).workspace
    token = secrets.token_urlsafe(24)
    written = example.write_example(target, secrets.token_urlsafe(24), token, secrets.token_urlsafe(32))
    for path in written:
        output.say(f"wrote {path}")
    output.say(f"The token of /metrics and the management API, kept in {target / '.env'}: {token}")
    output.say(f"Next: engage-sync -C {target} apply, then engage-sync -C {target} up")


def check(context: typer.Context, json: Json = False) -> None:
    """Parse and type-check everything, all errors at once; needs no database.

    Errors are written one a line as path:line:column: message; the exit code is 2.
    """
    settings = current(context)
    try:
        workspace, scenarios = composition.load_to_check(settings)
    except errors.WorkspaceInvalid as invalid:
        if json:
            output.json(invalid_document(invalid))
            raise typer.Exit(invalid.exit_code) from None
        raise
    if json:
        warnings = [_problem(problem) for problem in workspace.warnings]
        output.json({"valid": True, "errors": [], "warnings": warnings, "definitions": _keys(workspace)})
        return
    _warn(workspace)
    audiences = sum(1 for spec in workspace.definitions if spec.kind == "audience")
    traits = len(workspace.definitions) - audiences
    tests = f", {len(scenarios)} tests" if scenarios else ""
    output.out.print(f"All is well: {audiences} audiences, {traits} computed traits{tests}.")


def print_schema(
    kind: Annotated[
        str | None, typer.Argument(metavar="[engage|audience|trait|test]", help="Which file's; none: all.")
    ] = None,
) -> None:
    """Print the JSON Schema of the workspace's files, for editors."""
    known = {str(name): made for name, made in schema.json_schemas(registry.settings_schemas()).items()}
    if kind is not None and kind not in known:
        raise errors.UsageError(f"There is no schema {kind!r}. Known are: {', '.join(known)}.")
    output.json(known[kind] if kind else known)


def plan(context: typer.Context, delete: Delete = None, json: Json = False) -> None:
    """Show what apply and the next computation would change: definitions, members, calls, and how long they take."""
    with composition.runtime(current(context)) as runtime:
        workspace = planning.described(runtime.engine, runtime.workspace, runtime.context.warehouse)
        made = planning.plan(
            runtime.engine,
            workspace,
            runtime.destinations(),
            runtime.context,
            delete=delete or (),
        )
        if json:
            output.json(made.document())
            return
        _warn(runtime.workspace)
        _show_plan(made)
        _say_when_guards_count(runtime.workspace)


def apply(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    delete: Delete = None,
    json: Json = False,
) -> None:
    """Record the workspace's definitions; they are computed by compute, sync or up."""
    with composition.runtime(current(context)) as runtime:
        _warn(runtime.workspace)
        workspace = planning.described(runtime.engine, runtime.workspace, runtime.context.warehouse)
        foreseen = planning.actions(runtime.engine, workspace, delete=delete or ())
        changing = [action for action in foreseen if action.kind not in ("unchanged", "missing")]
        if changing and not yes and not json and output.err.is_terminal:
            _show_actions(foreseen)
            if not typer.confirm("Apply?", err=True):
                raise typer.Exit(1)
        done = planning.apply(runtime.engine, workspace, delete=delete or ())
        with output.progress(quiet=json) as display:
            swept = sweeping.sweep(runtime.engine, runtime.context, watch=output.Bars(display))
        if json:
            messages = {each.key: {"messages": each.messages} for each in swept}
            output.json([{**_action(action), **messages.get(action.key, {})} for action in done])
            return
        _show_actions(done)
        _say_when_guards_count(runtime.workspace)
        for each in swept:
            output.say(f"{each.key}: {each.messages:,} messages tell {each.people:,} people that it is gone.")


def invalid_document(invalid: errors.WorkspaceInvalid) -> dict[str, Any]:
    """All that is wrong with a workspace's files, for machines."""
    return {"valid": False, "errors": [_problem(problem) for problem in invalid.problems], "warnings": []}


def _show_plan(made: planning.Plan) -> None:
    _show_actions(made.actions)
    if made.effects:
        output.table(
            [effect.document() for effect in made.effects],
            {"key": "definition", "members": "members now", "entering": "entering", "leaving": "leaving",
             "changing": "changing", "allowed": "guard allows", "seconds": "seconds to evaluate"},
            title="Members and values",
        )  # fmt: skip
    for effect in made.effects:
        if effect.held:
            output.say(
                f"{effect.key} would be held, and nothing of it written: {effect.held} Once it is computed, engage-sync"
                f" approve {effect.key} writes it."
            )
    if made.calls:
        output.table(
            [call.document() for call in made.calls],
            {
                "destination": "destination",
                "call_type": "call",
                "messages": "messages",
                "seconds": "seconds at its rate",
            },
            title="Messages",
        )


def _show_actions(actions: Any) -> None:
    rows = [_action(action) for action in actions if action.kind != "unchanged"]
    if not rows:
        output.out.print("The definitions are as the files say; nothing to apply.")
        return
    output.table(rows, {"action": "action", "key": "definition", "kind": "kind", "changed": "changed"})
    if any(row["action"] == "missing" for row in rows):
        output.say("A definition whose file is gone stays until you say: engage-sync apply --delete KEY")


def _action(action: Any) -> dict[str, Any]:
    return {
        "action": action.kind,
        "key": action.key,
        "kind": action.definition_kind,
        "changed": list(action.changed),
    }


def _say_when_guards_count(workspace: Workspace) -> None:
    """Definitions reach daemons once they are applied; engage.yml is read when a process starts."""
    if workspace.guard is not None:
        output.say(
            "A guard in engage.yml, once changed, counts for running daemons when they are restarted; one in a"
            " definition as soon as it is applied."
        )


def _warn(workspace: Workspace) -> None:
    for warning in workspace.warnings:
        output.say(f"{warning} (warning)")


def _problem(problem: errors.Problem) -> dict[str, Any]:
    return {"path": problem.path, "line": problem.line, "column": problem.column, "message": problem.message}


def _keys(workspace: Workspace) -> list[dict[str, str]]:
    return [{"key": spec.key, "kind": spec.kind} for spec in workspace.definitions]
