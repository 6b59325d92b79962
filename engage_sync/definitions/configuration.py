"""From engage.yml to space, sources, destinations, schedule and limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pydantic import SecretStr, ValidationError

from engage_sync.definitions.language.problems import nearest, shortened
from engage_sync.definitions.language.tree import UNIT_DELTAS, Unit
from engage_sync.definitions.model import (
    DEFAULT_LIMITS,
    DestinationConfig,
    Guard,
    Off,
    Schedule,
    Source,
    Space,
)
from engage_sync.definitions.shapes import SHARE, SILENCE, DestinationShape, EngageShape, GuardShape, SourceShape
from engage_sync.definitions.validation import AnyShape, validate
from engage_sync.definitions.yaml_text import YamlFile

SECRET_NAME = re.compile(r"(^|_)(key|secret|token|password)$")


@dataclass(frozen=True, kw_only=True)
class Configuration:
    space: Space = field(default_factory=Space)
    sources: tuple[Source, ...] = ()
    destinations: tuple[DestinationConfig, ...] = ()
    schedule: Schedule = field(default_factory=Schedule)
    limits: Mapping[str, int] = field(default_factory=lambda: dict(DEFAULT_LIMITS))
    guard: Guard | None = None


def read_configuration(file: YamlFile) -> Configuration:
    """What engage.yml says; its problems are told to the file, and what has none is filled with defaults."""
    shape = validate(EngageShape, file)
    _check_sources(file)
    _check_connected(file)
    if shape is None:
        return Configuration()
    return Configuration(
        space=Space(slug=shape.space.slug, name=shape.space.name),
        sources=tuple(_source(slug, source) for slug, source in shape.sources.items()),
        destinations=tuple(_destination(slug, destination) for slug, destination in shape.destinations.items()),
        schedule=Schedule(lookback=shape.schedule.lookback),
        limits={**DEFAULT_LIMITS, **shape.limits},
        guard=guard(shape.guard),
    )


def destination_slugs(file: YamlFile) -> list[str] | None:
    """The destinations that engage.yml names, even where it has problems; None where nobody can tell."""
    return _slugs(file, "destinations")


def source_slugs(file: YamlFile) -> list[str] | None:
    """The sources that engage.yml names, likewise."""
    return _slugs(file, "sources")


def guard(shape: GuardShape | None) -> Guard | None:
    if shape is None:
        return None
    return Guard(max_change=_share(shape.max_change), from_members=shape.from_members, silence=_silence(shape.silence))


def _share(value: str | None) -> float | Off | None:
    match = SHARE.fullmatch(value.strip()) if value else None
    if match is None:
        return None if value is None else "off"
    return float(match[1]) / 100


def _silence(value: str | None) -> timedelta | Off | None:
    match = SILENCE.fullmatch(value.strip()) if value else None
    if match is None:
        return None if value is None else "off"
    return int(match[1]) * UNIT_DELTAS[Unit(match[2])]


def _slugs(file: YamlFile, section: str) -> list[str] | None:
    if file.data is None:
        return None
    found = file.data.get(section, {})
    return list(found) if isinstance(found, dict) else None


def _readable(shape: type[AnyShape], file: YamlFile, section: str) -> dict[str, AnyShape]:
    """What can be read of a section, so that one mistake in the file doesn't hide another."""
    readable = {}
    for slug, data in _section(file, section).items():
        with suppress(ValidationError):
            readable[slug] = shape.model_validate(data)
    return readable


def _section(file: YamlFile, section: str) -> dict[str, Any]:
    found = (file.data or {}).get(section)
    return found if isinstance(found, dict) else {}


def _check_sources(file: YamlFile) -> None:
    by_write_key: dict[str, str] = {}
    for slug, source in _readable(SourceShape, file, "sources").items():
        path = ("sources", slug)
        needed, other = ("write_key", "secret") if source.type == "segment" else ("secret", "write_key")
        if getattr(source, other) is not None:
            file.tell(file.at_key((*path, other)), f"a source of type {source.type} has no {other}, but a {needed}")
        if getattr(source, needed) is None and (*path, needed) not in file.broken:
            file.tell(file.at_key(path), f"the source '{slug}' needs a {needed}")
        if source.write_key is not None:
            first = by_write_key.setdefault(source.write_key, slug)
            if first != slug:
                message = f"the sources '{first}' and '{slug}' have the same write_key"
                file.tell(file.at_value((*path, "write_key")), message)


def _check_connected(file: YamlFile) -> None:
    known = _section(file, "sources")
    of_iterable = {slug for slug, each in _readable(SourceShape, file, "sources").items() if each.type == "iterable"}
    for slug, destination in _readable(DestinationShape, file, "destinations").items():
        for index, source in enumerate(destination.connected_sources):
            if source not in known:
                message = f"unknown source '{shortened(source)}'{nearest(source, known)}"
            elif source in of_iterable and destination.type == "iterable":
                message = f"what Iterable tells never goes back to it; take '{source}' out of connected_sources"
            else:
                continue
            file.tell(file.at_value(("destinations", slug, "connected_sources", index)), message)


def _source(slug: str, shape: SourceShape) -> Source:
    return Source(
        slug=slug,
        type=shape.type,
        write_key=None if shape.write_key is None else SecretStr(shape.write_key),
        secret=None if shape.secret is None else SecretStr(shape.secret),
    )


def _destination(slug: str, shape: DestinationShape) -> DestinationConfig:
    return DestinationConfig(
        slug=slug,
        type=shape.type,
        settings={name: _setting(name, value) for name, value in shape.settings.items()},
        connected_sources=tuple(shape.connected_sources),
        rate_limits=dict(shape.rate_limits),
        allow=None if shape.allow is None else tuple(shape.allow),
    )


def _setting(name: str, value: Any) -> Any:
    return SecretStr(value) if isinstance(value, str) and SECRET_NAME.search(name.lower()) else value
