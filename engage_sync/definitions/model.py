"""What a workspace says, as plain data: the space, where calls come from, where they go, and the definitions.

Made by `load_workspace` from files, or by `DefinitionSpec.from_document` from a stored version. Secrets are wrapped, so
that no repr or log shows them, and no document holds one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import SecretStr

from engage_sync import errors
from engage_sync.definitions import language

Kind: TypeAlias = language.Kind
SourceType: TypeAlias = Literal["segment", "iterable"]

HOURLY = "0 * * * *"
DEFAULT_LIMITS: Mapping[str, int] = {"user_id": 1}
DEFAULT_LIMIT = 5
"""Identifiers a profile may have of a type that no limit names."""


@dataclass(frozen=True, kw_only=True)
class Space:
    slug: str = "default"
    name: str = "Default"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where calls come from. A segment source has a write key; an iterable one the secret of its webhook."""

    slug: str
    type: SourceType = "segment"
    write_key: SecretStr | None = None
    secret: SecretStr | None = None


@dataclass(frozen=True, kw_only=True)
class DestinationConfig:
    """`settings` are the destination's own: it checks them. `rate_limits` are requests a second by kind of call.

    `allow`: only emails of these domains are let through, in lower case; None: everybody.
    """

    slug: str
    type: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    connected_sources: tuple[str, ...] = ()
    rate_limits: Mapping[str, float] = field(default_factory=dict)
    allow: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """`lookback` is a cron line in UTC."""

    lookback: str = HOURLY


Off: TypeAlias = Literal["off"]


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What holds a sync; None: as whoever is asked next says, the workspace after the definition.

    `max_change` is a share of the members, 0.5 for 50 %; counted from `from_members` members on. `silence`: without its
    usual calls for so long, an input counts as silent.
    """

    max_change: float | Off | None = None
    from_members: int | None = None
    silence: timedelta | Off | None = None

    def over(self, other: Guard) -> Guard:
        """This guard, and where it says nothing, the other one."""
        return Guard(
            max_change=other.max_change if self.max_change is None else self.max_change,
            from_members=other.from_members if self.from_members is None else self.from_members,
            silence=other.silence if self.silence is None else self.silence,
        )


NO_GUARD = Guard(max_change="off", silence="off")
DEFAULT_GUARD = Guard(max_change=0.5, from_members=1_000, silence=timedelta(hours=6))
"""What holds where a workspace says nothing."""


@dataclass(frozen=True, kw_only=True)
class TrackNames:
    """The events that tell of a change; None for what isn't told. Audiences enter and exit, traits are computed."""

    entered: str | None = None
    exited: str | None = None
    computed: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tells:
    """How one destination is told of a definition's changes."""

    identify: bool = False
    track: TrackNames | None = None

    @property
    def entered(self) -> str | None:
        return self.track.entered if self.track else None

    @property
    def exited(self) -> str | None:
        return self.track.exited if self.track else None

    @property
    def computed(self) -> str | None:
        return self.track.computed if self.track else None


@dataclass(frozen=True, kw_only=True)
class DefinitionSpec:
    """An audience or a computed trait. `file` is relative to the workspace, None where it came from elsewhere."""

    kind: Kind
    key: str
    name: str
    query: str
    tree: language.Definition
    description: str = ""
    include_anonymous: bool = False
    destinations: Mapping[str, Tells] = field(default_factory=dict)
    enabled: bool = True
    compute_cadence: str | None = None  # hourly, realtime or a cron line; None: by what the query needs
    include_historical_data: bool | int = True
    guard: Guard | None = None
    on_delete: str | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()
    file: str | None = field(default=None, compare=False)
    position: language.Position = field(default=language.Position(1, 1), compare=False, repr=False)

    @property
    def of_accounts(self) -> bool:
        """Whether it asks of accounts, and tells their users."""
        return isinstance(self.tree, language.tree.OfAccounts)

    def document(self) -> dict[str, Any]:
        """All that makes a version, as JSON takes it; equal for equal definitions, wherever their files are."""
        rows = {}
        if isinstance(self.tree, language.tree.SqlRows):
            rows = {"sql": self.tree.sql, "columns": list(self.tree.columns), "gone": list(self.tree.gone)}
        return {
            **rows,
            "key": self.key,
            "name": self.name,
            "description": self.description,
            "query": self.query,
            "type": "ACCOUNTS" if self.of_accounts else "USERS",
            "enabled": self.enabled,
            "include_anonymous": self.include_anonymous,
            "include_historical_data": self.include_historical_data,
            "compute_cadence": self.compute_cadence,
            "destinations": {slug: _tells_document(tells) for slug, tells in sorted(self.destinations.items())},
            "guard": _guard_document(self.guard),
            "on_delete": self.on_delete,
            "owner": self.owner,
            "tags": list(self.tags),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any], kind: Kind, *, file: str | None = None) -> DefinitionSpec:
        """What `document()` gave, again. Raises QueryInvalid if its query no longer holds."""
        return cls(
            kind=kind,
            key=document["key"],
            name=document["name"],
            query=document["query"],
            tree=_tree(document, kind),
            description=document.get("description", ""),
            include_anonymous=document.get("include_anonymous", False),
            destinations={slug: _tells(tells) for slug, tells in document.get("destinations", {}).items()},
            enabled=document.get("enabled", True),
            compute_cadence=document.get("compute_cadence"),
            include_historical_data=document.get("include_historical_data", True),
            guard=_guard(document.get("guard")),
            on_delete=document.get("on_delete"),
            owner=document.get("owner"),
            tags=tuple(document.get("tags", ())),
            file=file,
        )

    def computes_like(self, other: DefinitionSpec) -> bool:
        """Whether both have the same members or values, so that a change from one to the other recomputes nothing."""
        return (
            self.kind == other.kind
            and self.tree == other.tree
            and self.include_anonymous == other.include_anonymous
            and self.include_historical_data == other.include_historical_data
        )


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """All files of a workspace, checked. `definitions` are in the order of their files; `warnings` stop nothing."""

    path: Path
    space: Space = Space()
    sources: tuple[Source, ...] = ()
    destinations: tuple[DestinationConfig, ...] = ()
    schedule: Schedule = Schedule()
    limits: Mapping[str, int] = field(default_factory=lambda: dict(DEFAULT_LIMITS))
    guard: Guard | None = None
    definitions: tuple[DefinitionSpec, ...] = ()
    warnings: tuple[errors.Problem, ...] = ()

    def limit(self, identifier_type: str) -> int:
        """How many identifiers of this type a profile may have."""
        return self.limits.get(identifier_type, DEFAULT_LIMIT)

    def lookback_keys(self) -> frozenset[str]:
        """The definitions that time alone can change, by their own query or by what they refer to."""
        found: frozenset[str] = frozenset()
        while True:
            keys = (each.key for each in self.definitions if language.is_lookback(each.tree, found))
            grown = found | frozenset(keys)
            if grown == found:
                return found
            found = grown


def _tree(document: Mapping[str, Any], kind: Kind) -> language.Definition:
    if "sql" in document:
        columns, gone = tuple(document["columns"]), tuple(document["gone"])
        return language.tree.SqlRows(sql=document["sql"], columns=columns, gone=gone)
    of_accounts = document.get("type") == "ACCOUNTS"
    return language.parse(document["query"], kind=kind, of_accounts=of_accounts, allow_uncomputed=True)


def _tells_document(tells: Tells) -> dict[str, Any]:
    names = None
    if tells.track is not None:
        pairs = (("entered", tells.entered), ("exited", tells.exited), ("computed", tells.computed))
        names = {name: value for name, value in pairs if value is not None}
    return {"identify": tells.identify, "track": names}


def _tells(document: Mapping[str, Any]) -> Tells:
    track = document.get("track")
    return Tells(identify=document["identify"], track=None if track is None else TrackNames(**track))


def _guard_document(guard: Guard | None) -> dict[str, Any] | None:
    if guard is None:
        return None
    silence = guard.silence.total_seconds() if isinstance(guard.silence, timedelta) else guard.silence
    return {"max_change": guard.max_change, "from_members": guard.from_members, "silence_seconds": silence}


def _guard(document: Mapping[str, Any] | None) -> Guard | None:
    if document is None:
        return None
    seconds = document["silence_seconds"]
    return Guard(
        max_change=document["max_change"],
        from_members=document["from_members"],
        silence=seconds if seconds is None or seconds == "off" else timedelta(seconds=seconds),
    )
