"""A call's `integrations`: whether it wants to go to a destination, and what it wishes for it there. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_ALL: Final = "all"
_NOTHING: Final[Mapping[str, Any]] = {}


def leaves_out(call: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Whether the call is not meant for the destination that goes by these names, the most particular first.

    What it says of the destination by name goes before what it says of all; case doesn't count.
    """
    said = _said(call)
    for name in names:
        if said.get(name.lower()) is not None:
            return said[name.lower()] is False
    return said.get(_ALL) is False


def options(call: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
    """What the call asks of the destination: `{"Iterable": {…}}`."""
    said = _said(call)
    for name in names:
        if type(said.get(name.lower())) is dict:
            found: Mapping[str, Any] = said[name.lower()]
            return found
    return _NOTHING


def _said(call: Mapping[str, Any]) -> Mapping[str, Any]:
    integrations = call.get("integrations")
    if type(integrations) is not dict or not integrations:
        return _NOTHING
    return {name.lower(): value for name, value in integrations.items()}
