"""What a destination took, or never will: the end of a message, as the next difference must see it.

Writes `told`, in the transaction that takes the message out of the outbox.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query


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


# In the order of identities, as every other writer takes them; whoever holds one is not waited for.
_HELD = text(
    """
    WITH key AS MATERIALIZED (
      SELECT * FROM unnest(CAST(:identity_values AS text[]), CAST(:identity_types AS text[]),
                           CAST(:destinations AS smallint[]), CAST(:definitions AS integer[]),
                           CAST(:call_types AS text[])) WITH ORDINALITY
        AS key (identity_value, identity_type, destination_id, definition_id, call_type, place)
    ), locked AS MATERIALIZED (
      SELECT key.place
      FROM key JOIN told USING (identity_value, identity_type, destination_id, definition_id, call_type)
      ORDER BY told.identity_value, told.identity_type, told.destination_id, told.definition_id, told.call_type
      FOR UPDATE OF told SKIP LOCKED
    )
    SELECT told.identity_value, told.identity_type, told.destination_id, told.definition_id, told.call_type
    FROM key JOIN told USING (identity_value, identity_type, destination_id, definition_id, call_type)
    WHERE key.place NOT IN (SELECT place FROM locked)
    """
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


def locking(keys: Collection[ToldKey]) -> Query[set[ToldKey]]:
    """Locks the rows until the transaction ends; says which of them somebody else holds just now."""
    return Query(_HELD, _columns(keys), lambda rows: {ToldKey(*row) for row in rows})


def confirming(taken: str) -> str:
    """SQL, to be one of a statement's common table expressions: the destination took these, they wait no more.

    `taken` names a relation with the columns of `messages`, of definitions' messages only. Of several about one thing
    the newest counts. What was enqueued since stays enqueued: it has a higher version, and a message of its own.
    """
    return f"""
      UPDATE told
      SET confirmed = ended.value, confirmed_version = ended.told_version, is_unknown = false,
          enqueued = CASE WHEN told.version > ended.told_version THEN told.enqueued END
      FROM (
        SELECT DISTINCT ON (identity_value, identity_type, destination_id, definition_id, call_type)
               identity_value, identity_type, destination_id, definition_id, call_type, told_version, value
        FROM {taken}
        ORDER BY identity_value, identity_type, destination_id, definition_id, call_type, told_version DESC
      ) AS ended
      WHERE told.identity_value = ended.identity_value AND told.identity_type = ended.identity_type
        AND told.destination_id = ended.destination_id AND told.definition_id = ended.definition_id
        AND told.call_type = ended.call_type AND told.confirmed_version < ended.told_version
    """  # noqa: S608 - a name of the caller's statement


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
