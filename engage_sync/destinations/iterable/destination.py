"""The destination itself: settings, headers and budgets around the mapping."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from engage_sync.destinations.iterable import answers, reading
from engage_sync.destinations.iterable.mapping import Mapper
from engage_sync.destinations.iterable.settings import DEFAULT_BUDGETS, IterableSettings, read_settings
from engage_sync.destinations.protocol import (
    Answer,
    Holds,
    Outcome,
    Refused,
    Rejected,
    Request,
    Retry,
    Skipped,
    Unauthorized,
)


class IterableDestination:
    def __init__(self, *, slug: str, settings: IterableSettings, rate_limits: Mapping[str, float]) -> None:
        self.slug = slug
        self.settings = settings
        self.base_url = settings.base_url
        self.headers: Mapping[str, str] = MappingProxyType(
            {"Api-Key": settings.api_key.get_secret_value(), "Content-Type": "application/json"}
        )
        self.budgets: Mapping[str, float] = MappingProxyType({**DEFAULT_BUDGETS, **rate_limits})
        self._mapper = Mapper(settings)

    @classmethod
    def build(cls, *, slug: str, settings: Mapping[str, Any], rate_limits: Mapping[str, float]) -> IterableDestination:
        return cls(slug=slug, settings=read_settings(settings), rate_limits=rate_limits)

    def __repr__(self) -> str:
        return f"IterableDestination(slug={self.slug!r}, base_url={self.base_url!r})"

    def requests(self, call: Mapping[str, Any]) -> tuple[Request, ...] | Skipped | Refused:
        return self._mapper.requests(call)

    def outcome(self, request: Request, answer: Answer | None) -> Outcome:
        return answers.outcome(answer)

    def lookup(self, call: Mapping[str, Any]) -> Request | Refused:
        requests = self._mapper.requests(call)
        if isinstance(requests, Skipped | Refused):
            return Refused(reason=requests.reason)
        return reading.lookup(requests[0].body, self.settings.project_type)

    def held(self, answer: Answer | None) -> Holds | Retry | Rejected | Unauthorized:
        return reading.held(answer)

    def fields(self, call: Mapping[str, Any]) -> Mapping[str, Any] | Refused:
        requests = self._mapper.requests(call)
        if isinstance(requests, Skipped | Refused):
            return Refused(reason=requests.reason)
        found: Mapping[str, Any] = requests[0].body["dataFields"]
        return {name: value for name, value in found.items() if name != "email"}

    def alike(self, told: Any, held: Any) -> bool:
        return reading.alike(told, held)
