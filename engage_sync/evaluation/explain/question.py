"""What is asked: of whom, when, by which definition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from engage_sync.definitions import language
from engage_sync.evaluation import evaluator
from engage_sync.evaluation.compiler import Evaluation, Scope, compile_as_if

_MOVED_ALONG = """
SELECT profile_id, definition_id, value FROM snapshots
WHERE profile_id = %(as_if_profile)s AND definition_id <> ALL(CAST(%(as_if_changed)s AS integer[]))
UNION ALL
SELECT %(as_if_profile)s, definition_id, value
FROM unnest(CAST(%(as_if_ids)s AS integer[]), CAST(CAST(%(as_if_values)s AS text[]) AS jsonb[]))
  AS moved (definition_id, value)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """`profile` is the internal id, `as_of` aware, `catalog` maps all definitions' keys to ids.

    `since`: events before this instant don't count. `events`: of each list of events at most so many. `as_if`: what
    other definitions are taken to say, by their ids, instead of their snapshots (None: no value).
    """

    definition: language.Definition
    include_anonymous: bool
    since: datetime | None
    catalog: Mapping[str, int]
    profile: int
    as_of: datetime
    events: int = 10
    as_if: Mapping[int, Any] = field(default_factory=dict)

    def evaluation(self, node: Any, *, include_anonymous: bool = True) -> Evaluation:
        """The compiled evaluation of the definition or a part of it, for this person."""
        compiled = evaluator.evaluation(
            node,
            include_anonymous=include_anonymous,
            scope=Scope.PROFILES,
            catalog=self.catalog,
            since=self.since,
        )
        return self.imagined(compiled)

    def imagined(self, compiled: Evaluation) -> Evaluation:
        """Anything compiled, as if other definitions said what is asked for."""
        return compile_as_if(compiled, self._supposed()) if self.as_if else compiled

    def _supposed(self) -> Evaluation:
        """What all definitions are taken to say of this person."""
        values = {definition: value for definition, value in self.as_if.items() if value is not None}
        return Evaluation(
            sql=_MOVED_ALONG,
            parameters={
                "as_if_profile": self.profile,
                "as_if_changed": list(self.as_if),
                "as_if_ids": list(values),
                "as_if_values": [orjson.dumps(value).decode() for value in values.values()],
            },
        )
