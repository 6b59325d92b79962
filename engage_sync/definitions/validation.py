"""Checks a file's data against its shape, and says what is wrong in the words and at the places of the file."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from engage_sync.definitions.language.problems import listed, nearest, shortened
from engage_sync.definitions.shapes import KEY, Shape
from engage_sync.definitions.yaml_text import Path, YamlFile

AnyShape = TypeVar("AnyShape", bound=Shape)

# What a message expects, by pydantic's name for the mistake.
EXPECTED = {
    "string_type": "a text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "list_type": "a list",
}


def validate(shape: type[AnyShape], file: YamlFile) -> AnyShape | None:
    """The file's data in its shape; None where the file has problems, told to the file."""
    if file.data is None:
        return None
    try:
        return shape.model_validate(file.data)
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False):
            _tell(shape, file, error)
        return None


def _tell(shape: type[Shape], file: YamlFile, error: ErrorDetails) -> None:
    path: Path = error["loc"]
    if path in file.broken:
        return
    match error["type"]:
        case "extra_forbidden":
            name = str(path[-1])
            fields = _shape_at(shape, path[:-1]).model_fields
            known = [field.alias or key for key, field in fields.items()]
            hint = nearest(name, known) or f"; expected {listed(known)}"
            file.tell(file.at_key(path), f"unknown key '{shortened(name)}'{hint}")
        case "missing":
            stands_alone = not path[:-1] or isinstance(path[-2], int)
            file.tell(file.at_value(path[:-1]) if stands_alone else file.at_key(path[:-1]), f"missing key '{path[-1]}'")
        case "string_pattern_mismatch":
            _tell_pattern(file, path, error)
        case _:
            file.tell(file.at_value(path), _message(error))


def _tell_pattern(file: YamlFile, path: Path, error: ErrorDetails) -> None:
    in_key = path[-1] == "[key]"
    is_key = error.get("ctx", {}).get("pattern") == KEY
    letters = "lower-case letters, digits and underscores" if is_key else "letters, digits, - and _"
    place = file.at_key(path[:-1]) if in_key else file.at_value(path)
    file.tell(place, f"found '{shortened(str(error['input']))}', expected {letters}")


def _message(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "ours":
            return error["msg"]
        case "string_too_short":
            return "found an empty text, expected one that isn't empty"
        case "greater_than":
            return f"expected a number above {context['gt']:g}"
        case "greater_than_equal":
            return f"expected a number of at least {context['ge']:g}"
        case "less_than_equal":
            return f"expected a number of at most {context['le']:g}"
        case "literal_error":
            given = error["input"]
            found = f"'{shortened(given)}'" if isinstance(given, str) else _what(given)
            return f"found {found}, expected {context['expected']}"
        case kind if kind in EXPECTED:
            quotes = " in quotes" if kind == "string_type" and isinstance(error["input"], int | float) else ""
            return f"found {_what(error['input'])}, expected {EXPECTED[kind]}{quotes}"
        case _:
            return error["msg"]


def _what(value: Any) -> str:
    """The kind of a value: never the value itself, which may be a secret."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text" if value else "an empty text"
        case list():
            return "a list"
        case _:
            return "keys and values"


def _shape_at(shape: type[Shape], path: Path) -> type[Shape]:
    """The shape that holds the keys at this path."""
    found: list[type[Shape]] = [shape]
    for name in path:
        field = found[-1].model_fields.get(str(name))
        below = [] if field is None else list(_shapes_in(field.annotation))
        # The names of sources and destinations lie between two shapes.
        found += below[:1]
    return found[-1]


def _shapes_in(annotation: Any) -> Iterator[type[Shape]]:
    if inspect.isclass(annotation) and issubclass(annotation, Shape):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _shapes_in(argument)
