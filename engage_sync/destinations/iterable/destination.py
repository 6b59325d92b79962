"""The destination itself: settings, headers and budgets around the mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from engage_sync.destinations import passing
from engage_sync.destinations.iterable import answers, joining, privacy, reading
from engage_sync.destinations.iterable.bulk import IterableBulk
from engage_sync.destinations.iterable.mapping import UPDATE_EMAIL, Mapper
from engage_sync.destinations.iterable.settings import DAILY_LIMITS, DEFAULT_BUDGETS, IterableSettings
from engage_sync.destinations.protocol import (
    NO_HEADERS,
    Answer,
    Delivered,
    Holds,
    Outcome,
    Refused,
    Rejected,
    Request,
    Retry,
    Skipped,
    Unauthorized,
)
from engage_sync.messages.forwarded import FORGET


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
        self.daily_limits = DAILY_LIMITS
        self.bulk = None if settings.bulk == "never" else IterableBulk(is_always_used=settings.bulk == "always")
        self._mapper = Mapper(settings, slug)

    def __repr__(self) -> str:
        return f"IterableDestination(slug={self.slug!r}, base_url={self.base_url!r})"

    @property
    def changes_emails(self) -> bool:
        return self.settings.email_change == "update"

    @property
    def has_one_user_a_user_id(self) -> bool:
        return self.settings.project_type != "email"

    def requests(self, call: Mapping[str, Any]) -> tuple[Request, ...] | Skipped | Refused:
        if call.get("type") == FORGET:
            return self._forgetting(call)
        return self._mapper.requests(call)

    @property
    def coalesces(self) -> bool:
        return self.settings.coalesce

    def joined(self, requests: Sequence[Request]) -> Request | None:
        return joining.joined(requests)

    def signature(self, body: bytes, at: int) -> Mapping[str, str]:
        return NO_HEADERS

    def outcome(self, request: Request, answer: Answer | None) -> Outcome:
        if request.path in (UPDATE_EMAIL, privacy.USERS_FORGET) and answers.is_unknown_user(answer):
            # Nobody's email has to change: the next call makes the user, with the new one. Nor is there one to forget.
            return Delivered()
        return answers.outcome(answer)

    def _forgetting(self, call: Mapping[str, Any]) -> tuple[Request, ...] | Refused:
        email = passing.email({**call, "type": "identify"})
        if email is not None and self.settings.project_type == "user_id":
            return Refused(reason="projects that tell users apart by userId find nobody by an email", field="email")
        request = privacy.forget(email=email, user_id=call.get("userId"))
        return request if isinstance(request, Refused) else (request,)

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
