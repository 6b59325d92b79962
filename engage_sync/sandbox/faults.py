"""Errors, delays, resets and lost answers on request."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

KINDS: Final = ("status", "delay", "reset", "lost", "half")
_KNOWN: Final = frozenset(
    {"path", "match", "times", "probability", "kind", "status", "headers", "body", "seconds", "up_to", "when"}
)
_CODES: Final[Mapping[int, str]] = {
    400: "BadParams",
    401: "BadApiKey",
    403: "Forbidden",
    404: "NotFound",
    409: "ExternalKeyConflict",
    413: "BatchTooLarge",
    429: "RateLimitExceeded",
}


@dataclass(kw_only=True, slots=True, eq=False)
class Fault:
    """What happens to requests whose path is `path` ("*": any) and whose body has all that `match` names.

    "status" answers without acting, or (`when: "after"`) in spite of having acted; "delay" waits `seconds`, or anything
    from there to `up_to`, before acting or (`when: "after"`) between acting and answering; "reset" cuts the connection
    without acting; "lost" acts, then cuts it; "half" acts, and cuts it in the middle of the answer. `times` counts
    down, None is for ever; `probability` lets some requests pass, which don't count.
    """

    id: int
    kind: str
    path: str = "*"
    match: Mapping[str, Any] = field(default_factory=dict)
    times: int | None = None
    probability: float = 1.0
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    seconds: float = 0.0
    up_to: float | None = None
    when: str = "before"
    hits: int = 0

    def concerns(self, path: str, body: object) -> bool:
        if self.times is not None and self.hits >= self.times:
            return False
        if self.path not in ("*", path):
            return False
        return not self.match or _matches(self.match, body)

    def answer(self) -> Any:
        if self.body is not None:
            return self.body
        code = _CODES.get(self.status, "GenericError" if self.status >= 500 else "Success")
        return {"msg": "A fault that was asked for", "code": code, "params": None}

    def shown(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("id", "hits", *sorted(_KNOWN))}


class Faults:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._faults: list[Fault] = []
        self._last_id = 0

    def __bool__(self) -> bool:
        return bool(self._faults)

    def add(self, description: object) -> Fault:
        """A fault as it came in as JSON; ValueError says what is wrong with it."""
        fields = _checked(description)
        self._last_id += 1
        fault = Fault(id=self._last_id, **fields)
        self._faults.append(fault)
        return fault

    def take(self, path: str, body: object) -> Fault | None:
        """The first fault that concerns a request, counted as used."""
        for fault in self._faults:
            if fault.concerns(path, body) and (fault.probability >= 1 or self._random.random() < fault.probability):
                fault.hits += 1
                return fault
        return None

    def pause(self, fault: Fault) -> float:
        """For how many seconds a delay holds one request."""
        return fault.seconds if fault.up_to is None else self._random.uniform(fault.seconds, fault.up_to)

    def clear(self) -> None:
        self._faults.clear()

    def listed(self) -> list[Fault]:
        return list(self._faults)


def _checked(description: object) -> dict[str, Any]:
    if not isinstance(description, dict):
        raise ValueError("a fault must be an object")
    unknown = sorted(set(description) - _KNOWN)
    if unknown:
        raise ValueError(f"unknown in a fault: {', '.join(unknown)}; known: {', '.join(sorted(_KNOWN))}")
    if description.get("kind") not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}")
    if description.get("when", "before") not in ("before", "after"):
        raise ValueError("when must be before or after")
    for name, types in _TYPES.items():
        if name in description and not isinstance(description[name], types):
            raise ValueError(f"{name} has the wrong type")
    return {name: value for name, value in description.items() if not (value is None and name in ("match", "headers"))}


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "path": (str,),
    "match": (dict, type(None)),
    "times": (int, type(None)),
    "probability": (int, float),
    "status": (int,),
    "headers": (dict, type(None)),
    "seconds": (int, float),
    "up_to": (int, float, type(None)),
}


def _matches(wanted: Mapping[str, Any], body: object) -> bool:
    """Whether all that is wanted is in the body, in its `user`, or in one of the entries of a bulk request."""
    if not isinstance(body, dict):
        return False
    return any(
        all(part.get(name, ...) == value for name, value in wanted.items())
        for part in ({**_part(body, "user"), **body}, *_entries(body, "users"), *_entries(body, "events"))
    )


def _part(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = body.get(name)
    return part if isinstance(part, dict) else {}


def _entries(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    entries = body.get(name)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
