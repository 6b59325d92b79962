"""JSON Schema of the workspace's files, for completion and checks in editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from engage_sync.definitions.scenario_shapes import ScenarioFileShape
from engage_sync.definitions.shapes import AudienceShape, EngageShape, Shape, TraitShape

FileKind: TypeAlias = Literal["engage", "audience", "trait", "test"]

_SHAPES: dict[FileKind, tuple[type[Shape], str]] = {
    "engage": (EngageShape, "engage.yml"),
    "audience": (AudienceShape, "audiences/*.yml"),
    "trait": (TraitShape, "traits/*.yml"),
    "test": (ScenarioFileShape, "tests/*.yml"),
}


# What stands for a value from the environment, wherever another type is expected.
_VARIABLE: Mapping[str, Any] = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"}


def json_schema(kind: FileKind, destinations: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one kind of file.

    `destinations` are the schemas of the settings of each type of destination; without them, any type is taken.
    """
    shape, title = _SHAPES[kind]
    made = {"$schema": "https://json-schema.org/draft/2020-12/schema", **shape.model_json_schema(), "title": title}
    if kind == "engage" and destinations:
        _tell_types_apart(made["$defs"]["DestinationShape"], destinations)
    return made


def json_schemas(destinations: Mapping[str, Mapping[str, Any]] | None = None) -> dict[FileKind, dict[str, Any]]:
    """The JSON Schemas of all kinds of files."""
    return {kind: json_schema(kind, destinations) for kind in _SHAPES}


def _tell_types_apart(shape: dict[str, Any], destinations: Mapping[str, Mapping[str, Any]]) -> None:
    shape["properties"]["type"]["enum"] = sorted(destinations)
    shape["allOf"] = [
        {
            "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
            "then": {"properties": {"settings": _with_variables(settings)}, "required": ["settings"]},
        }
        for name, settings in sorted(destinations.items())
    ]


def _with_variables(settings: Mapping[str, Any]) -> dict[str, Any]:
    properties = {
        name: value if value.get("type") == "string" and "enum" not in value else {"anyOf": [value, dict(_VARIABLE)]}
        for name, value in settings["properties"].items()
    }
    return {**settings, "properties": properties}
