"""What is asked: of whom, when, by which definition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engage_sync.definitions import language
from engage_sync.evaluation import evaluator
from engage_sync.evaluation.compiler import Evaluation, Scope


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """`profile` is the internal id, `as_of` aware, `catalog` maps all definitions' keys to ids.

    `since`: events before this instant don't count. `events`: of each list of events at most so many.
    """

    definition: language.Definition
    include_anonymous: bool
    since: datetime | None
    catalog: Mapping[str, int]
    profile: int
    as_of: datetime
    events: int = 10

    def evaluation(self, node: Any, *, include_anonymous: bool = True) -> Evaluation:
        """The compiled evaluation of the definition or a part of it, for this person."""
        return evaluator.evaluation(
            node,
            include_anonymous=include_anonymous,
            scope=Scope.PROFILES,
            catalog=self.catalog,
            since=self.since,
        )
