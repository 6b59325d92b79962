"""What a destination took, or never will: the end of a message, as the next difference must see it.

Writes `told`, in the transaction that takes the message out of the outbox.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from engage_sync.database import pipeline


class ToldKey(NamedTuple):
    """What a row of `told` is found by."""

    identity_value: str
    identity_type: str
    destination_id: int
    definition_id: int
    call_type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """A message that waits no more. `value` is JSON text; `is_unknown`: it may have arrived, for all that we know."""

    key: ToldKey
    told_version: int
    value: str
    is_unknown: bool = False


_KEYS = """
    unnest(CAST(:identity_values AS text[]), CAST(:identity_types AS text[]), CAST(:destinations AS smallint[]),
           CAST(:definitions AS integer[]), CAST(:call_types AS text[]))
      AS key (identity_value, identity_type, destination_id, definition_id, call_type)
"""
# In the order of identities, as every other writer takes them; whoever holds one is not waited for.
_LOCK = text(
    "SELECT told.identity_value, told.identity_type, told.destination_id, told.definition_id, told.call_type FROM"
    + _KEYS
    + """
    JOIN told USING (identity_value, identity_type, destination_id, definition_id, call_type)
    ORDER BY told.identity_value, told.identity_type, told.destination_id, told.definition_id, told.call_type
    FOR UPDATE OF told SKIP LOCKED
    """
)
_EXISTING = text(
    "SELECT told.identity_value, told.identity_type, told.destination_id, told.definition_id, told.call_type FROM"
    + _KEYS
    + "JOIN told USING (identity_value, identity_type, destination_id, definition_id, call_type)"
)
_ENDED = """
    unnest(CAST(:identity_values AS text[]), CAST(:identity_types AS text[]), CAST(:destinations AS smallint[]),
           CAST(:definitions AS integer[]), CAST(:call_types AS text[]), CAST(:versions AS integer[]),
           CAST(:contents AS jsonb[]), CAST(:unknown AS boolean[]))
      AS ended (identity_value, identity_type, destination_id, definition_id, call_type, version, value, is_unknown)
    WHERE told.identity_value = ended.identity_value AND told.identity_type = ended.identity_type
      AND told.destination_id = ended.destination_id AND told.definition_id = ended.definition_id
      AND told.call_type = ended.call_type
"""
# What was enqueued since stays enqueued: it has a higher version, and a message of its own.
_CONFIRM = text(
    """
    UPDATE told
    SET confirmed = ended.value, confirmed_version = ended.version, is_unknown = false,
        enqueued = CASE WHEN told.version > ended.version THEN told.enqueued END
    FROM
    """  # noqa: S608 - constants of this module
    + _ENDED
    + "AND told.confirmed_version < ended.version"
)
# What may have arrived is unknown whatever was enqueued since: that may be refused, or taken back.
_WITHDRAW = text(
    """
    UPDATE told
    SET enqueued = CASE WHEN told.version > ended.version THEN told.enqueued END,
        is_unknown = told.is_unknown OR ended.is_unknown
    FROM
    """  # noqa: S608 - constants of this module
    + _ENDED
    + "AND (told.version = ended.version OR (ended.is_unknown AND told.confirmed_version < ended.version))"
)
_RESTORE = text(
    "UPDATE told SET enqueued = ended.value FROM"  # noqa: S608 - constants of this module
    + _ENDED
    + "AND told.version = ended.version AND told.confirmed_version < ended.version"
)


def lock(connection: Connection, keys: Collection[ToldKey]) -> set[ToldKey]:
    """Lock the rows until the transaction ends; return the keys of those that somebody else holds just now."""
    wanted = set(keys)
    if not wanted:
        return set()
    locked = {ToldKey(*row) for row in pipeline.rows(connection, _LOCK, _columns(wanted))}
    missing = wanted - locked
    if not missing:
        return set()
    return {ToldKey(*row) for row in pipeline.rows(connection, _EXISTING, _columns(missing))}


def confirm(connection: Connection, ended: Sequence[Ended]) -> None:
    """The destination took these: they are what it was told last, and wait no more."""
    newest = _newest(ended)
    if newest:
        pipeline.rows(connection, _CONFIRM, _ended_columns(newest))


def withdraw(connection: Connection, ended: Sequence[Ended]) -> None:
    """These will not be sent: what was confirmed before them is what the destination knows."""
    newest = _newest(ended)
    if newest:
        pipeline.rows(connection, _WITHDRAW, _ended_columns(newest))


def restore(connection: Connection, ended: Sequence[Ended]) -> None:
    """These wait again, unless something newer was said since."""
    newest = _newest(ended)
    if newest:
        pipeline.rows(connection, _RESTORE, _ended_columns(newest))


def _newest(ended: Sequence[Ended]) -> list[Ended]:
    """One a key: an UPDATE with two rows for one would take either."""
    found: dict[ToldKey, Ended] = {}
    for each in ended:
        known = found.get(each.key)
        if known is None or known.told_version < each.told_version:
            found[each.key] = each
    return list(found.values())


def _columns(keys: Collection[ToldKey]) -> dict[str, Any]:
    listed = sorted(keys)
    return {
        "identity_values": [key.identity_value for key in listed],
        "identity_types": [key.identity_type for key in listed],
        "destinations": [key.destination_id for key in listed],
        "definitions": [key.definition_id for key in listed],
        "call_types": [key.call_type for key in listed],
    }


def _ended_columns(ended: Sequence[Ended]) -> dict[str, Any]:
    ordered = sorted(ended, key=lambda each: each.key)
    return {
        **_columns([each.key for each in ordered]),
        "versions": [each.told_version for each in ordered],
        "contents": [each.value for each in ordered],
        "unknown": [each.is_unknown for each in ordered],
    }
