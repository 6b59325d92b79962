"""Which types of destination there are, and how one is built from its part of engage.yml."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from engage_sync import errors
from engage_sync.destinations import iterable, segment, webhook
from engage_sync.destinations import settings as destination_settings
from engage_sync.destinations.protocol import Destination
from engage_sync.destinations.settings import DestinationSettings, nearest


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


S = TypeVar("S", bound=DestinationSettings, contravariant=True)


class _Make(Protocol[S]):
    def __call__(self, *, slug: str, settings: S, rate_limits: Mapping[str, float]) -> Destination: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    settings: type[DestinationSettings]
    build: Callable[[DestinationConfig], Destination]
    budgets: Mapping[str, float]


def _kind_of(settings_type: type[S], make: _Make[S], budgets: Mapping[str, float]) -> _Kind:
    def build(config: DestinationConfig) -> Destination:
        found = destination_settings.read(settings_type, config.settings)
        return make(slug=config.slug, settings=found, rate_limits=config.rate_limits)

    return _Kind(settings=settings_type, build=build, budgets=budgets)


_KINDS: Mapping[str, _Kind] = {
    "iterable": _kind_of(iterable.IterableSettings, iterable.IterableDestination, iterable.DEFAULT_BUDGETS),
    "segment": _kind_of(segment.SegmentSettings, segment.SegmentDestination, segment.DEFAULT_BUDGETS),
    "webhook": _kind_of(webhook.WebhookSettings, webhook.WebhookDestination, webhook.DEFAULT_BUDGETS),
}


def types() -> tuple[str, ...]:
    """The known types, in alphabetical order."""
    return tuple(sorted(_KINDS))


def build(config: DestinationConfig) -> Destination:
    """The destination that `config` describes; UsageError says all that is wrong with it."""
    problems = [
        *settings_problems(config.type, config.settings),
        *rate_limit_problems(config.type, config.rate_limits),
    ]
    if problems:
        raise errors.UsageError(f"destination {config.slug!r}: " + "; ".join(sentence for _, sentence in problems))
    return _kind(config.type).build(config)


def settings_schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each type's settings."""
    return {name: kind.settings.model_json_schema() for name, kind in sorted(_KINDS.items())}


def settings_problems(type: str, settings: Mapping[str, Any]) -> list[tuple[str, str]]:  # noqa: A002 - the key in engage.yml
    """What is wrong with the settings, without their values: name and a sentence each.

    An unknown type raises UsageError.
    """
    return destination_settings.problems(_kind(type).settings, settings)


def rate_limit_problems(type: str, rate_limits: Mapping[str, Any]) -> list[tuple[str, str]]:  # noqa: A002 - as above
    """What is wrong with the rate limits: name and a sentence each."""
    budgets = _kind(type).budgets
    problems: list[tuple[str, str]] = []
    for name, limit in rate_limits.items():
        if name not in budgets:
            problems.append((name, f"unknown rate limit {name!r}{nearest(str(name), sorted(budgets))}"))
        elif isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit < float("inf"):
            problems.append((name, f"rate limit {name!r} must be a number of requests a second above 0"))
    return problems


def _kind(name: str) -> _Kind:
    if name not in _KINDS:
        raise errors.UsageError(f"unknown destination type {name!r}{nearest(name, types())}")
    return _KINDS[name]
