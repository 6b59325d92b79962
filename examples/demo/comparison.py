"""Does the stand-in hold what the snapshots say? Every field and event of every identity, in both directions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engage_sync.definitions.workspace import load_workspace
from engage_sync.settings import environment_of

# What somebody holds who was told a value once and has none now; nothing at all where it was null.
_NO_VALUE: tuple[Any, ...] = (None, False, 0, [])


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """How a definition is told, and what the snapshot says: value (True for members) by identity."""

    key: str
    is_audience: bool
    identify: bool
    entered: str | None
    exited: str | None
    values: Mapping[str, Any]


def told(workspace: Path, destination: str, members: Callable[[str], Iterable[Mapping[str, Any]]]) -> list[Told]:
    """All that a destination is told of; `members` reads those of a definition by its key, for two at a time."""
    loaded = load_workspace(workspace, environment_of(workspace))
    specs = [spec for spec in loaded.definitions if destination in spec.destinations]
    with ThreadPoolExecutor(2) as readers:
        found = list(readers.map(members, [spec.key for spec in specs]))
    return [
        Told(
            key=spec.key,
            is_audience=spec.kind == "audience",
            identify=spec.destinations[destination].identify,
            entered=spec.destinations[destination].entered,
            exited=spec.destinations[destination].exited,
            values=values(people),
        )
        for spec, people in zip(specs, found, strict=True)
    ]


def identities(person: Mapping[str, Any]) -> list[str]:
    """Whom a profile's messages are about: each of its emails, or the user id where it has none."""
    return list(person["emails"]) or [person["user_id"]]


def values(members: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The snapshot's values by identity, from `members --json`."""
    return {identity: person.get("value", True) for person in members for identity in identities(person)}


def compare(
    expectations: Iterable[Told], users: list[dict[str, Any]], events: list[dict[str, Any]]
) -> tuple[int, list[str]]:
    """The number of facts compared, and a sentence for each that differs."""
    fields = {_identity(user): user["dataFields"] for user in users}
    balance = _balance(events)
    compared, differences = 0, []
    for each in expectations:
        for identity in fields.keys() | each.values.keys():
            expected = each.values.get(identity)
            if each.identify:
                compared += 1
                held = fields.get(identity, {}).get(each.key)
                if held != expected and not (expected is None and held in _NO_VALUE):
                    differences.append(
                        f"{each.key} of {identity}: the snapshot says {expected!r}, the sandbox {held!r}"
                    )
            if each.is_audience and each.entered and each.exited:
                compared += 1
                inside = balance[each.key, each.entered, identity] - balance[each.key, each.exited, identity]
                if inside != bool(expected):
                    differences.append(
                        f"{each.key} of {identity}: the snapshot says {bool(expected)}, the events add up to {inside}"
                    )
    return compared, differences


def _balance(events: Iterable[Mapping[str, Any]]) -> Counter[tuple[str, str, str]]:
    """How often each event came, by audience, event name and identity."""
    return Counter(
        (event["dataFields"]["audience_key"], event["eventName"], _identity(event))
        for event in events
        if "audience_key" in event["dataFields"]
    )


def _identity(held: Mapping[str, Any]) -> str:
    """Those without an email have a made-up one, or none, at the stand-in."""
    email = held["email"]
    return str(held["userId"] if email is None or email.endswith("@placeholder.email") else email)
