"""Waiting identifies of one identity, as one request: where the destination joins them and its settings ask for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from engage_sync.delivery.work import Job, Lane
from engage_sync.destinations.allowing import Allowed
from engage_sync.destinations.protocol import Destination, Joining, Request
from engage_sync.messages.message import Message
from engage_sync.messages.render import Sender, render


@dataclass(frozen=True, slots=True)
class Joined:
    """`more` go with the message that was asked about, in the request that all of them make."""

    more: tuple[Message, ...]
    request: Request


class Coalescing:
    """Makes jobs of messages for one destination, as `allowed` lets them through."""

    def __init__(self, destination: Destination, sender: Sender, allowed: Allowed) -> None:
        self._destination = destination
        self._sender = sender
        self._allowed = allowed
        self._joining = destination if isinstance(destination, Joining) and destination.coalesces else None
        # People of whom several messages in one request were refused.
        self._apart: set[int] = set()

    def job(self, lane: Lane, message: Message, requests: tuple[Request, ...]) -> Job:
        """The message's job, with all that goes along in its request, which is taken out of the lane."""
        if self._joining is None or len(requests) > 1 or lane.profile_id in self._apart:
            return Job(lane, message, requests)
        joined = gather(message, requests[0], lane.messages, self._joining, self._single_request)
        return Job(lane, message, (joined.request,), more=joined.more)

    def take_apart(self, lane: Lane) -> None:
        """One message in a joined request is wrong: each of that person's goes by itself, until nothing waits."""
        self._apart.add(lane.profile_id)

    def ended(self, profiles: Collection[int]) -> None:
        """Nothing waits for these people any more."""
        self._apart.difference_update(profiles)

    def _single_request(self, message: Message) -> Request | None:
        """The one request that a message is; None where it is anything else."""
        call = render(message, self._sender)
        if call is None or self._allowed.objection(call) is not None:
            return None
        requests = self._destination.requests(call)
        return requests[0] if isinstance(requests, tuple) and len(requests) == 1 else None


def gather(
    message: Message,
    request: Request,
    waiting: deque[Message],
    joining: Joining,
    request_of: Callable[[Message], Request | None],
) -> Joined:
    """Take out of `waiting` what may go along: identifies of the same identity, up to whatever else there is to say.

    A second value of one definition stays: if the first had to be said again by itself, it would come after the second.

    What definitions say to other identities between them stays, in its order: another identity is another user.
    `request_of` is None for what isn't one request.
    """
    if not _is_identify(message):
        return Joined((), request)
    more: list[Message] = []
    requests, definitions = [request], {message.definition_id}
    for other in list(waiting):
        if not _is_identify(other):
            break
        if (other.identity_type, other.identity_value) != (message.identity_type, message.identity_value):
            continue
        if other.definition_id in definitions:
            break
        own = request_of(other)
        together = None if own is None else joining.joined([*requests, own])
        if own is None or together is None:
            break
        requests.append(own)
        definitions.add(other.definition_id)
        request = together
        more.append(other)
    for other in more:
        waiting.remove(other)
    return Joined(tuple(more), request)


def _is_identify(message: Message) -> bool:
    return message.call_type == "identify" and message.definition_id is not None
