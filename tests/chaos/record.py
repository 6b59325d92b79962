"""What a witness says that it did: the words in the requests that it was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import orjson

from engage_sync.destinations.segment.destination import BATCH
from engage_sync.sandbox.options import UPDATE_CART, UPDATE_EMAIL, USERS_FORGET
from tests.chaos.check import Line, Word
from tests.chaos.people import WEB
from tests.chaos.witnesses import HOOK

# The subject of what changes the email of a user.
EMAIL: Final = "email"


@dataclass(slots=True)
class Record:
    """What a witness did, in the order of doing it; what it refused for good; how many requests met which fault.

    `vain` are changes of an email that no user had there.
    """

    requests: list[dict[str, Any]] = field(default_factory=list)
    done: list[Word] = field(default_factory=list)
    refused: set[Word] = field(default_factory=set)
    vain: set[Word] = field(default_factory=set)
    faults: Counter[str] = field(default_factory=Counter)


def record(slug: str, url: str) -> Record:
    """What one witness was asked."""
    answered = httpx.get(f"{url}/sandbox/requests", params={"limit": 10_000_000}, timeout=60.0)
    found = Record(orjson.loads(answered.content)["requests"])
    for request in found.requests:
        if request["fault"]:
            is_status = request["fault"] == "status"
            found.faults[f"status {request['status']}" if is_status else request["fault"]] += 1
        # Of several in one request nobody knows which was meant: each is sent again, by itself in the end.
        if request["status"] == 409 and len(words := list(_words(slug, request))) == 1:
            found.refused.update(words)
        if request["path"] == UPDATE_EMAIL and not request["acted"]:
            found.vain.update(_words(slug, request))
    acted = sorted((request for request in found.requests if request["acted"]), key=lambda each: each["turn"])
    found.done = [word for request in acted for word in _words(slug, request)]
    return found


def is_forgetting(request: Mapping[str, Any]) -> bool:
    return bool(request["path"] == USERS_FORGET or request["body"].get("type") == "forget")


def parts(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a request holds, person by person."""
    body = request["body"]
    for several in ("users", "events", "batch"):
        if several in body:
            return list(body[several])
    return [body]


def held(done: Sequence[Word]) -> dict[Line, str]:
    """The values that a destination holds in the end; a user keeps theirs under another email."""
    found: dict[Line, str] = {}
    for word in done:
        destination, identity, subject = word.line
        if subject == EMAIL:
            before = word.says.removeprefix("was ")
            for line in [line for line in found if line[:2] == (destination, before)]:
                found[line._replace(identity=identity)] = found.pop(line)
        elif word.says.startswith(f"{subject} = "):
            found[word.line] = word.says
    return found


def says(key: str, value: Any) -> str:
    """The words for a value."""
    return f"{key} = {orjson.dumps(value).decode()}"


def _words(slug: str, request: Mapping[str, Any]) -> Iterator[Word]:
    if is_forgetting(request):
        return
    read = _of_call if request["path"] in (BATCH, HOOK) else _of_iterable
    for part in parts(request):
        for identity, said, subject, id_ in read(request["path"], part):
            yield Word(Line(slug, identity, subject), said, id_, request["unix"])


# Whom it is about, what it says, by which definition or source, under which id.
_Meaning = tuple[str, str, str, str | None]


def _of_iterable(path: str, part: Mapping[str, Any]) -> Iterator[_Meaning]:
    if path == UPDATE_EMAIL:
        yield part["newEmail"], f"was {part['currentEmail']}", EMAIL, None
        return
    who = part.get("user", part)
    identity = who.get("email") or who["userId"]
    fields = part.get("dataFields") or {}
    said = {key: value for key, value in fields.items() if key != "email"}
    if path == UPDATE_CART:
        yield identity, "cart", WEB, part["items"][0]["id"]
    elif "items" in part:
        yield identity, "purchase", WEB, part["id"]
    elif "eventName" in part:
        subject = fields.get("audience_key") or fields.get("trait_key") or WEB
        yield identity, part["eventName"], subject, part["id"]
    elif "seq" in fields:
        yield identity, "identify", WEB, str(fields["seq"])
    elif not said or "plan" in said:
        # A call that was replayed leaves out what something newer was said of since.
        yield identity, f"rest of an identify: {said}", WEB, "-"
    else:
        # Several where definitions' identifies go in one request.
        for key, value in said.items():
            yield identity, says(key, value), key, None


def _of_call(path: str, call: Mapping[str, Any]) -> Iterator[_Meaning]:
    traits, context = call.get("traits") or {}, call.get("context") or {}
    identity = traits.get("email") or (context.get("traits") or {}).get("email") or call["userId"]
    key = (context.get("personas") or {}).get("computation_key")
    said = says(key, traits[key]) if key is not None and call["type"] == "identify" else call.get("event", "identify")
    yield identity, said, key or WEB, call["messageId"]
