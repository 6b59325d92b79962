"""The workspaces that a run may have: which destinations, how many emails a person, and what is computed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.chaos.witnesses import HOOK, SECRET, WRITE_KEY


@dataclass(frozen=True, kw_only=True)
class World:
    """`settings` of each destination; its type is its settings' `type`, which is Iterable without one.

    With `most_emails` 1, a new email takes the old one's place.
    """

    name: str
    settings: Mapping[str, Mapping[str, Any]]
    most_emails: int

    @property
    def destinations(self) -> tuple[str, ...]:
        return tuple(self.settings)

    def type_of(self, destination: str) -> str:
        return str(self.settings[destination].get("type", "iterable"))


# People with several emails, beside each other; one destination is spoken to in bulk, one says several things at once.
MANY: Final = World(
    name="many",
    settings={"iterable": {}, "bulk": {"bulk": "always"}, "joined": {"coalesce": True}},
    most_emails=3,
)
# People with one email, which changes, in one destination by an update; two take Segment's calls as they are.
ONE: Final = World(
    name="one",
    settings={
        "changing": {"email_change": "update", "coalesce": True},
        "segment": {"type": "segment"},
        "hook": {"type": "webhook"},
    },
    most_emails=1,
)
WORLDS: Final = {world.name: world for world in (MANY, ONE)}

_TOLD: Final = {
    "both": {"identify": True, "track": True},
    "identify": {"identify": True},
}
_DEFINITIONS: Final = {
    "audiences/gold.yml": ("Gold", "trait('plan') = 'gold'", "both"),
    "audiences/loyal.yml": ("Loyal", "trait('gold') = 'true' AND trait('orders') >= 2", "both"),
    "audiences/big_spender.yml": ("Big Spender", "trait('spent') > 100", "identify"),
    "traits/spent.yml": ("Spent", "event('Order Completed').sum(property('total'))", "both"),
    "traits/orders.yml": ("Orders", "event('Order Completed').count()", "identify"),
    "traits/last_viewed.yml": ("Last Viewed", "event('Product Viewed').last(property('sku'))", "both"),
}
# What time alone ends; it takes a minute or two.
_LOOKBACK: Final = {
    "audiences/active.yml": ("Active", "event('Product Viewed').within(1 minute).count() >= 1", "both"),
}
KEYS: Final = tuple(Path(name).stem for name in _DEFINITIONS)
LOOKBACK_KEYS: Final = tuple(Path(name).stem for name in _LOOKBACK)


def write(folder: Path, world: World, witnesses: Mapping[str, str], *, lookback: bool) -> None:
    """The workspace's files; JSON is YAML. `witnesses` are the addresses of the destinations."""
    definitions = _DEFINITIONS | (_LOOKBACK if lookback else {})
    files = {"engage.yml": _engage(world, witnesses)}
    for path, (name, query, told) in definitions.items():
        files[path] = {
            "name": name,
            "query": query,
            "destinations": dict.fromkeys(world.destinations, _TOLD[told]),
        }
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(content, indent=2))


def _engage(world: World, witnesses: Mapping[str, str]) -> dict[str, Any]:
    destinations: dict[str, Any] = {}
    for slug, settings in world.settings.items():
        own = {name: value for name, value in settings.items() if name != "type"}
        type_ = world.type_of(slug)
        where = _where(type_, witnesses[slug])
        destinations[slug] = {"type": type_, "settings": {**where, **own}, "connected_sources": ["web"]}
    limits = {"limits": {"email": 1}} if world.most_emails == 1 else {}
    return {
        "space": {"slug": "shop"},
        "sources": {"web": {"write_key": "web-key"}, "app": {"write_key": "app-key"}},
        "destinations": destinations,
        "schedule": {"lookback": "* * * * *"},
        "guard": "off",
        **limits,
    }


def _where(type_: str, url: str) -> dict[str, str]:
    """How a destination of this type is addressed, and shows who speaks."""
    match type_:
        case "segment":
            return {"write_key": WRITE_KEY, "base_url": url}
        case "webhook":
            return {"url": f"{url}{HOOK}", "secret": SECRET}
        case _:
            return {"api_key": "sandbox-key", "base_url": url}
