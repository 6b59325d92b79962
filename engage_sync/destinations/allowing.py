"""Staging: a destination that lets only emails of some domains through.

Looked at last, on the call that is about to be sent: so nothing slips past, wherever it came from and however long it
waited.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final


class Allowed:
    """Which calls may go. `domains` None: all of them."""

    def __init__(self, domains: Sequence[str] | None = None) -> None:
        self._domains = None if domains is None else frozenset(domain.lower() for domain in domains)

    def objection(self, call: Mapping[str, Any]) -> str | None:
        """Why a call may not go, without naming anybody; None: it may.

        Every email in it must be of an allowed domain, and there must be one: behind a bare user id may be anybody.
        """
        if self._domains is None:
            return None
        emails = list(_emails(call))
        if emails and all(email.rpartition("@")[2].strip().lower() in self._domains for email in emails):
            return None
        shown = ", ".join(sorted(self._domains)) or "no domain"
        return f"only emails of {shown} are let through (allow)"


EVERYBODY: Final = Allowed()


def _emails(call: Mapping[str, Any]) -> Iterator[str]:
    """Whatever in a call a destination may find somebody by, where it is an email."""
    context = call.get("context")
    within = context.get("traits") if isinstance(context, dict) else None
    for place in (call.get("traits"), within, call.get("properties")):
        email = place.get("email") if isinstance(place, dict) else None
        if isinstance(email, str) and email.strip():
            yield email
    for name in ("userId", "previousId"):
        value = call.get(name)
        if isinstance(value, str) and "@" in value:
            yield value
