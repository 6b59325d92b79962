"""What delivery and a destination say to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One HTTP request, not sent yet. `path` is added to the destination's `base_url`, `body` is sent as JSON.

    `budget` names the rate budget that the request draws on, a key of the destination's `budgets`.
    """

    method: str
    path: str
    body: dict[str, Any]
    budget: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """Left out on purpose: the destination has no use for the call, and nothing is lost."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Can never be sent as it stands: a dead letter. `field` is the path of what is wrong (`properties.total`)."""

    reason: str
    field: str | None = None

    @property
    def sentence(self) -> str:
        """The reason and, unless it is told there, the field."""
        return self.reason if self.field is None or self.field in self.reason else f"{self.reason} ({self.field})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back over HTTP. Names of headers may come in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivered:
    """The destination took it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """May succeed later. `after` is the wait in seconds that the destination asked for.

    `unanswered`: nothing came back, so the request may have been carried out, or may still be on its way.
    `is_throttled`: there were too many requests.
    """

    reason: str
    after: float | None = None
    unanswered: bool = False
    is_throttled: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """Refused by the destination for good: a dead letter."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unauthorized:
    """The key was not taken. Says nothing of the message, so nothing is dead-lettered for it."""

    reason: str


Outcome: TypeAlias = Delivered | Retry | Rejected | Unauthorized


@dataclass(frozen=True, kw_only=True, slots=True)
class Unclear:
    """The answer doesn't say what became of this entry, only that something in its request is wrong.

    It is sent again among fewer others, in the end alone. It may have been carried out, or not.
    """

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BulkLimits:
    """What one bulk request holds at most. `most_bytes` are those of its entries as JSON, with a comma each."""

    most_entries: int
    most_bytes: int


class Bulk(Protocol):
    """How several requests to a destination become one. Each of them is an entry, in the given order."""

    @property
    def is_always_used(self) -> bool:
        """Whether everything that can goes in bulk; else only what waits in a long line."""

    @property
    def limits(self) -> Mapping[str, BulkLimits]:
        """By the name of the budget that such a bulk request draws on, a key of the destination's `budgets`."""

    def budget_of(self, request: Request) -> str | None:
        """Which of the bulk requests it can be an entry of; None where it only goes by itself."""

    def must_follow(self, request: Request) -> bool:
        """Whether the request, which only goes by itself, does harm where it overtakes what went in bulk before it."""

    def join(self, requests: Sequence[Request]) -> Request:
        """One request of several of the same budget, or of a single one."""

    def outcomes(self, requests: Sequence[Request], answer: Answer | None) -> Sequence[Outcome | Unclear]:
        """What an answer means for each entry; None is no answer. A single entry is never `Unclear`."""


NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Destination(Protocol):
    @property
    def slug(self) -> str:
        """The name under `destinations` in engage.yml."""

    @property
    def integration(self) -> str | None:
        """The name under which a call's `integrations` mean it; None where they mean others, beyond it."""

    @property
    def base_url(self) -> str:
        """Scheme and host, without a slash at the end."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Sent with every request. They may hold credentials: never log them."""

    @property
    def secrets(self) -> Sequence[str]:
        """What must never be shown or stored, though an answer may repeat it."""

    @property
    def budgets(self) -> Mapping[str, float]:
        """Requests a second for each budget that a request may name."""

    @property
    def daily_limits(self) -> Mapping[str, int]:
        """Requests in 24 hours, for those of the budgets that are limited so, too."""

    @property
    def bulk(self) -> Bulk | None:
        """How requests are joined; None where each goes by itself."""

    @property
    def changes_emails(self) -> bool:
        """Whether a user's email is to be changed where a profile's one email is replaced; if not, it is a new user."""

    @property
    def has_one_user_a_user_id(self) -> bool:
        """Whether users are told apart by their user id, so that two emails with one user id would be one user."""

    def requests(self, call: Mapping[str, Any]) -> tuple[Request, ...] | Skipped | Refused:
        """What to send for one Segment call, in order. A tuple is never empty. Total: raises on no JSON object.

        Beside Segment's there are two types of our own. For those that change emails:
        `{"type": "email_change", "previousEmail", "email", "userId"}`. And to forget somebody for good, by a user id or
        by an email: `{"type": "forget", "messageId", "userId" or "traits": {"email"}}`; Skipped where a destination
        takes no such request.
        """

    def signature(self, body: bytes, at: int) -> Mapping[str, str]:
        """Headers of one request alone, over `headers`: `body` as it is sent `at` that time, in Unix seconds."""

    def outcome(self, request: Request, answer: Answer | None) -> Outcome:
        """What an answer means; None means that none came within the time."""


@runtime_checkable
class Joining(Destination, Protocol):
    """A destination that takes what several identifies of one user say as one request."""

    @property
    def coalesces(self) -> bool:
        """Whether it is to be done (setting `coalesce`)."""

    def joined(self, requests: Sequence[Request]) -> Request | None:
        """One request that says what these say in turn; None where they can't be one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holds:
    """What the destination knows of somebody, by field; None: it doesn't know them."""

    fields: Mapping[str, Any] | None = field(repr=False)


@runtime_checkable
class Readable(Destination, Protocol):
    """A destination that says what it holds of somebody, so that what it was told can be checked."""

    def lookup(self, call: Mapping[str, Any]) -> Request | Refused:
        """What asks for the user whom an identify call is about."""

    def held(self, answer: Answer | None) -> Holds | Retry | Rejected | Unauthorized:
        """What the answer to a lookup says; None means that none came within the time."""

    def fields(self, call: Mapping[str, Any]) -> Mapping[str, Any] | Refused:
        """What the destination holds once it took an identify call, by field; None: such a field is cleared."""

    def alike(self, told: Any, held: Any) -> bool:
        """Whether a field that was told one value and holds another is as it should be."""
