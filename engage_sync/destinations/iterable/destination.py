"""The destination itself: settings, headers and budgets around the mapping."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from engage_sync.destinations.iterable import answers
from engage_sync.destinations.iterable.bulk import IterableBulk
from engage_sync.destinations.iterable.mapping import Mapper
from engage_sync.destinations.iterable.settings import DEFAULT_BUDGETS, IterableSettings
from engage_sync.destinations.protocol import NO_HEADERS, Answer, Outcome, Refused, Request, Skipped


class IterableDestination:
    integration = "Iterable"

    def __init__(self, *, slug: str, settings: IterableSettings, rate_limits: Mapping[str, float]) -> None:
        self.slug = slug
        self.settings = settings
        self.base_url = settings.base_url
        key = settings.api_key.get_secret_value()
        self.secrets = (key,)
        self.headers: Mapping[str, str] = MappingProxyType({"Api-Key": key, "Content-Type": "application/json"})
        self.budgets: Mapping[str, float] = MappingProxyType({**DEFAULT_BUDGETS, **rate_limits})
        self.bulk = None if settings.bulk == "never" else IterableBulk(is_always_used=settings.bulk == "always")
        self._mapper = Mapper(settings)

    def __repr__(self) -> str:
        return f"IterableDestination(slug={self.slug!r}, base_url={self.base_url!r})"

    def requests(self, call: Mapping[str, Any]) -> tuple[Request, ...] | Skipped | Refused:
        return self._mapper.requests(call)

    def signature(self, body: bytes, at: int) -> Mapping[str, str]:
        return NO_HEADERS

    def outcome(self, request: Request, answer: Answer | None) -> Outcome:
        return answers.outcome(answer)
