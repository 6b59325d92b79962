"""Compiled definitions, kept as long as they are what they were."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from engage_sync.definitions.language import tree
from engage_sync.definitions.language.walk import references
from engage_sync.evaluation.compiler import Evaluation, Scope, compile_evaluation


def evaluation(
    definition: tree.Node, *, include_anonymous: bool, scope: Scope, catalog: Mapping[str, int]
) -> Evaluation:
    """The compiled evaluation of a definition; `catalog` maps all definitions' keys to ids."""
    used = tuple(sorted((key, catalog[key]) for key in references(definition) if key in catalog))
    return _compiled(definition, include_anonymous, scope, used)


@lru_cache(maxsize=4096)
def _compiled(
    definition: tree.Node, include_anonymous: bool, scope: Scope, catalog: tuple[tuple[str, int], ...]
) -> Evaluation:
    return compile_evaluation(definition, include_anonymous=include_anonymous, scope=scope, catalog=dict(catalog))
