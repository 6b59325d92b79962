"""JSON Schema of the workspace's files, for completion and checks in editors."""

from __future__ import annotations

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


def json_schema(kind: FileKind) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one kind of file."""
    shape, title = _SHAPES[kind]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **shape.model_json_schema(), "title": title}


def json_schemas() -> dict[FileKind, dict[str, Any]]:
    """The JSON Schemas of all kinds of files."""
    return {kind: json_schema(kind) for kind in _SHAPES}
