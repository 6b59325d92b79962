"""What HTTP itself says of an answer, the same for every destination that has no codes of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engage_sync.destinations.protocol import Answer, Delivered, Outcome, Rejected, Retry, Unauthorized

REASON_LENGTH: Final = 500


def outcome(answer: Answer | None) -> Outcome:
    """Delivered, Retry, Rejected or Unauthorized by the status; None is no answer."""
    if answer is None:
        return Retry(reason="no answer", unanswered=True)
    status = answer.status
    if 200 <= status < 300:
        return Delivered()
    if status in (401, 403):
        return Unauthorized(reason=_reason(answer))
    if 400 <= status < 500 and status not in (408, 425, 429):
        return Rejected(reason=_reason(answer))
    # 408, 425, 429, 5xx; and whatever doesn't come from the application itself, such as a redirect.
    return Retry(reason=_reason(answer), after=retry_after(answer.headers), is_throttled=status == 429)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The wait in seconds that an answer asks for. Only seconds count, as a date would need a clock."""
    for name, value in headers.items():
        if name.lower() == "retry-after":
            text = value.strip()
            return float(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None
    return None


def _reason(answer: Answer) -> str:
    text = " ".join(answer.body[: 4 * REASON_LENGTH].decode("utf-8", "replace").split())
    return f"{answer.status} {text}".strip()[:REASON_LENGTH]
