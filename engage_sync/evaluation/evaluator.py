"""Compiled definitions, kept as long as they are what they were."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache, lru_cache

from engage_sync.definitions.language import describe, tree
from engage_sync.definitions.language.tree import Position
from engage_sync.definitions.language.walk import references, walk
from engage_sync.evaluation.compiler import (
    Evaluation,
    Matches,
    Scope,
    compile_edges,
    compile_evaluation,
    compile_matches,
    compile_turns,
    compile_users,
)
from engage_sync.evaluation.compiler.subjects import Subject

# Only `explain` asks for these, and each holds several statements.
_KEPT_TO_EXPLAIN = 256


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


@cache
def users(*, include_anonymous: bool) -> Evaluation:
    """The compiled question who counts in the accounts of some people: rows (account_id, profile_id)."""
    return compile_users(include_anonymous=include_anonymous)


def turns(definition: tree.Node, *, catalog: Mapping[str, int]) -> Evaluation | None:
    """The compiled instants at which a definition or a part of it may change; None where it never does by itself."""
    return _compiled_turns(definition, _used(definition, catalog))


def matches(
    aggregate: tree.Aggregate,
    *,
    catalog: Mapping[str, int],
    since: datetime | None,
    subject: Subject,
    after: str | None,
) -> Matches:
    """The compiled questions about an aggregate's events; in a funnel, that come `after` an event of that name."""
    # What is found is shown as it stands in the query; trees are equal wherever it is, and however a number is written.
    written = (describe(aggregate), *(node.position for node in walk(aggregate)))
    return _compiled_matches(aggregate, written, _used(aggregate, catalog), since, subject, after)


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


@lru_cache(maxsize=_KEPT_TO_EXPLAIN)
def _compiled_turns(definition: tree.Node, catalog: tuple[tuple[str, int], ...]) -> Evaluation | None:
    return compile_turns(definition, catalog=dict(catalog))


@lru_cache(maxsize=_KEPT_TO_EXPLAIN)
def _compiled_matches(
    aggregate: tree.Aggregate,
    _written: tuple[str | Position, ...],
    catalog: tuple[tuple[str, int], ...],
    since: datetime | None,
    subject: Subject,
    after: str | None,
) -> Matches:
    return compile_matches(aggregate, catalog=dict(catalog), since=since, subject=subject, after=after)
