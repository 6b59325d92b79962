"""users/bulkUpdate and events/trackBulk: several requests as one, and what its answer says of each.

The answer names what failed by email, userId or event name, never by its place. Where such a name fits more entries
than were counted as failed, nobody knows which of them it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from engage_sync.destinations.iterable import answers
from engage_sync.destinations.iterable.mapping import EVENTS_TRACK, UPDATE_EMAIL, USERS_UPDATE
from engage_sync.destinations.iterable.privacy import USERS_FORGET
from engage_sync.destinations.protocol import Answer, BulkLimits, Delivered, Outcome, Rejected, Request, Unclear

BULK_UPDATE: Final = "/api/users/bulkUpdate"
TRACK_BULK: Final = "/api/events/trackBulk"

MAX_ENTRIES: Final = 1000
# Iterable takes bodies of 4 MB; what is around the entries, and whatever it counts differently, has the rest.
MAX_BYTES: Final = 3_990_000

_LIMITS: Final = MappingProxyType(
    {
        "identify_bulk": BulkLimits(most_entries=MAX_ENTRIES, most_bytes=MAX_BYTES),
        "track_bulk": BulkLimits(most_entries=MAX_ENTRIES, most_bytes=MAX_BYTES),
    }
)
_BUDGETS: Final[Mapping[str, str]] = {USERS_UPDATE: "identify_bulk", EVENTS_TRACK: "track_bulk"}
_PATHS: Final[Mapping[str, tuple[str, str]]] = {
    USERS_UPDATE: (BULK_UPDATE, "users"),
    EVENTS_TRACK: (TRACK_BULK, "events"),
}
_MEANINGS: Final[Mapping[str, str]] = {
    "invalidEmails": "the email is not one that Iterable takes",
    "invalidUserIds": "the userId is not one that Iterable takes",
    "invalidDataEmails": "the email among the data fields is not one that Iterable takes here",
    "invalidDataUserIds": "the userId among the data fields is not one that Iterable takes here",
    "forgottenEmails": "the user with this email was forgotten",
    "forgottenUserIds": "the user with this userId was forgotten",
    "conflictEmails": "another user has the email",
    "conflictUserIds": "another user has the userId",
    "notFoundEmails": "there is no user with this email",
    "notFoundUserIds": "there is no user with this userId",
}

# What one entry may be listed by: ("email" or "userId", the identifier).
_Name = tuple[str, str]


class IterableBulk:
    limits = _LIMITS

    def __init__(self, *, is_always_used: bool) -> None:
        self.is_always_used = is_always_used

    def budget_of(self, request: Request) -> str | None:
        return _BUDGETS.get(request.path)

    def must_follow(self, request: Request) -> bool:
        """An email's change and forgetting: what comes to the old email afterwards would make a user of it again."""
        return request.path in (UPDATE_EMAIL, USERS_FORGET)

    def join(self, requests: Sequence[Request]) -> Request:
        path, entries = _PATHS[requests[0].path]
        body = {entries: [request.body for request in requests]}
        return Request(method="POST", path=path, body=body, budget=_BUDGETS[requests[0].path])

    def outcomes(self, requests: Sequence[Request], answer: Answer | None) -> Sequence[Outcome | Unclear]:
        """What became of each entry. A refusal of the whole is unclear, as a single entry may be the reason."""
        if answer is not None and 200 <= answer.status < 300:
            body = answers.body_of(answer.body)
            if type(body.get("failCount")) is int:
                return _of_entries([request.body for request in requests], answer.status, body)
        whole = answers.outcome(answer)
        # A request that took too long may be too large as well.
        is_refused = isinstance(whole, Rejected) or (answer is not None and answer.status == 408)
        if is_refused and len(requests) > 1:
            return [Unclear(reason=whole.reason)] * len(requests)  # type: ignore[union-attr]
        return [whole] * len(requests)


def _of_entries(entries: Sequence[Mapping[str, Any]], status: int, body: Mapping[str, Any]) -> list[Outcome | Unclear]:
    fail_count: int = body["failCount"]
    if fail_count <= 0:
        return [Delivered()] * len(entries)
    listed = _listed(body)
    disallowed = set(_texts(body.get("disallowedEventNames")))
    carriers = Counter(name for entry in entries for name in _names(entry))
    outcomes = [_outcome(entry, status, listed, disallowed, carriers) for entry in entries]
    named = sum(1 for outcome in outcomes if not isinstance(outcome, Delivered))
    if named >= fail_count:
        return outcomes
    # Something failed that no list names.
    reason = f"{status} {fail_count} of the request's entries failed, and the answer does not name them"
    unnamed: Outcome | Unclear = Unclear(reason=reason) if len(entries) > 1 else Rejected(reason=reason)
    return [unnamed if isinstance(outcome, Delivered) else outcome for outcome in outcomes]


def _outcome(
    entry: Mapping[str, Any],
    status: int,
    listed: Mapping[_Name, list[str]],
    disallowed: set[str],
    carriers: Mapping[_Name, int],
) -> Outcome | Unclear:
    event = entry.get("eventName")
    if event in disallowed:
        return Rejected(reason=f"{status} the project does not take the event {event!r}")
    for name in _names(entry):
        if name in listed:
            reason = f"{status} {listed[name][0]}: {_MEANINGS.get(listed[name][0], 'Iterable did not take the entry')}"
            is_certain = len(listed[name]) >= carriers[name]
            return Rejected(reason=reason) if is_certain else Unclear(reason=reason)
    return Delivered()


def _listed(body: Mapping[str, Any]) -> dict[_Name, list[str]]:
    """The lists in which each name stands, as often as it stands there."""
    failed = body.get("failedUpdates")
    # The two lists beside it are older, and repeat what it says.
    lists = (
        failed if isinstance(failed, dict) else {name: body.get(name) for name in ("invalidEmails", "invalidUserIds")}
    )
    found: dict[_Name, list[str]] = {}
    for name, texts in lists.items():
        kind = "email" if name.endswith("Emails") else "userId"
        for text in _texts(texts):
            found.setdefault((kind, text.lower() if kind == "email" else text), []).append(name)
    return found


def _names(entry: Mapping[str, Any]) -> Iterator[_Name]:
    emails = {entry.get("email"), (entry.get("dataFields") or {}).get("email")}
    yield from {("email", email.lower()) for email in emails if isinstance(email, str)}
    if isinstance(entry.get("userId"), str):
        yield "userId", entry["userId"]


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
