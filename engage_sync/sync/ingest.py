"""Calls become facts: the inbox is resolved, files are imported. One transaction a batch, one resolver at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TextIO

from sqlalchemy import Connection, Engine, text

from engage_sync.database import channels, locks, pipeline
from engage_sync.ingest import accept, files, inbox, volumes
from engage_sync.ingest.calls import FileRow, IncomingCall
from engage_sync.ingest.mapping import RowMapping
from engage_sync.profiles import resolver, suppression
from engage_sync.profiles.facts import Facts
from engage_sync.sync import resolving
from engage_sync.sync.forwarding import NOWHERE, Routes
from engage_sync.sync.resolving import Totals

# A batch's fixed costs are some twenty statements; above a few thousand calls they don't count any more.
BATCH = 5_000
_NOW = text("SELECT clock_timestamp()")
# The batches of an import needn't wait for the disk one by one: the last commit of a file waits for all of them, and
# an import that a crash cut short is run again.
_COMMIT_LATER = text("SET LOCAL synchronous_commit = off")
_COMMIT_NOW = text("SELECT pg_current_xact_id()")
# A reject is for a person to read; whole calls would make the file as large as what was imported.
_MAX_QUOTED = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolveReport:
    """What became of one batch of the inbox; calls of `suppressed` people were dropped.

    `is_standing_by`: another process is the resolver; nothing was done.
    """

    taken: int = 0
    stored: int = 0
    duplicates: int = 0
    suppressed: int = 0
    rejected: int = 0
    adjusted_timestamps: int = 0
    merges: int = 0
    touched: int = 0
    is_standing_by: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportOptions:
    """How files are read: with `mapping`, rows of a table; without, one Segment call a line.

    Of `routes` only changed emails are told: a file is history, and its calls are forwarded nowhere.
    """

    mapping: RowMapping | None = None
    batch_size: int = BATCH
    routes: Routes = NOWHERE
    privacy_key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportReport:
    """What became of the rows of some files; `profiles` are those that appeared, `suppressed` rows were dropped."""

    read: int = 0
    stored: int = 0
    duplicates: int = 0
    suppressed: int = 0
    rejected: int = 0
    adjusted_timestamps: int = 0
    profiles: int = 0
    seconds: float = 0.0


def resolve_inbox(
    engine: Engine,
    limits: Mapping[str, int],
    batch_size: int = BATCH,
    *,
    routes: Routes = NOWHERE,
    privacy_key: bytes = b"",
) -> ResolveReport:
    """Resolve the oldest calls of the inbox in one transaction, and pass them on; not where another process does."""
    return resolving.retried(
        engine, lambda connection: _resolve_inbox(connection, limits, batch_size, routes, privacy_key)
    )


def _resolve_inbox(
    connection: Connection, limits: Mapping[str, int], batch_size: int, routes: Routes, privacy_key: bytes
) -> ResolveReport:
    if not locks.attempt(connection, locks.LockClass.RESOLVER):
        return ResolveReport(is_standing_by=True)
    rows = inbox.take(connection, batch_size)
    if not rows:
        return ResolveReport()
    calls = [
        IncomingCall(source_id=row.source_id, received_at=row.received_at, body=accept.parse(row.call.encode()))
        for row in rows
    ]
    facts, refused = resolver.read_facts(calls, limits)
    totals = resolving.resolve(connection, facts, limits, routes, calls, privacy_key=privacy_key)
    rejected = sorted([*refused, *totals.refused])
    kept = _without_suppressed(connection, rejected, calls, privacy_key)
    inbox.reject(
        connection,
        [
            inbox.Rejected(
                source_id=rows[position].source_id,
                received_at=rows[position].received_at,
                call=rows[position].call,
                reason=reason,
            )
            for position, reason in kept
        ],
    )
    events = [(each.source_id, each.event, rows[each.position].received_at) for each in facts if each.event is not None]
    pipeline.ask_each(
        connection,
        [inbox.removing([row.id for row in rows]), volumes.counting(rows), volumes.counting_events(events)],
    )
    if totals.touched:
        channels.notify(connection, channels.TOUCHES)
    return ResolveReport(
        taken=len(rows),
        stored=totals.stored,
        duplicates=totals.duplicates,
        suppressed=totals.suppressed + len(rejected) - len(kept),
        rejected=len(kept),
        adjusted_timestamps=totals.adjusted_timestamps,
        merges=totals.merges,
        touched=totals.touched,
    )


def _without_suppressed(
    connection: Connection,
    rejected: Sequence[tuple[int, str]],
    calls: Sequence[IncomingCall],
    privacy_key: bytes,
) -> Sequence[tuple[int, str]]:
    """Rejected calls are kept as they came, but none that names a suppressed person anywhere."""
    if not rejected or (half := suppression.half_if_needed(connection)) is None:
        return rejected
    named = {position: set(suppression.mentioned(calls[position].body)) for position, _ in rejected}
    silence = suppression.among(connection, half, privacy_key, set().union(*named.values()))
    kept = [each for each in rejected if not named[each[0]] & silence.identifiers]
    suppression.count(connection, len(rejected) - len(kept))
    return kept


def store_calls(engine: Engine, calls: Sequence[IncomingCall], limits: Mapping[str, int]) -> list[tuple[int, str]]:
    """Resolve calls that are at hand, in one transaction; returns those that can't be stored: position and reason."""
    facts, refused = resolver.read_facts(calls, limits)
    return sorted([*refused, *_store(engine, facts, limits, ImportOptions()).refused])


# --- files --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows that were read and understood ahead, while Postgres was busy with the batch before."""

    rows: list[tuple[int, bytes]]  # number and text of each
    facts: list[Facts]
    refused: list[tuple[int, str]]  # position in the batch, and why


def import_files(
    engine: Engine,
    paths: Sequence[Path],
    source_id: int,
    limits: Mapping[str, int],
    options: ImportOptions | None = None,
    progress: Callable[[ImportReport], None] = lambda report: None,
    rejects_path: Callable[[Path], Path] = lambda path: path.with_name(path.name + ".rejects.jsonl"),
) -> ImportReport:
    """Store all rows of the files that can be stored, and queue the profiles that they touch.

    A row that can't be stored is counted, and written with its number and the reason to the file's rejects (made only
    then). Batches are committed one by one; an import that died is simply run again, as message ids count once.
    `progress` is called after each batch. Raises errors.UsageError where a file can't be read at all.
    """
    chosen = options or ImportOptions()
    began = time.monotonic()
    report = ImportReport()
    with engine.connect() as connection:
        received_at: datetime = connection.execute(_NOW).scalar_one()
    for path in paths:
        rejects = rejects_path(path)
        rejects.unlink(missing_ok=True)
        with ExitStack() as stack:
            sink: TextIO | None = None
            for batch in _read_ahead(path, source_id, received_at, limits, chosen):
                totals = _store(engine, batch.facts, limits, chosen)
                refused = sorted([*batch.refused, *totals.refused])
                if refused:
                    sink = sink or stack.enter_context(rejects.open("w", encoding="utf-8"))
                    sink.writelines(_reject_line(batch.rows[position], reason) for position, reason in refused)
                report = _add(report, batch, totals, len(refused), time.monotonic() - began)
                progress(report)
        with engine.begin() as connection:
            connection.execute(_COMMIT_NOW)
    return replace(report, seconds=time.monotonic() - began)


def _store(engine: Engine, facts: Sequence[Facts], limits: Mapping[str, int], options: ImportOptions) -> Totals:
    def store(connection: Connection) -> Totals:
        connection.execute(_COMMIT_LATER)
        locks.wait(connection, locks.LockClass.RESOLVER)
        totals = resolving.resolve(connection, facts, limits, options.routes, privacy_key=options.privacy_key)
        if totals.touched:
            channels.notify(connection, channels.TOUCHES)
        return totals

    return resolving.retried(engine, store)


def _read_ahead(
    path: Path, source_id: int, received_at: datetime, limits: Mapping[str, int], options: ImportOptions
) -> Iterator[_Batch]:
    """Read one batch ahead in a thread: parsing holds the interpreter while Postgres works, and no longer."""

    def understand(rows: Iterator[FileRow]) -> _Batch:
        batch = _Batch([], [], [])
        for position, row in enumerate(islice(rows, options.batch_size)):
            batch.rows.append((row.number, row.raw))
            if row.body is None:
                batch.refused.append((position, row.reason))
                continue
            call = IncomingCall(source_id=source_id, received_at=received_at, body=row.body, row=row.number)
            resolver.read_one(call, position, limits, batch.facts, batch.refused)
        return batch

    with closing(files.read(path, options.mapping)) as rows, ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(understand, rows)
        while (batch := ahead.result()).rows:
            ahead = reader.submit(understand, rows)
            yield batch


def _reject_line(row: tuple[int, bytes], reason: str) -> str:
    number, raw = row
    quoted = raw[:_MAX_QUOTED].decode("utf-8", "replace").strip()
    return json.dumps({"row": number, "reason": reason, "call": quoted}, ensure_ascii=False) + "\n"


def _add(report: ImportReport, batch: _Batch, totals: Totals, rejected: int, seconds: float) -> ImportReport:
    return ImportReport(
        read=report.read + len(batch.rows),
        stored=report.stored + totals.stored,
        duplicates=report.duplicates + totals.duplicates,
        suppressed=report.suppressed + totals.suppressed,
        rejected=report.rejected + rejected,
        adjusted_timestamps=report.adjusted_timestamps + totals.adjusted_timestamps,
        profiles=report.profiles + totals.created,
        seconds=seconds,
    )
