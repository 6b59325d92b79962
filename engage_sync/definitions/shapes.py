"""The keys of the workspace's files: what each may hold. They check the files, and give the JSON Schema for editors."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, Literal

from apscheduler.triggers.cron import CronTrigger
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

from engage_sync.definitions.language.tree import UNIT_DELTAS, Unit
from engage_sync.definitions.model import HOURLY

SLUG = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
KEY = r"^[a-z0-9_]+$"
DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W_](?:[\w-]{0,61}[^\W_])?")
SILENCE = re.compile(r"(\d{1,6})\s+(minute|hour|day|week)s?")
_LONGEST_SILENCE = timedelta(days=7)
SHARE = re.compile(r"(\d{1,4}(?:\.\d+)?)\s*%")


def wrong(message: str) -> PydanticCustomError:
    """A message of our own, told as it is."""
    return PydanticCustomError("ours", "{message}", {"message": message})


def _cron(value: Any) -> str:
    if not isinstance(value, str):
        raise wrong(f'expected a cron line in quotes such as "{HOURLY}"')
    try:
        CronTrigger.from_crontab(value, timezone="UTC")
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise wrong(f'found {value!r}, expected a cron line of five fields such as "{HOURLY}"') from error
    return value


def _domain(value: Any) -> Any:
    found = value.strip().lower() if isinstance(value, str) else ""
    if not DOMAIN.fullmatch(found):
        raise wrong(f"found {value!r}, expected a domain such as example.com")
    return found


def _cadence(value: Any) -> Any:
    if value in ("hourly", "realtime"):
        return value
    if isinstance(value, str) and len(value.split()) != 5:
        raise wrong(f'found {value!r}, expected hourly, realtime or a cron line such as "{HOURLY}"')
    return _cron(value)


def _history(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, int) and 1 <= value <= 36_525):
        return value
    raise wrong("expected true, false or a number of days")


def _is_off(value: Any) -> bool:
    """YAML reads a bare `off` as text or, in its older version, as false."""
    return value is False or (isinstance(value, str) and value.strip() == "off")


def _share(value: Any) -> Any:
    if _is_off(value):
        return "off"
    match = SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or not float(match[1]) > 0:
        raise wrong("expected a share such as 50%, or off")
    return value


def _silence(value: Any) -> Any:
    if _is_off(value):
        return "off"
    match = SILENCE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or not timedelta(0) < int(match[1]) * UNIT_DELTAS[Unit(match[2])] <= _LONGEST_SILENCE:
        raise wrong("expected a time such as 6 hours, at most 7 days, or off")
    return value


def _guard(value: Any) -> Any:
    return {"max_change": "off", "silence": "off"} if _is_off(value) else value


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise wrong("expected a number")
    return value


def _names_of_audience(value: Any) -> Any:
    return _names(value, {"entered": "Audience Entered", "exited": "Audience Exited"})


def _names_of_trait(value: Any) -> Any:
    return _names(value, {"computed": "Trait Computed"})


def _names(value: Any, defaults: dict[str, str]) -> Any:
    if value is True:
        return defaults
    if value is False:
        return None
    if value == {} or not isinstance(value, dict):
        raise wrong(f"expected true, false or {{{', '.join(f'{key}: {name}' for key, name in defaults.items())}}}")
    return value


def _schema(*types: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": list(types)})


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Cron = Annotated[str, BeforeValidator(_cron)]
Whole = Annotated[int, Field(ge=0, le=1_000_000_000), BeforeValidator(_number)]
Rate = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False), BeforeValidator(_number)]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SpaceShape(Shape):
    slug: Annotated[str, Field(pattern=SLUG)] = "default"
    name: Text = "Default"


class SourceShape(Shape):
    type: Literal["segment", "iterable"] = "segment"
    write_key: Text | None = Field(default=None, description="What a segment source's clients authenticate with.")
    secret: Text | None = Field(default=None, description="What Iterable's webhooks authenticate with.")


Domain = Annotated[str, BeforeValidator(_domain)]


class DestinationShape(Shape):
    type: Text = Field(description="Which kind of destination, such as iterable.")
    settings: dict[str, Any] = Field(default={}, description="The destination's own settings.")
    connected_sources: list[Text] = Field(
        default=[], description="Sources whose own calls are forwarded as they come in."
    )
    rate_limits: dict[str, Rate] = Field(default={}, description="Requests a second, by kind of call.")
    allow: list[Domain] | None = Field(
        default=None, description="Let only emails of these domains through, for staging; nobody else is told anything."
    )


class ScheduleShape(Shape):
    lookback: Cron = Field(default=HOURLY, description="Cron line (UTC) of definitions that time alone can change.")


class GuardShape(Shape):
    max_change: Annotated[str, BeforeValidator(_share)] | None = Field(
        default=None, description="Hold a sync that would change a larger share of the members, such as 50%."
    )
    from_members: Whole | None = Field(default=None, description="From how many members on the share counts.")
    silence: Annotated[str, BeforeValidator(_silence)] | None = Field(
        default=None, description="Hold a live sync after so long without the usual calls, such as 6 hours."
    )


class _OrOff:
    """In the JSON Schema: also the word off."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {"anyOf": [handler(schema), {"const": "off"}]}


GuardOrOff = Annotated[GuardShape | None, BeforeValidator(_guard), _OrOff()]


class EngageShape(Shape):
    """engage.yml"""

    space: SpaceShape = SpaceShape()
    sources: dict[Annotated[str, Field(pattern=SLUG)], SourceShape] = Field(default={})
    destinations: dict[Annotated[str, Field(pattern=SLUG)], DestinationShape] = Field(default={})
    schedule: ScheduleShape = ScheduleShape()
    limits: dict[Text, Whole] = Field(default={}, description="Identifiers a profile may have, by type.")
    guard: GuardOrOff = None


class AudienceTrackShape(Shape):
    entered: Text | None = None
    exited: Text | None = None


class TraitTrackShape(Shape):
    computed: Text


class AudienceTellsShape(Shape):
    identify: bool = False
    track: Annotated[
        AudienceTrackShape | None,
        BeforeValidator(_names_of_audience),
        _schema(
            {"type": "boolean"},
            {
                "type": "object",
                "additionalProperties": False,
                "properties": {"entered": {"type": "string"}, "exited": {"type": "string"}},
            },
        ),
    ] = None


class TraitTellsShape(Shape):
    identify: bool = False
    track: Annotated[
        TraitTrackShape | None,
        BeforeValidator(_names_of_trait),
        _schema(
            {"type": "boolean"},
            {"type": "object", "additionalProperties": False, "properties": {"computed": {"type": "string"}}},
        ),
    ] = None


class DefinitionShape(Shape):
    name: Text
    key: Annotated[str, Field(pattern=KEY)] | None = Field(default=None, description="By default made of the name.")
    description: str = ""
    query: str | None = Field(default=None, description="In the query language.")
    sql: str | None = Field(
        default=None,
        description="Of a trait: one SELECT with a column user_id or email; each other column becomes a trait.",
    )
    type: Literal["USERS", "ACCOUNTS"] = "USERS"
    include_anonymous: bool = Field(default=False, description="Whether profiles without user id and email count.")
    compute_cadence: Annotated[str, BeforeValidator(_cadence)] | None = Field(
        default=None, description="hourly, realtime or a cron line in UTC; by default what the query needs."
    )
    enabled: bool = True
    include_historical_data: Annotated[
        Any, BeforeValidator(_history), _schema({"type": "boolean"}, {"type": "integer", "minimum": 1})
    ] = Field(default=True, description="All history, none of it, or so many days of it.")
    guard: GuardOrOff = None
    on_delete: Literal["keep", "sweep"] | None = Field(
        default=None,
        description="sweep: when it is deleted, everybody who was told hears that there is no value any more.",
    )
    owner: Text | None = None
    tags: list[Text] = Field(default=[])

    @field_validator("key", mode="before")
    @classmethod
    def _key_is_text(cls, value: Any) -> Any:
        if isinstance(value, str) and not re.match(KEY, value):
            raise wrong(f"found {value!r}, expected lower-case letters, digits and underscores")
        return value


class AudienceShape(DefinitionShape):
    """audiences/*.yml"""

    destinations: dict[str, AudienceTellsShape] = Field(default={}, description="Who is told, and how.")


class TraitShape(DefinitionShape):
    """traits/*.yml"""

    destinations: dict[str, TraitTellsShape] = Field(default={}, description="Who is told, and how.")
