"""Which types of destination there are, and how one is built from its part of engage.yml."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from engage_sync import errors
from engage_sync.destinations import iterable
from engage_sync.destinations.protocol import Destination


class DestinationConfig(Protocol):
    @property
    def slug(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def settings(self) -> Mapping[str, Any]:
        """By name; values may be pydantic's SecretStr."""

    @property
    def rate_limits(self) -> Mapping[str, float]:
        """Requests a second by budget, over the destination's own."""


class _Build(Protocol):
    def __call__(self, *, slug: str, settings: Mapping[str, Any], rate_limits: Mapping[str, float]) -> Destination: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    build: _Build
    problems: Callable[[Mapping[str, Any]], list[tuple[str, str]]]
    budgets: Mapping[str, float]


_KINDS: Mapping[str, _Kind] = {
    "iterable": _Kind(
        build=iterable.IterableDestination.build,
        problems=iterable.settings_problems,
        budgets=iterable.DEFAULT_BUDGETS,
    ),
}


def types() -> tuple[str, ...]:
    """The known types, in alphabetical order."""
    return tuple(sorted(_KINDS))


def build(config: DestinationConfig) -> Destination:
    """The destination that `config` describes; UsageError says all that is wrong with it."""
    kind = _kind(config.type)
    problems = [*kind.problems(config.settings), *rate_limit_problems(config.type, config.rate_limits)]
    if problems:
        raise errors.UsageError(f"destination {config.slug!r}: " + "; ".join(sentence for _, sentence in problems))
    return kind.build(slug=config.slug, settings=config.settings, rate_limits=config.rate_limits)


def settings_problems(type: str, settings: Mapping[str, Any]) -> list[tuple[str, str]]:  # noqa: A002 - the key in engage.yml
    """What is wrong with the settings, without their values: name and a sentence each.

    An unknown type raises UsageError.
    """
    return _kind(type).problems(settings)


def rate_limit_problems(type: str, rate_limits: Mapping[str, Any]) -> list[tuple[str, str]]:  # noqa: A002 - as above
    """What is wrong with the rate limits: name and a sentence each."""
    budgets = _kind(type).budgets
    problems: list[tuple[str, str]] = []
    for name, limit in rate_limits.items():
        if name not in budgets:
            problems.append((name, f"unknown rate limit {name!r}{_nearest(str(name), budgets)}"))
        elif isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit < float("inf"):
            problems.append((name, f"rate limit {name!r} must be a number of requests a second above 0"))
    return problems


def _kind(name: str) -> _Kind:
    if name not in _KINDS:
        known = ", ".join(types())
        raise errors.UsageError(f"unknown destination type {name!r}; known types: {known}")
    return _KINDS[name]


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"
