"""The record of every computation. Writes `runs`; real time keeps one row a definition and minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, text

from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query, Rows
from engage_sync.snapshots.differences import Tally


class Cause(StrEnum):
    FIRST = "first"
    TICK = "tick"
    REALTIME = "realtime"
    MANUAL = "manual"
    RESYNC = "resync"


class RunScope(StrEnum):
    ALL = "all"
    DIRTY = "dirty"
    TOUCHED = "touched"


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """What a run did so far, or in real time what one turn added."""

    evaluated: int = 0
    tally: Tally = field(default_factory=Tally)
    messages: int = 0


_START = text(
    """
    INSERT INTO runs (definition_id, version, cause, scope) VALUES (:definition, :version, :cause, :scope) RETURNING id
    """
)
_FINISH = text(
    """
    UPDATE runs
    SET status = :status, as_of = :as_of, finished_at = clock_timestamp(), evaluated = :evaluated, entered = :entered,
        exited = :exited, changed = :changed, messages = :messages, error = :error,
        duration_ms = extract(epoch FROM clock_timestamp() - started_at) * 1000
    WHERE id = :run
    """
)
_START_EACH = text(
    """
    INSERT INTO runs (definition_id, version, cause, scope, status)
    SELECT definition_id, version, :cause, :scope, 'done'
    FROM unnest(CAST(:definitions AS integer[]), CAST(:versions AS integer[])) AS d (definition_id, version)
    RETURNING definition_id, id
    """
)
_HOLD = text(
    """
    UPDATE runs
    SET status = 'held', as_of = :as_of, finished_at = clock_timestamp(), evaluated = :evaluated, entered = :entered,
        exited = :exited, changed = :changed, messages = :messages, note = :note, duration_ms = :duration
    WHERE id = :run
    """
)
_CLOSE_HELD = text("UPDATE runs SET status = :status, note = :note WHERE id = :run AND status = :before")
_DROP = text("DELETE FROM runs WHERE id = ANY(CAST(:runs AS bigint[])) AND as_of IS NULL")
# One row a minute for each definition, whoever of many turns comes first.
_MINUTE = text(
    """
    INSERT INTO runs (definition_id, version, cause, scope, status, minute)
    SELECT definition_id, version, 'realtime', 'touched', 'done', date_trunc('minute', clock_timestamp())
    FROM unnest(CAST(:definitions AS integer[]), CAST(:versions AS integer[])) AS d (definition_id, version)
    ORDER BY definition_id
    ON CONFLICT (definition_id, minute) DO UPDATE SET version = excluded.version
    RETURNING definition_id, id
    """
)
_ADD = text(
    """
    UPDATE runs
    SET evaluated = runs.evaluated + turn.evaluated, entered = runs.entered + turn.entered,
        exited = runs.exited + turn.exited, changed = runs.changed + turn.changed,
        messages = runs.messages + turn.messages, as_of = :as_of, finished_at = clock_timestamp(),
        duration_ms = runs.duration_ms + turn.duration_ms
    FROM unnest(CAST(:runs AS bigint[]), CAST(:evaluated AS bigint[]), CAST(:entered AS bigint[]),
                CAST(:exited AS bigint[]), CAST(:changed AS bigint[]), CAST(:messages AS bigint[]),
                CAST(:durations AS float8[]))
      AS turn (id, evaluated, entered, exited, changed, messages, duration_ms)
    WHERE runs.id = turn.id
    """
)


def start(connection: Connection, definition: int, version: int, cause: Cause, scope: RunScope) -> int:
    """Open a run; returns its id."""
    given = {"definition": definition, "version": version, "cause": str(cause), "scope": str(scope)}
    return int(connection.execute(_START, given).scalar_one())


def start_each(
    connection: Connection, definitions: Sequence[tuple[int, int]], cause: Cause, scope: RunScope
) -> dict[int, int]:
    """Open a run for each (definition, version) of a round, to be closed by `adding`; run ids by definition."""
    given = {"cause": str(cause), "scope": str(scope)}
    columns = {"definitions": [each[0] for each in definitions], "versions": [each[1] for each in definitions]}
    return pipeline.ask(connection, Query(_START_EACH, {**given, **columns}, _ids))


def finish(
    connection: Connection, run: int, progress: Progress, *, as_of: datetime | None, error: str | None = None
) -> None:
    """Close a run with what it did, or with what ended it."""
    connection.execute(
        _FINISH,
        {
            "run": run,
            "status": "failed" if error else "done",
            "as_of": as_of,
            "evaluated": progress.evaluated,
            "entered": progress.tally.entered,
            "exited": progress.tally.exited,
            "changed": progress.tally.changed,
            "messages": progress.messages,
            "error": error,
        },
    )


def hold(
    connection: Connection, run: int, progress: Progress, *, as_of: datetime, note: str, milliseconds: float
) -> None:
    """What a run would do, and why it doesn't; counting that took so long."""
    given = {
        "run": run,
        "as_of": as_of,
        "note": note,
        "duration": milliseconds,
        "evaluated": progress.evaluated,
        "entered": progress.tally.entered,
        "exited": progress.tally.exited,
        "changed": progress.tally.changed,
        "messages": progress.messages,
    }
    connection.execute(_HOLD, given)


def close_held(connection: Connection, run: int, status: str, note: str, *, before: str = "held") -> None:
    """What became of a held run: approved, discarded (also after it was approved), or lapsed."""
    connection.execute(_CLOSE_HELD, {"run": run, "status": status, "note": note, "before": before})


def dropping(runs: Sequence[int]) -> Query[None]:
    """Removes those of these runs that did nothing: their round left them to runs of their own."""
    return Query(_DROP, {"runs": list(runs)}, pipeline.nothing)


def opening_minutes(definitions: Sequence[tuple[int, int]]) -> Query[dict[int, int]]:
    """Opens the real-time runs of this minute for (definition, version) pairs; says run ids by definition."""
    given = {
        "definitions": [definition for definition, _ in definitions],
        "versions": [version for _, version in definitions],
    }
    return Query(_MINUTE, given, _ids)


def adding(turns: dict[int, tuple[Progress, float]], as_of: datetime) -> Query[None]:
    """Adds to runs what a round did: (progress, milliseconds) by run id."""
    progresses = [progress for progress, _ in turns.values()]
    given = {
        "as_of": as_of,
        "runs": list(turns),
        "evaluated": [progress.evaluated for progress in progresses],
        "entered": [progress.tally.entered for progress in progresses],
        "exited": [progress.tally.exited for progress in progresses],
        "changed": [progress.tally.changed for progress in progresses],
        "messages": [progress.messages for progress in progresses],
        "durations": [duration for _, duration in turns.values()],
    }
    return Query(_ADD, given, pipeline.nothing)


def _ids(rows: Rows) -> dict[int, int]:
    return {row[0]: row[1] for row in rows}
