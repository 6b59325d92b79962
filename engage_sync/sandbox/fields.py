"""Data fields: the names and values that Iterable takes, and the types that a field's first value fixes for good."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from engage_sync.sandbox.answers import Failure

MAX_DEPTH: Final = 200
_LONG: Final = 2**63
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d\d:\d\d", re.ASCII)
_ISO_DATE_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:\d\d)?([.,]\d+)?(Z|[+-]\d\d(:?[0-5]\d)?)?", re.ASCII
)


def check_fields(
    fields: Mapping[str, Any], path: str, problems: dict[str, str], *, strict_dates: bool, depth: int = 1
) -> None:
    """Adds to `problems` what is wrong with names and values, by JSON path, at every depth."""
    for name, value in fields.items():
        if "." in name:
            problems[f"{path}.{name}"] = "Field names must not contain periods"
        _check_value(value, f"{path}.{name}", problems, strict_dates, depth)


def _check_value(value: Any, path: str, problems: dict[str, str], strict_dates: bool, depth: int) -> None:
    if isinstance(value, str):
        if strict_dates and _is_iso_date_time(value):
            problems[path] = "An ISO 8601 date-time would be kept as text; dates are yyyy-MM-dd HH:mm:ss ZZ"
    elif isinstance(value, int):
        if not -_LONG <= value < _LONG:
            problems[path] = "Number out of range"
    elif depth >= MAX_DEPTH and isinstance(value, dict | list):
        problems[path] = "Nested too deep"
    elif isinstance(value, dict):
        check_fields(value, path, problems, strict_dates=strict_dates, depth=depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_value(item, f"{path}[{index}]", problems, strict_dates, depth + 1)


def _is_iso_date_time(text: str) -> bool:
    if len(text) < 16 or text[10] != "T":
        return False
    match = _ISO_DATE_TIME.fullmatch(text)
    if match is None or not "1000" <= text[:4] <= "9998":
        return False
    day, time, seconds, _, zone, _ = match.groups()
    try:
        datetime.strptime(f"{day} {time}{seconds or ':00'}", "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return False
    # Python's strptime takes a leap second; a zone is at most a day away.
    return seconds not in (":60", ":61") and (zone is None or zone == "Z" or zone[1:3] < "24")


class FieldTypes:
    """The types of a project's fields of one kind (profiles, or events). The first value fixes its field's type."""

    def __init__(self, *, strict_numbers: bool) -> None:
        self._types: dict[str, str] = {}
        self._strict_numbers = strict_numbers

    def read(self, *entries: Mapping[str, Any]) -> dict[str, str] | Failure:
        """The types of fields seen for the first time, to be fixed once the request is carried out.

        Of several entries in one request the earlier fix the types for the later.
        """
        fresh: dict[str, str] = {}
        errors: dict[str, Any] = {}
        for path, kind, value in (found for fields in entries for found in _typed(fields, "")):
            known = self._types.get(path) or fresh.get(path)
            if known is None:
                fresh[path] = kind
            elif known != kind and not self._fits(kind, known):
                errors[f"sandbox:::{path}"] = {
                    "incomingTypes": [kind],
                    "expectedType": known,
                    "category": "user",
                    "offendingValue": value,
                    "_type": "UnexpectedType",
                }
        if errors:
            names = ", ".join(name.partition(":::")[2] for name in errors)
            return Failure(
                status=400,
                code="RequestFieldsTypesMismatched",
                message=f"The request does not have the same data types as the project for: {names}",
                params={"validationErrors": errors},
            )
        return fresh

    def fix(self, types: Mapping[str, str]) -> None:
        self._types.update(types)

    def known(self) -> dict[str, str]:
        return dict(sorted(self._types.items()))

    def _fits(self, kind: str, known: str) -> bool:
        # A date is text to a field of text; the reverse is what loses a segment its dates.
        if (kind, known) in (("date", "string"), ("date[]", "string[]")):
            return True
        return not self._strict_numbers and (kind, known) in (("long", "double"), ("long[]", "double[]"))


def _typed(fields: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, Any]]:
    """Path, type and value of all that says a type: null and empty arrays say none."""
    for name, value in fields.items():
        path = f"{prefix}{name}"
        if isinstance(value, list):
            for item in value:
                kind = _kind(item)
                if kind is not None:
                    yield path, f"{kind}[]", item
                if isinstance(item, dict):
                    yield from _typed(item, f"{path}.")
            continue
        kind = _kind(value)
        if kind is not None:
            yield path, kind, value
        if isinstance(value, dict):
            yield from _typed(value, f"{path}.")


def _kind(value: Any) -> str | None:
    match value:
        case bool():
            return "boolean"
        case str():
            return "date" if _DATE.fullmatch(value) else "string"
        case int():
            return "long"
        case float():
            return "double"
        case dict():
            return "object"
        case list():
            return "array"
        case _:
            return None
