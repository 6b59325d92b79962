"""Waiting identifies of one identity, as one request: where the destination joins them and its settings ask for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from engage_sync.destinations.protocol import Joining, Request
from engage_sync.messages.message import Message


@dataclass(frozen=True, slots=True)
class Joined:
    """`more` go with the message that was asked about, in the request that all of them make."""

    more: tuple[Message, ...]
    request: Request


def gather(
    message: Message,
    request: Request,
    waiting: deque[Message],
    joining: Joining,
    request_of: Callable[[Message], Request | None],
) -> Joined:
    """Take out of `waiting` what may go along: identifies of the same identity, up to whatever else there is to say.

    What definitions say to other identities between them stays, in its order: another identity is another user.
    `request_of` is None for what isn't one request.
    """
    if not _is_identify(message):
        return Joined((), request)
    more: list[Message] = []
    requests = [request]
    for other in list(waiting):
        if not _is_identify(other):
            break
        if (other.identity_type, other.identity_value) != (message.identity_type, message.identity_value):
            continue
        own = request_of(other)
        together = None if own is None else joining.joined([*requests, own])
        if own is None or together is None:
            break
        requests.append(own)
        request = together
        more.append(other)
    for other in more:
        waiting.remove(other)
    return Joined(tuple(more), request)


def _is_identify(message: Message) -> bool:
    return message.call_type == "identify" and message.definition_id is not None
