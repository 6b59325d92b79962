"""One call → one POST to /v1/batch, which holds that call alone.

A batch of several people's calls would be answered for all of them at once; delivery keeps one person's calls in order
and retries each for itself.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson

from engage_sync.destinations import answers, passing
from engage_sync.destinations.protocol import (
    NO_HEADERS,
    Answer,
    Delivered,
    Outcome,
    Refused,
    Rejected,
    Request,
    Skipped,
)
from engage_sync.destinations.segment.settings import DEFAULT_BUDGETS, SegmentSettings
from engage_sync.messages.forwarded import FORGET

BATCH: Final = "/v1/batch"
# Segment's own limit for one call.
MAX_CALL_BYTES: Final = 32 * 1024

# Any fixed namespace does: the same email must always give the same anonymousId.
_NAMESPACE: Final = uuid.UUID("5a1f2a76-9d0b-5d0c-8a8e-2f6f7c1d4e90")
_OF_PEOPLE: Final = frozenset({"identify", "alias", "group"})


class SegmentDestination:
    # A call's `integrations` tell the receiver which destinations of its own to leave out.
    integration = None
    bulk = None

    def __init__(self, *, slug: str, settings: SegmentSettings, rate_limits: Mapping[str, float]) -> None:
        self.slug = slug
        self.settings = settings
        self.base_url = settings.base_url
        key = settings.write_key.get_secret_value()
        credentials = base64.b64encode(f"{key}:".encode()).decode()
        self.secrets = (key, credentials)
        self.headers: Mapping[str, str] = MappingProxyType(
            {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
        )
        self.budgets: Mapping[str, float] = MappingProxyType({**DEFAULT_BUDGETS, **rate_limits})
        self.daily_limits: Mapping[str, int] = MappingProxyType({})

    def __repr__(self) -> str:
        return f"SegmentDestination(slug={self.slug!r}, base_url={self.base_url!r})"

    @property
    def changes_emails(self) -> bool:
        return False

    @property
    def has_one_user_a_user_id(self) -> bool:
        return False

    def requests(self, call: Mapping[str, Any]) -> tuple[Request, ...] | Skipped | Refused:
        if call.get("type") == FORGET:
            return Skipped(reason="its tracking API takes no deletions: ask for one in Segment (Privacy, or its API)")
        checked = passing.checked(call, most_bytes=MAX_CALL_BYTES)
        if isinstance(checked, Refused):
            return checked
        if not (passing.is_given(checked.get("userId")) or passing.is_given(checked.get("anonymousId"))):
            email = passing.email(checked) if self.settings.anonymous_id_from_email else None
            if email is None:
                return Refused(
                    reason="neither a userId nor an anonymousId, and no email to make one from", field="userId"
                )
            checked["anonymousId"] = str(uuid.uuid5(_NAMESPACE, email.lower()))
        budget = "identify" if checked["type"] in _OF_PEOPLE else "track"
        return (Request(method="POST", path=BATCH, body={"batch": [checked]}, budget=budget),)

    def signature(self, body: bytes, at: int) -> Mapping[str, str]:
        return NO_HEADERS

    def outcome(self, request: Request, answer: Answer | None) -> Outcome:
        found = answers.outcome(answer)
        if isinstance(found, Delivered) and answer is not None and _is_refusal(answer.body):
            return Rejected(reason=f"{answer.status} with success: false")
        return found


def _is_refusal(raw: bytes) -> bool:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return isinstance(body, dict) and body.get("success") is False
