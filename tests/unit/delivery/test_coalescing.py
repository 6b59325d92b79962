from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from engage_sync.delivery.coalescing import gather
from engage_sync.destinations.protocol import Joining, Request
from engage_sync.messages.message import Message

MOST = 3


class Joins:
    """Up to three at once, told apart by what they say."""

    coalesces = True

    def joined(self, requests: Sequence[Request]) -> Request | None:
        said = [name for request in requests for name in request.body["says"]]
        return _request(*said) if len(said) <= MOST else None


def _request(*said: str) -> Request:
    return Request(method="POST", path="/", body={"says": list(said)}, budget="identify")


def message(name: str, email: str = "a@x.io", call_type: str = "identify", definition: int | None = 0) -> Message:
    """Of a definition of its own, unless another is given."""
    definition = ord(name[0]) if definition == 0 else definition
    return Message(
        id=0, destination_id=1, profile_id=1, definition_id=definition, identity_type="email", identity_value=email,
        call_type=call_type, value=name, told_version=1, as_of=datetime(2026, 1, 1, tzinfo=UTC), user_id=None,
        subject=None,
    )  # fmt: skip


def gathered(*waiting: Message, first: Message | None = None) -> tuple[list[str], list[str], list[str]]:
    """(what goes along, what the request says, what still waits)."""
    queue = deque(waiting)

    def request_of(other: Message) -> Request | None:
        return None if other.value == "wrong" else _request(other.value)

    found = gather(first or message("1"), _request("1"), queue, cast(Joining, Joins()), request_of)
    said: list[Any] = found.request.body["says"]
    return [each.value for each in found.more], said, [each.value for each in queue]


def test_identifies_of_one_identity_go_together_up_to_what_is_joined() -> None:
    assert gathered(message("2"), message("3"), message("4")) == (["2", "3"], ["1", "2", "3"], ["4"])


def test_other_identities_between_them_keep_their_place() -> None:
    assert gathered(message("2", "b@x.io"), message("3"), message("4", "b@x.io")) == (["3"], ["1", "3"], ["2", "4"])


def test_nothing_overtakes_an_event_a_forwarded_call_or_what_is_wrong() -> None:
    for between in (message("2", call_type="track"), message("2", definition=None), message("wrong")):
        assert gathered(between, message("3")) == ([], ["1"], [between.value, "3"])


def test_an_event_takes_nothing_along() -> None:
    assert gathered(message("2"), first=message("1", call_type="track")) == ([], ["1"], ["2"])


def test_a_second_value_of_one_definition_goes_by_itself() -> None:
    first, again = message("1", definition=7), message("3", definition=7)
    assert gathered(message("2"), again, message("4"), first=first) == (["2"], ["1", "2"], ["3", "4"])
