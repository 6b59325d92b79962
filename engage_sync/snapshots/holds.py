"""Definitions whose next change waits for somebody. Writes `holds`, under the definition's lock.

A hold lasts until a computation finds that nothing speaks against it any more, or until it is approved and written.
What would be written, its run in `runs` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, text

from engage_sync.snapshots.differences import Tally
from engage_sync.snapshots.guards import Allowance


class HoldStatus(StrEnum):
    """A discarded one waits for the next tick; an approved one is being written, or will be."""

    HELD = "held"
    APPROVED = "approved"
    DISCARDED = "discarded"


class HoldReason(StrEnum):
    """It would change too much, follows a silent input, or more than was approved."""

    CHANGE = "change"
    SILENCE = "silence"
    GROWN = "grown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """`looked_at`: as of when its run was last counted, or when it was discarded; `is_live`: that was the database's
    clock. `source_id`: the input that is silent, where `usual` calls were usual; `event`: of it, only this one is.
    """

    version: int
    run_id: int
    status: HoldStatus
    reason: HoldReason
    is_live: bool
    looked_at: datetime
    held_at: datetime
    source_id: int | None
    usual: int | None
    approved_at: datetime | None
    allowance: Allowance | None
    event: str | None = None


COLUMNS = (
    "holds.version AS held_version, run_id, status, reason, is_live, looked_at, held_at, source_id, usual, approved_at,"
    " allowed, allowed_entered, allowed_exited, allowed_changed, event"
)
"""What `read` takes, in its order."""

_HOLD = text(
    """
    INSERT INTO holds (definition_id, version, run_id, status, reason, is_live, looked_at, source_id, event, usual)
    VALUES (:definition, :version, :run, 'held', :reason, :live, :looked_at, :source, :event, :usual)
    ON CONFLICT (definition_id) DO UPDATE
    SET version = excluded.version, run_id = excluded.run_id, status = 'held', reason = excluded.reason,
        is_live = excluded.is_live, looked_at = excluded.looked_at, source_id = excluded.source_id,
        event = excluded.event, usual = excluded.usual, approved_at = NULL, allowed = NULL, allowed_entered = NULL,
        allowed_exited = NULL, allowed_changed = NULL,
        held_at = CASE WHEN holds.run_id = excluded.run_id THEN holds.held_at ELSE clock_timestamp() END
    """
)
_APPROVE = text(
    """
    UPDATE holds
    SET status = 'approved', approved_at = clock_timestamp(), allowed = :total, allowed_entered = :entered,
        allowed_exited = :exited, allowed_changed = :changed
    WHERE definition_id = :definition
    """
)
_SPEND = text(
    """
    UPDATE holds
    SET allowed = allowed - :total, allowed_entered = allowed_entered - :entered,
        allowed_exited = allowed_exited - :exited, allowed_changed = allowed_changed - :changed
    WHERE definition_id = :definition AND status = 'approved'
    """
)
_DISCARD = text(
    """
    UPDATE holds
    SET status = 'discarded', looked_at = greatest(looked_at, clock_timestamp()), approved_at = NULL, allowed = NULL,
        allowed_entered = NULL, allowed_exited = NULL, allowed_changed = NULL
    WHERE definition_id = :definition
    """
)
_END = text("DELETE FROM holds WHERE definition_id = :definition")


def read(columns: Any) -> Hold | None:
    """A hold from the columns of COLUMNS; None where there is none."""
    version, run, status, reason, *rest = columns
    if run is None:
        return None
    is_live, looked_at, held_at, source_id, usual, approved_at, total, entered, exited, changed, event = rest
    return Hold(
        version=version,
        run_id=run,
        status=HoldStatus(status),
        reason=HoldReason(reason),
        is_live=is_live,
        looked_at=looked_at,
        held_at=held_at,
        source_id=source_id,
        usual=usual,
        approved_at=approved_at,
        allowance=None if total is None else Allowance(total, entered, exited, changed),
        event=event,
    )


def hold(
    connection: Connection,
    definition: int,
    *,
    version: int,
    run: int,
    reason: HoldReason,
    live: bool,
    looked_at: datetime,
    source: int | None = None,
    event: str | None = None,
    usual: int | None = None,
) -> None:
    """Hold a definition, or go on holding it for what was counted anew."""
    given = {"version": version, "run": run, "reason": str(reason), "live": live, "looked_at": looked_at}
    connection.execute(_HOLD, {**given, "definition": definition, "source": source, "event": event, "usual": usual})


def approve(connection: Connection, definition: int, allowance: Allowance) -> None:
    """Let a held definition's next run go up to these counts."""
    given = {name: getattr(allowance, name) for name in ("total", "entered", "exited", "changed")}
    connection.execute(_APPROVE, {**given, "definition": definition})


def spend(connection: Connection, definition: int, tally: Tally) -> None:
    """So much of what was approved is written now; if the run dies, the next one may do the rest."""
    given = {"total": tally.total, "entered": tally.entered, "exited": tally.exited, "changed": tally.changed}
    connection.execute(_SPEND, {**given, "definition": definition})


def discard(connection: Connection, definition: int) -> None:
    """Let a held definition wait for its next tick, which computes anew."""
    connection.execute(_DISCARD, {"definition": definition})


def end(connection: Connection, definition: int) -> None:
    """Nothing holds the definition any more."""
    connection.execute(_END, {"definition": definition})
