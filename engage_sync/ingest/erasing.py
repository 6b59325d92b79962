"""Calls of people who are being forgotten, where nobody has resolved them: in the inbox, and among the rejects.

Writes `inbox` and `rejects`. Whose a call is, the caller decides; here those are found that may be theirs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import orjson
from sqlalchemy import Connection, TextClause, text

from engage_sync.ingest import accept

_SHORTEST_NAME = 4
# `%` and `_` in an identifier are no wildcards; and JSON writes quotes and backslashes in its own way.
_FIND = {
    table: text(
        f"SELECT id, call::text AS call FROM {table} WHERE lower(call::text) LIKE ANY(CAST(:patterns AS text[]))"  # noqa: S608 - constants of this module
    )
    for table in ("inbox", "rejects")
}
_DELETE = {
    table: text(f"DELETE FROM {table} WHERE id = ANY(CAST(:ids AS bigint[])) RETURNING id")  # noqa: S608 - constants of this module
    for table in ("inbox", "rejects")
}


def patterns(values: Collection[str]) -> list[str]:
    """What finds these values in JSON text that was brought to lower case."""
    return [f"%{_escaped(value)}%" for value in sorted(set(values))]


def calls(
    connection: Connection, table: str, values: Collection[str], whose: Callable[[Any], int | None]
) -> Counter[int]:
    """Delete the calls of `inbox` or `rejects` that hold one of the values and are somebody's; how many of whom.

    The resolver drops those of the inbox as well: whoever is first.
    """
    if not values:
        return Counter()
    found = connection.execute(_FIND[table], {"patterns": patterns(values)}).all()
    owners = {row.id: owner for row in found if (owner := whose(accept.parse(row.call.encode()))) is not None}
    if not owners:
        return Counter()
    gone = connection.execute(_DELETE[table], {"ids": list(owners)}).scalars()
    return Counter(owners[id_] for id_ in gone)


def rub_out(connection: Connection, find: TextClause, replace: TextClause, values: Collection[str]) -> None:
    """Put `[removed]` for the values in texts that stay, such as what a destination complained of.

    `find` gives id and text of those that match :patterns, `replace` writes :content at :id. Very short values stay:
    they stand for anything.
    """
    wanted = sorted({value for value in values if len(value) >= _SHORTEST_NAME}, key=len, reverse=True)
    if not wanted:
        return
    theirs = re.compile("|".join(map(re.escape, wanted)), re.IGNORECASE)
    for id_, content in connection.execute(find, {"patterns": patterns(wanted)}).all():
        connection.execute(replace, {"id": id_, "content": theirs.sub("[removed]", content)})


def _escaped(value: str) -> str:
    written = orjson.dumps(value).decode()[1:-1].lower()
    return written.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
