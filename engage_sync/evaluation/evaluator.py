"""Compiled definitions, kept as long as they are what they were."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from engage_sync.definitions.language import tree
from engage_sync.definitions.language.walk import references
from engage_sync.evaluation.compiler import Evaluation, Scope, compile_edges, compile_evaluation


def evaluation(
    definition: tree.Node,
    *,
    include_anonymous: bool,
    scope: Scope,
    catalog: Mapping[str, int],
    since: datetime | None = None,
) -> Evaluation:
    """The compiled evaluation of a definition; `catalog` maps all definitions' keys to ids.

    `since`: events before this instant don't count.
    """
    return _compiled(definition, include_anonymous, scope, _used(definition, catalog), since)


def edges(definition: tree.Node, *, scope: Scope, catalog: Mapping[str, int]) -> Evaluation | None:
    """The compiled next edges of a definition; None where it compares no date with now."""
    return _compiled_edges(definition, scope, _used(definition, catalog))


def _used(definition: tree.Node, catalog: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((key, catalog[key]) for key in references(definition) if key in catalog))


@lru_cache(maxsize=4096)
def _compiled(
    definition: tree.Node,
    include_anonymous: bool,
    scope: Scope,
    catalog: tuple[tuple[str, int], ...],
    since: datetime | None,
) -> Evaluation:
    return compile_evaluation(
        definition,
        include_anonymous=include_anonymous,
        scope=scope,
        catalog=dict(catalog),
        since=since,
    )


@lru_cache(maxsize=4096)
def _compiled_edges(definition: tree.Node, scope: Scope, catalog: tuple[tuple[str, int], ...]) -> Evaluation | None:
    return compile_edges(definition, scope=scope, catalog=dict(catalog))
