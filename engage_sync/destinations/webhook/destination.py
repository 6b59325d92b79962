"""One call → one POST, whose body is the call as it is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from engage_sync.destinations import answers, passing
from engage_sync.destinations.protocol import Answer, Outcome, Refused, Request, Skipped
from engage_sync.destinations.webhook.settings import DEFAULT_BUDGETS, WebhookSettings
from engage_sync.destinations.webhook.signature import HEADER, sign
from engage_sync.messages.forwarded import FORGET

# As large as the tracking API itself takes them, and some.
MAX_CALL_BYTES: Final = 1_000_000
_OF_PEOPLE: Final = frozenset({"identify", "alias", "group"})


class WebhookDestination:
    integration = "Webhooks"
    bulk = None

    def __init__(self, *, slug: str, settings: WebhookSettings, rate_limits: Mapping[str, float]) -> None:
        self.slug = slug
        self.settings = settings
        parts = urlsplit(settings.url)
        self.base_url = f"{parts.scheme}://{parts.netloc}"
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        secret = settings.secret.get_secret_value()
        self.secrets = (secret,)
        self._secret = secret.encode()
        self.headers: Mapping[str, str] = MappingProxyType({"Content-Type": "application/json"})
        self.budgets: Mapping[str, float] = MappingProxyType({**DEFAULT_BUDGETS, **rate_limits})
        self.daily_limits: Mapping[str, int] = MappingProxyType({})

    def __repr__(self) -> str:
        return f"WebhookDestination(slug={self.slug!r}, base_url={self.base_url!r})"

    @property
    def changes_emails(self) -> bool:
        return False

    @property
    def has_one_user_a_user_id(self) -> bool:
        return False

    def requests(self, call: Mapping[str, Any]) -> tuple[Request, ...] | Skipped | Refused:
        if self._is_left_out(call):
            return Skipped(reason="the call's integrations leave webhooks out")
        if call.get("type") == FORGET:
            return (Request(method="POST", path=self._path, body=dict(call), budget="identify"),)
        checked = passing.checked(call, most_bytes=MAX_CALL_BYTES)
        if isinstance(checked, Refused):
            return checked
        if not _has_somebody(checked):
            return Refused(reason="neither a userId, an anonymousId nor an email", field="userId")
        budget = "identify" if checked["type"] in _OF_PEOPLE else "track"
        return (Request(method="POST", path=self._path, body=checked, budget=budget),)

    def signature(self, body: bytes, at: int) -> Mapping[str, str]:
        return {HEADER: sign(self._secret, body, at)}

    def outcome(self, request: Request, answer: Answer | None) -> Outcome:
        return answers.outcome(answer)

    def _is_left_out(self, call: Mapping[str, Any]) -> bool:
        integrations = call.get("integrations")
        if not isinstance(integrations, dict):
            return False
        own = integrations.get(self.integration)
        return own is False or (own is None and integrations.get("All") is False)


def _has_somebody(call: Mapping[str, Any]) -> bool:
    ids = (call.get("userId"), call.get("anonymousId"))
    return any(passing.is_given(identifier) for identifier in ids) or passing.email(call) is not None
