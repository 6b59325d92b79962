"""What a person says of a held definition: approve what it would do, or discard it."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, text

from engage_sync import errors
from engage_sync.definitions import versions
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.snapshots import guards, holds, runs, states
from engage_sync.snapshots.differences import Tally
from engage_sync.snapshots.holds import Hold, HoldStatus
from engage_sync.snapshots.runs import Cause
from engage_sync.sync import batches
from engage_sync.sync.batches import RunReport, Watcher
from engage_sync.sync.catalog import Catalog, Context

_KEY_OF_RUN = text(
    "SELECT definitions.key FROM runs JOIN definitions ON definitions.id = definition_id WHERE runs.id = :run"
)
_COUNTS = text("SELECT entered, exited, changed FROM runs WHERE id = :run")


def key_of(connection: Connection, name: str) -> str:
    """The key of a definition that is named by it, or by the number of its held run. Raises errors.NotFound."""
    known = {definition.key for definition in versions.load(connection, include_disabled=True)}
    if name not in known and name.isdecimal():
        found: str | None = connection.execute(_KEY_OF_RUN, {"run": int(name)}).scalar()
        if found is None:
            raise errors.NotFound(f"There is no run {name}. What is held: engage-sync runs")
        return found
    if name not in known:
        raise errors.NotFound(versions.unknown_key(name, known))
    return name


def counts(connection: Connection, key: str) -> Tally:
    """What a held definition would do, as it was last counted. Raises errors.UsageError where it isn't held."""
    definition = versions.find(connection, key)
    return _counts(connection, _hold(definition, states.load(connection, [definition.id])))


def approve(
    engine: Engine, context: Context, key: str, approved: Tally | None = None, *, watch: Watcher | None = None
) -> RunReport:
    """Compute a held definition anew, and write it up to the approved counts and a tenth; beyond, it is held again.

    `approved` None: what was last counted. Computed is as of now, or as of the instant that was given to what is held.
    The approval is on record before anything is written: should this process die, the next tick does the rest.

    Raises errors.NotFound; errors.UsageError where it isn't held.
    """
    with engine.begin() as connection:
        catalog = Catalog.load(connection)
        (definition,) = catalog.select([key], with_references=False)
        state = states.lock(connection, definition.id)
        hold = _hold(definition, {definition.id: state})
        if hold.status is not HoldStatus.APPROVED:
            agreed = _counts(connection, hold) if approved is None else approved
            holds.approve(connection, definition.id, guards.allowance(agreed))
            runs.close_held(connection, hold.run_id, "approved", "Approved: what it did, a later run says.")
    return batches.compute_one(
        engine,
        context,
        catalog,
        definition,
        as_of=None if hold.is_live else hold.looked_at,
        cause=Cause.MANUAL,
        watch=watch,
    )


def discard(engine: Engine, key: str) -> Hold:
    """Give up what is held: the next tick, or the next computation on demand, computes anew.

    So may what was approved be, once its run has failed: what it wrote until then stands. Raises errors.NotFound;
    errors.UsageError where it isn't held, or is approved and being written.
    """
    with engine.begin() as connection:
        definition = versions.find(connection, key)
        state = states.lock(connection, definition.id)
        hold = _hold(definition, {definition.id: state})
        note = "Discarded: the next tick computes anew."
        if hold.status is HoldStatus.APPROVED:
            if state.error is None:
                raise errors.UsageError(
                    f"{key} was approved, and is being written: it can be discarded only where that fails."
                )
            note = "Approved, then discarded: what was written stands, the next tick computes anew."
        holds.discard(connection, definition.id)
        runs.close_held(connection, hold.run_id, "discarded", note, before=hold.status)
        return hold


def _counts(connection: Connection, hold: Hold) -> Tally:
    row = connection.execute(_COUNTS, {"run": hold.run_id}).one()
    return Tally(entered=row.entered, exited=row.exited, changed=row.changed)


def _hold(definition: StoredDefinition, known: dict[int, states.State]) -> Hold:
    hold = known[definition.id].hold
    if hold is None:
        raise errors.UsageError(f"{definition.key} isn't held: there is nothing to approve or discard.")
    if hold.version != definition.version:
        raise errors.UsageError(
            f"{definition.key} was changed since it was held: see what it would do now with"
            f" engage-sync compute {definition.key}"
        )
    if hold.status is HoldStatus.DISCARDED:
        raise errors.UsageError(
            f"{definition.key} was discarded: the next tick computes it anew; at once: engage-sync compute"
            f" {definition.key}"
        )
    return hold
