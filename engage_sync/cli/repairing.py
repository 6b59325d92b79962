"""resync, reconcile: what destinations hold, and telling them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from engage_sync import errors
from engage_sync import runtime as composition
from engage_sync.cli import output
from engage_sync.cli.app import Json, Keys, current
from engage_sync.destinations.protocol import Destination, Readable
from engage_sync.runtime import Runtime
from engage_sync.sync import resyncing

if TYPE_CHECKING:
    from engage_sync.sync import reconciling

_SEND = (
    "They wait in the outbox, behind all that is more urgent; `up` sends them, or: engage-sync deliver --until-empty"
)


def register(app: typer.Typer) -> None:
    app.command()(resync)
    app.command()(reconcile)


def resync(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="A definition by its key.")],
    events: Annotated[
        bool, typer.Option("--events", help="Also the events that told it: they would happen once more there.")
    ] = False,
    json: Json = False,
) -> None:
    """Tell everybody again what a definition says of them, with the lowest priority; nothing is computed.

    Example: engage-sync resync order_completed_last_30days
    """
    with composition.runtime(current(context)) as runtime, output.progress(quiet=json) as display:
        done = resyncing.resync(
            runtime.engine, runtime.context, key, runtime.destinations(), events=events, watch=output.Bars(display)
        )
    if json:
        output.json(done.document())
        return
    output.out.print(f"{done.people:,} people are told again.")
    if done.calls:
        output.table(
            [calls.document() for calls in done.calls],
            {
                "destination": "destination",
                "call_type": "call",
                "messages": "messages",
                "seconds": "seconds at its rate",
            },
        )
        output.say(_SEND)


def reconcile(
    context: typer.Context,
    destination: Annotated[str, typer.Argument(help="A destination by its slug.")],
    keys: Keys = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, help="So many people, by chance; 1,000 where nothing is said."),
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Everybody.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Tell those again who hold something else.")] = False,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt", help="Take what is held for what was told, so that only differences are sent. Everybody."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Compare what people were told with what a destination holds of them, each read back from it.

    Ends with exit code 1 where something differs and is left so, or couldn't be read.

    Example: engage-sync reconcile iterable --sample 500, or after apply and before the first sync of a workspace whose
    fields are in Iterable already: engage-sync reconcile iterable --adopt
    """
    # An HTTP client takes its time to load: only where it is used.
    from engage_sync.delivery.reading import Reader
    from engage_sync.sync import reconciling

    order = _order(keys, sample, everybody=everybody, repair=repair, adopt=adopt)
    with composition.runtime(current(context)) as runtime:
        readable = _readable(runtime, destination)
        reader = Reader(runtime.engine, readable, runtime.context.destinations[destination], runtime.settings)
        with output.progress(quiet=json) as display:
            found = reconciling.reconcile(
                runtime.engine, runtime.context, destination, readable, reader, order, watch=output.Bars(display)
            )
    if json:
        output.json([each.document() for each in found])
    else:
        _show(found, order)
    if any(each.drifted or each.unread for each in found):
        raise typer.Exit(1)


def _order(
    keys: list[str] | None, sample: int | None, *, everybody: bool, repair: bool, adopt: bool
) -> reconciling.Order:
    from engage_sync.sync import reconciling

    if everybody and sample is not None:
        raise errors.UsageError("Give --sample N or --all, not both.")
    if repair and adopt:
        raise errors.UsageError("Give --repair (what we say is right) or --adopt (what is held is right), not both.")
    if sample is None and not (everybody or adopt):
        sample = reconciling.SAMPLE
    return reconciling.Order(keys=keys or None, sample=sample, repair=repair, adopt=adopt)


def _readable(runtime: Runtime, slug: str) -> Readable:
    configured: dict[str, Destination] = runtime.destinations()
    if slug not in configured:
        raise errors.NotFound(
            f"There is no destination {slug!r} in engage.yml. Known are: {', '.join(sorted(configured)) or 'none'}."
        )
    destination = configured[slug]
    if not isinstance(destination, Readable):
        raise errors.UsageError(f"{slug} can't be read back: it doesn't say what it holds.")
    return destination


def _show(found: list[reconciling.Comparison], order: reconciling.Order) -> None:
    if not found:
        output.say("No definition writes a field there: nothing to read back.")
        return
    columns = {"key": "definition", "checked": "checked", "equal": "equal", "different": "different",
               "missing": "missing", "open": "open", "unread": "unread"}  # fmt: skip
    if any(each.suppressed for each in found):
        columns |= {"suppressed": "suppressed"}
    if order.repair:
        columns |= {"repaired": "repaired", "messages": "messages"}
    if order.adopt:
        columns |= {"adopted": "adopted", "messages": "messages"}
    output.table([each.document() for each in found], columns)
    examples = [{"key": each.definition.key, **one.document()} for each in found for one in each.examples]
    if examples:
        output.table(
            examples,
            {"key": "definition", "identity": "identity", "field": "field", "told": "told", "holds": "holds"},
            title="Different, for example",
        )
    _explain(found, order)


def _explain(found: list[reconciling.Comparison], order: reconciling.Order) -> None:
    if any(each.missing for each in found):
        output.say("missing: the destination doesn't know them (any more).")
    if any(each.open for each in found):
        output.say("open: something waits for them or isn't known, so there is nothing to compare yet.")
    if any(each.unread for each in found):
        output.say("unread: the destination didn't say what it holds of them.")
    if any(each.suppressed for each in found):
        output.say("suppressed: left out, as nobody asks about these people.")
    if any(each.drifted for each in found):
        output.say("To tell them again what is true, add --repair (and --all for everybody).")
    if any(each.messages for each in found):
        output.say(_SEND)
    if order.sample is not None and not any(
        each.checked or each.adopted or each.open or each.suppressed for each in found
    ):
        output.say("Nobody was told anything yet.")
