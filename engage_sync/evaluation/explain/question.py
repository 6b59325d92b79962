"""What is asked: of whom, when, by which definition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engage_sync.definitions import language
from engage_sync.evaluation import evaluator
from engage_sync.evaluation.compiler import Evaluation, Scope, compile_as_if


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
        return compile_as_if(compiled, profile=self.profile, said=self.as_if) if self.as_if else compiled
