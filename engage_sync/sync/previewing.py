"""A query's answer without saving anything: size, sample, distribution."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Engine, text

from engage_sync import errors
from engage_sync.definitions import language
from engage_sync.definitions.language import tree
from engage_sync.evaluation.compiler import Scope
from engage_sync.evaluation.evaluator import evaluation
from engage_sync.snapshots import states
from engage_sync.sync.catalog import Catalog

_DISTINCT_VALUES = 20
_STAGE = "CREATE TEMPORARY TABLE engage_preview ON COMMIT DROP AS {}"
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
_FREQUENT = text(
    "SELECT value, count(*) AS profiles FROM engage_preview GROUP BY value ORDER BY count(*) DESC, value LIMIT :limit"
)
_QUANTILES = text(
    """
    SELECT quantile, (percentile_disc(quantile) WITHIN GROUP (ORDER BY value::numeric))::float8 AS value
    FROM engage_preview, unnest(ARRAY[0, 0.1, 0.25, 0.5, 0.75, 0.9, 1]::float8[]) AS quantile
    WHERE jsonb_typeof(engage_preview.value) = 'number'
    GROUP BY quantile ORDER BY quantile
    """
)


def preview(
    engine: Engine, query: str, *, as_of: datetime | None, sample: int, include_anonymous: bool
) -> dict[str, Any]:
    """Evaluate a query as of an instant (None: now). Raises errors.QueryInvalid."""
    definition, kind = _parse(query)
    with engine.begin() as connection:
        instant = as_of or states.instant(connection, None)
        catalog = Catalog.load(connection)
        compiled = evaluation(definition, include_anonymous=include_anonymous, scope=Scope.ALL, catalog=catalog.ids)
        connection.exec_driver_sql(_STAGE.replace("{}", compiled.sql), compiled.arguments(instant))
        people = [dict(row._mapping) for row in connection.execute(_SAMPLE, {"limit": sample})]
        found: dict[str, Any] = {
            "kind": kind,
            "as_of": instant,
            "total": connection.execute(_COUNT).scalar_one(),
            "profiles": connection.execute(_PEOPLE, {"anonymous": include_anonymous}).scalar_one(),
            "sample": people,
        }
        if kind == "audience":
            for person in people:
                del person["value"]
        else:
            frequent = connection.execute(_FREQUENT, {"limit": _DISTINCT_VALUES})
            found["distribution"] = [dict(row._mapping) for row in frequent]
            found["quantiles"] = [dict(row._mapping) for row in connection.execute(_QUANTILES)]
        return found


def _parse(query: str) -> tuple[language.Definition, str]:
    """An audience where it reads as one; a computed trait where it is a bare value."""
    try:
        return language.parse(query, kind="audience"), "audience"
    except errors.QueryInvalid:
        try:
            definition = language.parse(query, kind="computed_trait")
        except errors.QueryInvalid:
            definition = None
        if isinstance(definition, tree.Aggregate | tree.TraitRef):
            return definition, "computed_trait"
        raise
