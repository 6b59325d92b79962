"""The keys of tests/*.yml: what each may hold. They check the files, and give the JSON Schema for editors."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from engage_sync.definitions.shapes import Shape, Text, wrong

NOTHING = "nothing"
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def _instant(value: Any) -> datetime:
    try:
        read = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise wrong("expected an instant such as 2026-01-31T12:00:00Z") from None
    aware = read if read.tzinfo else read.replace(tzinfo=UTC)
    if not _FIRST <= aware < _LAST:
        raise wrong("expected an instant between 1970 and 2200")
    return aware


def _people(value: Any) -> Any:
    return [_person(each) for each in value] if isinstance(value, list) else [_person(value)]


def _person(value: Any) -> Any:
    # A user id is often a number.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _names(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _told(value: Any) -> Any:
    return {} if value == NOTHING else value


def _scalar(*types: str) -> WithJsonSchema:
    return WithJsonSchema({"type": list(types)})


_LIST = {"type": "array", "items": {"type": ["string", "integer"]}}
People = Annotated[
    list[str],
    BeforeValidator(_people),
    WithJsonSchema({"anyOf": [{"type": ["string", "integer"]}, _LIST]}),
]
Identifier = Annotated[Any, _scalar("string", "number")]
Instant = Annotated[Any, WithJsonSchema({"type": ["string", "number"], "description": "ISO 8601, or a Unix time."})]
PEOPLE = "By definition: user_id:u1, email:ann@example.com, anonymous_id:a1; u1 and ann@example.com for short."


class CallShape(Shape):
    """A Segment call, as a client sends it."""

    type: Literal["identify", "track", "page", "screen", "group", "alias"]
    event: Text | None = Field(default=None, description="Of track: the event's name.")
    name: Text | None = Field(default=None, description="Of page and screen.")
    category: Text | None = Field(default=None, description="Of page and screen.")
    userId: Identifier = None  # noqa: N815 - Segment's names
    anonymousId: Identifier = None  # noqa: N815
    groupId: Identifier = None  # noqa: N815
    previousId: Identifier = None  # noqa: N815
    traits: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    integrations: dict[str, Any] | None = None
    timestamp: Instant = Field(default=None, description="When it happened; by default the instant of its step.")
    messageId: Identifier = None  # noqa: N815
    source: Text | None = Field(default=None, description="Of engage.yml; by default the first one there.")


class ToldShape(Shape):
    """What an identity is told about a definition, and nothing else; `nothing` for no message at all."""

    identify: Any = Field(default=None, description="The value: true, false, or a trait's.")
    track: Annotated[
        list[Text],
        BeforeValidator(_names),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    ] = Field(default=[], description="The names of the events.")


Told = Annotated[
    ToldShape,
    BeforeValidator(_told),
    WithJsonSchema({"anyOf": [{"const": NOTHING}, ToldShape.model_json_schema()]}),
]


class StepShape(Shape):
    """An instant at which everything is computed, and what must be true then."""

    at: Annotated[
        datetime,
        BeforeValidator(_instant),
        WithJsonSchema({"type": "string", "description": "The instant; UTC without a zone."}),
    ]
    calls: list[CallShape] = Field(default=[], description="Calls that arrive before it, after the step above.")
    in_: dict[str, People] = Field(default={}, alias="in", description=f"Who is in, or has a value. {PEOPLE}")
    out: dict[str, People] = Field(default={}, description=f"Who isn't in, or has no value. {PEOPLE}")
    members: dict[str, People] = Field(default={}, description=f"Who is in, and nobody else. {PEOPLE}")
    values: dict[str, dict[str, Any]] = Field(
        default={}, description="Of computed traits, by definition and person; null for no value."
    )
    messages: dict[str, dict[str, Told]] = Field(
        default={}, description="What destinations are told at this step, by definition and the identity told."
    )


class ScenarioShape(Shape):
    """One test."""

    name: Text
    given: list[CallShape] = Field(default=[], description="Segment calls that arrive before the first step.")
    then: list[StepShape] = Field(description="Steps, in the order of time.")


class ScenarioFileShape(Shape):
    """tests/*.yml: one test, or several under `tests`, which then share the calls of `given`."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["name", "then"]}, {"required": ["tests"]}]},
    )

    name: Text | None = None
    given: list[CallShape] = Field(default=[], description="Segment calls that arrive before the first step.")
    then: list[StepShape] | None = Field(default=None, description="Steps, in the order of time.")
    tests: list[ScenarioShape] | None = Field(default=None, description="Several tests instead of one.")
