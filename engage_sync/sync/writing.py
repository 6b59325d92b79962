"""Writing what changed, of any number of definitions: snapshot, ledger, touches, and what must be told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.database import channels as notifications
from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query
from engage_sync.definitions.versions import StoredDefinition
from engage_sync.outbox.enqueue import Priority
from engage_sync.snapshots import differences, states
from engage_sync.snapshots.differences import Difference, Found
from engage_sync.snapshots.runs import Progress
from engage_sync.sync import telling
from engage_sync.sync.catalog import Catalog, Context

_TOUCH = text(
    """
    INSERT INTO touches (profile_id, reasons)
    SELECT unnest(CAST(:profiles AS bigint[])), ARRAY[CAST(:reason AS text)]
    """
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Differences of one definition, to be written. `must_tell`: profiles whose identities changed."""

    definition: StoredDefinition
    run: int
    differences: Sequence[Difference]
    must_tell: Sequence[int] = ()


def write(
    connection: Connection,
    context: Context,
    catalog: Catalog,
    work: Sequence[Work],
    *,
    as_of: datetime,
    priority: Priority,
    aware: Collection[int] = (),
    guarded: bool = True,
    silently: bool = False,
) -> dict[int, Progress]:
    """Write differences and enqueue what they make to be told, under the definitions' locks; by definition.

    One pass over any number of definitions: the same few statements for a run's batch and for a round. `aware` are the
    definitions that the caller evaluates next for whoever changed here, so that no touch has to tell them. `guarded`:
    it counts in the hour that guards look at. `silently`: what is to be told counts as told, and nothing is sent.
    """
    tallies = {
        each.definition.id: differences.tally(each.differences, each.definition.kind == "audience") for each in work
    }
    found = [Found(definition=each.definition.id, run=each.run, differences=each.differences) for each in work]
    counted = {each.definition.id: tallies[each.definition.id] for each in work if each.differences}
    queries: list[Query[Any]] = []
    if counted:
        queries += [differences.recording(found, as_of), states.counting(counted, as_of, guarded=guarded)]
    queries += _touching_those_who_refer(catalog, work, aware)
    jobs = [
        telling.Job(
            definition=each.definition,
            channels=telling.channels(each.definition, context.destinations),
            profiles=[*(difference.profile_id for difference in each.differences), *each.must_tell],
            moved=each.must_tell,
            run=each.run,
        )
        for each in work
    ]
    if silently:
        telling.take_as_told(connection, jobs, after=queries)
        return {definition: Progress(tally=tally) for definition, tally in tallies.items()}
    told = telling.tell(
        connection,
        jobs,
        after=queries,
        as_of=as_of,
        priority=priority,
        alike=context.alike,
        emails_change=bool(context.routes.email_changes),
    )
    messages = Counter(message.definition_id for message in told)
    return {definition: Progress(tally=tally, messages=messages[definition]) for definition, tally in tallies.items()}


def _touching_those_who_refer(catalog: Catalog, work: Sequence[Work], aware: Collection[int]) -> list[Query[None]]:
    """Definitions that refer to a changed one find its people among their touches."""
    queries = []
    for each in work:
        if each.differences and not catalog.referrers.get(each.definition.key, frozenset()) <= set(aware):
            changed = [difference.profile_id for difference in each.differences]
            given = {"profiles": changed, "reason": f"definition:{each.definition.key}"}
            queries.append(Query(_TOUCH, given, pipeline.nothing))
    return [*queries, notifications.notifying(notifications.TOUCHES)] if queries else []
