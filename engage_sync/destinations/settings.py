"""Settings of destinations: read from engage.yml, and what is wrong with them said without a value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError


class DestinationSettings(BaseModel):
    """The settings of one kind of destination. Unknown names are errors."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


S = TypeVar("S", bound=DestinationSettings)


def read(kind: type[S], settings: Mapping[str, Any]) -> S:
    """The settings of a configuration; pydantic's ValidationError when `problems` would name any."""
    return kind.model_validate(_plain(settings))


def problems(kind: type[DestinationSettings], settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with the settings: name and a sentence each, with the nearest known name, and never a value."""
    known = kind.model_fields
    unknown = [str(name) for name in settings if name not in known]
    found = [(name, f"unknown setting {name!r}{nearest(name, known)}") for name in unknown]
    try:
        kind.model_validate({name: value for name, value in _plain(settings).items() if name in known})
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False, include_input=False):
            name = str(error["loc"][0])
            found.append((name, _sentence(name, error["type"], error["msg"])))
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant, as the end of a sentence; without one, what there is."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"


def header_value(value: SecretStr) -> SecretStr:
    """A secret that can travel in a header; ValueError says what is wrong."""
    text = value.get_secret_value().strip()
    if not text:
        raise ValueError("must not be empty")
    if not (text.isascii() and text.isprintable()):
        raise ValueError("must be printable ASCII, as it travels in a header")
    return SecretStr(text)


def base_url(value: str, example: str) -> str:
    """A URL without a slash at the end, to which paths can be added."""
    url = web_address(value, example).rstrip("/")
    if "?" in url:
        raise ValueError("must not have a query or a fragment")
    return url


def web_address(value: str, example: str) -> str:
    """A URL of HTTP that a request can go to; ValueError says what is wrong."""
    url = value.strip()
    try:
        parts = urlsplit(url)
        is_http = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets or a port that can't be read
        is_http = False
    if not is_http or not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError(f"must be a URL such as {example}")
    if "#" in url:
        raise ValueError("must not have a query or a fragment")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user or password, as URLs are shown and logged")
    return url


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    # Any value may have come out of an environment variable, and is then wrapped as a secret.
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in settings.items()
    }


def _sentence(name: str, kind: str, message: str) -> str:
    if kind == "missing":
        return f"setting {name!r} is missing"
    return f"setting {name!r}: {message.removeprefix('Value error, ')}"
