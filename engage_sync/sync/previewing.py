"""A query's answer without saving anything: size, sample, what each condition leaves over, distribution.

It is evaluated into a table of the session, in a transaction in which Postgres refuses to write anything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from engage_sync import errors
from engage_sync.definitions import language, versions
from engage_sync.definitions.language import tree
from engage_sync.definitions.model import DefinitionSpec
from engage_sync.evaluation import evaluator
from engage_sync.evaluation.compiler import Evaluation, Scope
from engage_sync.snapshots import states
from engage_sync.sync import patience, waterfall
from engage_sync.sync.catalog import Catalog, Context
from engage_sync.sync.distribution import distribution
from engage_sync.sync.waterfall import Waterfall

_CREATE = (
    "DROP TABLE IF EXISTS pg_temp.engage_preview",
    "CREATE TEMPORARY TABLE engage_preview (profile_id bigint, value jsonb) ON COMMIT DELETE ROWS",
    *waterfall.CREATE,
)
_STAGE = "INSERT INTO engage_preview SELECT profile_id, value FROM ({}) AS evaluated"
_COUNT = text("SELECT count(*) FROM engage_preview")
_PEOPLE = text("SELECT count(*) FROM profiles WHERE is_known OR :anonymous")
_SAMPLE = text(
    """
    SELECT profiles.public_id AS profile_id, preview.value,
           (SELECT value FROM identities WHERE identities.profile_id = preview.profile_id AND type = 'user_id'
            ORDER BY id LIMIT 1) AS user_id,
           ARRAY(SELECT value FROM identities WHERE identities.profile_id = preview.profile_id AND type = 'email'
                 ORDER BY id) AS emails
    FROM (SELECT profile_id, value FROM engage_preview ORDER BY profile_id LIMIT :limit) AS preview
    JOIN profiles ON profiles.id = preview.profile_id
    ORDER BY preview.profile_id
    """
)
_KEY = re.compile(r"[a-z0-9_]+")

Watcher = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """What is to be evaluated. `since`: events before this instant don't count."""

    definition: language.Definition
    kind: str
    include_anonymous: bool
    since: datetime | None = None


def preview(
    engine: Engine,
    context: Context,
    query: str,
    *,
    specs: Sequence[DefinitionSpec] = (),
    as_of: datetime | None,
    sample: int,
    include_anonymous: bool,
    of_accounts: bool = False,
    watch: Watcher | None = None,
) -> dict[str, Any]:
    """Evaluate a query (`of_accounts`: asked of accounts), or a definition by its key, as of an instant (None: now).

    A key is looked up in the workspace's `specs`, then among what was applied; `include_anonymous` is then its own, or
    what is asked for here. Raises errors.QueryInvalid, errors.NotFound, errors.ComputationFailed for a timeout.
    """
    with engine.connect() as connection:
        with connection.begin():
            asked = _asked(connection, query, specs, include_anonymous, of_accounts)
            catalog = Catalog.load(connection)
            instant = as_of or states.instant(connection, None)
            for statement in _CREATE:
                connection.exec_driver_sql(statement)
        with patience.reading(connection, context.patience):
            return _Preview(connection=connection, asked=asked, catalog=catalog, as_of=instant, watch=watch).run(sample)


@dataclass(kw_only=True)
class _Preview:
    connection: Connection
    asked: _Asked
    catalog: Catalog
    as_of: datetime
    watch: Watcher | None
    _done: int = 0

    def run(self, sample: int) -> dict[str, Any]:
        self._show()
        compiled = self._evaluation(self.asked.definition)
        self.connection.exec_driver_sql(_STAGE.replace("{}", compiled.sql), self._arguments(compiled))
        self._step()
        total = self.connection.execute(_COUNT).scalar_one()
        profiles = self.connection.execute(_PEOPLE, {"anonymous": self.asked.include_anonymous}).scalar_one()
        people = [dict(row._mapping) for row in self.connection.execute(_SAMPLE, {"limit": sample})]
        found: dict[str, Any] = {
            "kind": self.asked.kind,
            "as_of": self.as_of,
            "total": total,
            "profiles": profiles,
            "sample": people,
        }
        if self.asked.kind != "audience":
            return {**found, "without_value": profiles - total, **distribution(self.connection)}
        for person in people:
            del person["value"]
        steps = Waterfall(
            connection=self.connection, evaluate=self._evaluation, arguments=self._arguments, done=self._step
        )
        return {**found, "waterfall": steps.of(self.asked.definition)}

    def _evaluation(self, node: tree.Node) -> Evaluation:
        return evaluator.evaluation(
            node,
            include_anonymous=self.asked.include_anonymous,
            scope=Scope.ALL,
            catalog=self.catalog.ids,
            since=self.asked.since,
        )

    def _arguments(self, evaluation: Evaluation) -> dict[str, Any]:
        return evaluation.arguments(self.as_of)

    def _step(self) -> None:
        self._done += 1
        self._show()

    def _show(self) -> None:
        if self.watch:
            self.watch("evaluating", self._done, 1 + waterfall.passes(self.asked.definition))


def _asked(
    connection: Connection, query: str, specs: Sequence[DefinitionSpec], include_anonymous: bool, of_accounts: bool
) -> _Asked:
    if not _KEY.fullmatch(query.strip()):
        definition, kind = _parse(query, of_accounts)
        return _Asked(definition=definition, kind=kind, include_anonymous=include_anonymous)
    # A bare word is no query in any case.
    key = query.strip()
    applied = {each.key: each for each in versions.load(connection, include_disabled=True)}
    spec = next((spec for spec in specs if spec.key == key), applied[key].spec if key in applied else None)
    if spec is None:
        sentence = versions.unknown_key(key, {*applied, *(spec.key for spec in specs)})
        raise errors.NotFound(f"{sentence} A query begins with a function, such as event('{key}') or trait('{key}').")
    return _Asked(
        definition=spec.tree,
        kind=spec.kind,
        include_anonymous=include_anonymous or spec.include_anonymous,
        since=applied[key].since if key in applied else None,
    )


def _parse(query: str, of_accounts: bool) -> tuple[language.Definition, str]:
    """An audience where it reads as one; a computed trait where it is a bare value."""
    try:
        return language.parse(query, kind="audience", of_accounts=of_accounts), "audience"
    except errors.QueryInvalid:
        try:
            definition = language.parse(query, kind="computed_trait", of_accounts=of_accounts)
        except errors.QueryInvalid:
            definition = None
        asked = definition.of if isinstance(definition, tree.OfAccounts) else definition
        if definition is not None and isinstance(asked, tree.Aggregate | tree.TraitRef):
            return definition, "computed_trait"
        raise
