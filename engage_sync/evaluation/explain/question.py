"""What is asked: of whom, when, by which definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection

from engage_sync.definitions import language
from engage_sync.definitions.language import tree
from engage_sync.evaluation import evaluator
from engage_sync.evaluation.compiler import Evaluation, Scope, compile_as_if

# The live snapshots, but for what has moved.
_MOVED_ALONG = """
SELECT profile_id, definition_id, value FROM snapshots
WHERE NOT EXISTS (
  SELECT FROM unnest(CAST(%(moved_people)s AS bigint[]), CAST(%(moved_definitions)s AS integer[]))
    AS moved (profile_id, definition_id)
  WHERE moved.profile_id = snapshots.profile_id AND moved.definition_id = snapshots.definition_id
)
UNION ALL
SELECT profile_id, definition_id, CAST(value AS jsonb)
FROM unnest(CAST(%(moved_people)s AS bigint[]), CAST(%(moved_definitions)s AS integer[]),
            CAST(%(moved_values)s AS text[])) AS moved (profile_id, definition_id, value)
WHERE value IS NOT NULL
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A definition, asked of `people`; or with `accounts` of those, whose users `people` are. All ids are internal.

    `as_of` is aware, `catalog` maps all definitions' keys to ids. `since`: events before this instant don't count.
    `events`: of each list of events at most so many. `first`: who is shown before others. `as_if`: what other
    definitions are taken to say, by ids of profile and definition, instead of their snapshots (None: no value).
    """

    definition: language.Definition
    include_anonymous: bool
    since: datetime | None
    catalog: Mapping[str, int]
    people: tuple[int, ...]
    as_of: datetime
    accounts: tuple[int, ...] | None = None
    events: int = 10
    first: int | None = None
    as_if: Mapping[tuple[int, int], Any] = field(default_factory=dict)

    @property
    def subjects(self) -> tuple[int, ...]:
        """The ids of those of whom it is asked."""
        return self.people if self.accounts is None else self.accounts

    def evaluation(self, node: Any, *, include_anonymous: bool = True) -> Evaluation:
        """The compiled evaluation of the definition or a part of it: rows (id of a subject, value).

        Of accounts, who counts among their users is the definition's own choice.
        """
        of_accounts = self.accounts is not None
        compiled = evaluator.evaluation(
            tree.OfAccounts(of=node) if of_accounts else node,
            include_anonymous=self.include_anonymous if of_accounts else include_anonymous,
            scope=Scope.ACCOUNTS if of_accounts else Scope.PROFILES,
            catalog=self.catalog,
            since=self.since,
        )
        return self.imagined(compiled)

    def imagined(self, compiled: Evaluation) -> Evaluation:
        """Anything compiled, as if other definitions said what is asked for."""
        return compile_as_if(compiled, self._supposed()) if self.as_if else compiled

    def arguments(self, compiled: Evaluation) -> dict[str, Any]:
        """The parameters of anything compiled."""
        return compiled.arguments(self.as_of, self.people, accounts=self.accounts)

    def values(self, connection: Connection, node: Any, *, include_anonymous: bool = True) -> dict[int, Any]:
        """What a part of the definition says of each subject of whom it says something."""
        compiled = self.evaluation(node, include_anonymous=include_anonymous)
        rows = connection.exec_driver_sql(compiled.sql, self.arguments(compiled))
        return {row[0]: row[1] for row in rows}

    def said(self, connection: Connection) -> dict[int, Any]:
        """What the definition says of each subject."""
        return self.values(connection, self.definition, include_anonymous=self.include_anonymous)

    def of_their_accounts(self, connection: Connection) -> Question:
        """A question about people, by a definition of accounts, as one about those people's accounts."""
        assert isinstance(self.definition, tree.OfAccounts)
        users = users_of(connection, self.people, include_anonymous=self.include_anonymous)
        everyone = {profile for profiles in users.values() for profile in profiles}
        return replace(
            self, definition=self.definition.of, accounts=tuple(sorted(users)), people=tuple(sorted(everyone))
        )

    def _supposed(self) -> Evaluation:
        """What all definitions are taken to say of everybody."""
        values = [None if value is None else orjson.dumps(value).decode() for value in self.as_if.values()]
        moved = {
            "moved_people": [profile for profile, _ in self.as_if],
            "moved_definitions": [definition for _, definition in self.as_if],
            "moved_values": values,
        }
        return Evaluation(sql=_MOVED_ALONG, parameters=moved)


def users_of(connection: Connection, people: Sequence[int], *, include_anonymous: bool) -> dict[int, list[int]]:
    """The users of each account of some people, by the account."""
    compiled = evaluator.users(include_anonymous=include_anonymous)
    given = {**compiled.parameters, "profiles": list(people)}
    found: dict[int, list[int]] = {}
    for account, profile in connection.exec_driver_sql(compiled.sql, given):
        found.setdefault(account, []).append(profile)
    return found
