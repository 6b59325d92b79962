"""One small function for each function of the language: from its call to its node, or None where problems say why."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from lark import Token

from engage_sync.definitions.language import literals, tree
from engage_sync.definitions.language.arguments import (
    Argument,
    Call,
    described,
    expect_count,
    expect_plain,
    read_duration,
    read_one_text,
    read_texts,
    start,
)
from engage_sync.definitions.language.problems import Problems, shortened
from engage_sync.definitions.language.syntax import Syntax
from engage_sync.definitions.language.tree import Comparator

BuildCondition: TypeAlias = Callable[[Syntax, Problems], tree.Boolean | None]
BuildScalar: TypeAlias = Callable[[Syntax, Problems], tree.Scalar | None]

NO_ARGUMENTS = (Comparator.EXISTS, Comparator.ABSENT)
MANY_ARGUMENTS = (Comparator.CONTAINS, Comparator.ONE_OF, Comparator.NONE_OF, Comparator.OMITS)


def event(call: Call, problems: Problems) -> tree.Stream | None:
    name = _one_text(call, problems, "the name of an event")
    return None if name is None else tree.Stream(event=name, position=call.position)


def trait(call: Call, problems: Problems) -> tree.TraitRef | None:
    path = _path(call, problems, "the name of a trait")
    return None if path is None else tree.TraitRef(path=path, position=call.position)


def property_(call: Call, problems: Problems) -> tree.PropertyRef | None:
    path = _path(call, problems, "the name of a property", label="parent")
    if path is None:
        return None
    return tree.PropertyRef(path=path, parent=_has_parent(call), position=call.position)


def context(call: Call, problems: Problems) -> tree.ContextRef | None:
    path = _path(call, problems, "the path of a context field")
    return None if path is None else tree.ContextRef(path=path, position=call.position)


def entity(call: Call, problems: Problems) -> tree.EntityRef | None:
    slug = _one_text(call, problems, "the slug of an entity")
    return None if slug is None else tree.EntityRef(slug=slug, position=call.position)


def literal(call: Call, problems: Problems) -> tree.LiteralValue | None:
    expect_plain(call, problems)
    if not expect_count(call, problems, 1, 1, "one value"):
        return None
    syntax = call.arguments[0].syntax
    if syntax.data == "word" and str(syntax.children[0]).lower() in ("true", "false"):
        # Only here a bare boolean can mean nothing else.
        return tree.LiteralValue(value=str(syntax.children[0]).lower(), position=start(syntax))
    if syntax.data not in ("text", "number", "date", "timestamp"):
        problems.add(start(syntax), f"found {described(syntax)} in literal(), expected a text, a number or a date")
        return None
    return literal_value(syntax, problems)


def literal_value(syntax: Syntax, problems: Problems) -> tree.LiteralValue | None:
    """The value of a text, number, date or timestamp of the grammar."""
    token = syntax.children[0]
    assert isinstance(token, Token)
    readers: dict[str, Callable[[Token, Problems], tree.LiteralType | None]] = {
        "text": literals.read_text,
        "number": literals.read_number,
        "date": literals.read_date,
        "timestamp": literals.read_timestamp,
    }
    value = readers[syntax.data](token, problems)
    return None if value is None else tree.LiteralValue(value=value, position=start(syntax))


def where(call: Call, problems: Problems, build_condition: BuildCondition) -> tree.Where | None:
    expect_plain(call, problems)
    if not expect_count(call, problems, 1, 1, "one condition"):
        return None
    condition = build_condition(call.arguments[0].syntax, problems)
    return None if condition is None else tree.Where(condition=condition, position=call.position)


def sources(call: Call, problems: Problems) -> tree.Sources | None:
    expect_plain(call, problems, label="exclude")
    if not expect_count(call, problems, 1, None, "exclude: and the ids of sources"):
        return None
    if call.arguments[0].label is None:
        problems.add(call.arguments[0].position, "found no exclude: before the ids of sources, expected exclude: 'id'")
    excluded = read_texts(call, problems, "the id of a source")
    return None if excluded is None else tree.Sources(exclude=tuple(excluded), position=call.position)


def within(call: Call, problems: Problems) -> tree.Within | None:
    expect_plain(call, problems, label="parent")
    if not expect_count(call, problems, 1, 1, "one time such as 30 days"):
        return None
    duration = read_duration(call.arguments[0], problems, "within")
    if duration is None:
        return None
    if not _lasting(duration, problems):
        return None
    return tree.Within(duration=duration, of_parent=_has_parent(call), position=call.position)


def _lasting(duration: tree.Duration, problems: Problems) -> bool:
    if duration.amount > 0:
        return True
    problems.add(duration.position, f"found a window of 0 {duration.unit}s, expected at least 1")
    return False


def between(call: Call, problems: Problems) -> tree.Between | None:
    expect_plain(call, problems, label="parent")
    if not expect_count(call, problems, 2, 2, "two times such as 7 days, 10 days"):
        return None
    durations = [read_duration(argument, problems, "between") for argument in call.arguments]
    first, second = durations
    if first is None or second is None:
        return None
    if first.delta == second.delta:
        problems.add(call.position, "found a window between two equal times, expected two different ones")
        return None
    nearest, farthest = sorted((first, second), key=lambda duration: duration.delta)
    return tree.Between(nearest=nearest, farthest=farthest, of_parent=_has_parent(call), position=call.position)


def count(call: Call, problems: Problems) -> tree.Count:
    expect_plain(call, problems)
    expect_count(call, problems, 0, 0, "no argument")
    return tree.Count(position=call.position)


def reducer(call: Call, problems: Problems, build_scalar: BuildScalar) -> tree.Reducer | None:
    if call.name == "count":
        return count(call, problems)
    # `as number` is what min, max and mode do anyway.
    types = {"min": ("string", "number"), "max": ("string", "number"), "mode": ("array", "string", "number")}
    expect_plain(call, problems, types=types.get(call.name, ()))
    most, what = (2, "a property and how often at least") if call.name == "mode" else (1, "one property")
    if not expect_count(call, problems, 1, most, what):
        return None
    of = _event_field(call, problems, build_scalar)
    minimum = _mode_minimum(call.arguments[1], problems) if len(call.arguments) == 2 else 1
    if of is None or minimum is None:
        return None
    as_type = call.arguments[0].as_type
    match call.name:
        case "sum":
            return tree.Sum(of=of, position=call.position)
        case "avg":
            return tree.Avg(of=of, position=call.position)
        case "min":
            return tree.Min(of=of, as_string=as_type == "string", position=call.position)
        case "max":
            return tree.Max(of=of, as_string=as_type == "string", position=call.position)
        case "mode":
            return tree.Mode(of=of, minimum=minimum, as_array=as_type == "array", position=call.position)
        case "first":
            return tree.First(of=of, position=call.position)
        case "last":
            return tree.Last(of=of, position=call.position)
        case _:
            return tree.Unique(of=of, position=call.position)


def _event_field(call: Call, problems: Problems, build_scalar: BuildScalar) -> tree.EventField | None:
    argument = call.arguments[0]
    expected = f"found {{}} in {call.name}(), expected property(…) or context(…)"
    if argument.syntax.data != "chain":
        problems.add(argument.position, expected.format(described(argument.syntax)))
        return None
    built = build_scalar(argument.syntax, problems)
    if built is None or isinstance(built, tree.PropertyRef | tree.ContextRef):
        return built
    problems.add(argument.position, expected.format(described(argument.syntax)))
    return None


def _mode_minimum(argument: Argument, problems: Problems) -> int | None:
    if argument.syntax.data == "number":
        token = argument.syntax.children[0]
        assert isinstance(token, Token)
        number = literals.read_number(token, problems)
        if isinstance(number, int) and 1 <= number <= 1_000_000_000:
            return number
    found = described(argument.syntax)
    problems.add(argument.position, f"found {found} in mode(), expected how often at least, such as 2")
    return None


def comparator_arguments(
    call: Call, comparator: Comparator, problems: Problems, build_scalar: BuildScalar
) -> tuple[tree.Scalar | tree.Duration, ...] | None:
    """The arguments of a comparator written as a function; their types are checked later."""
    expect_plain(call, problems)
    if comparator in NO_ARGUMENTS:
        return () if expect_count(call, problems, 0, 0, "no argument") else None
    many = comparator in MANY_ARGUMENTS
    what = "at least one value" if many else "one time such as 7 days"
    if not many and comparator not in tree.RELATIVE_TO_NOW:
        what = "one value"
    if not expect_count(call, problems, 1, None if many else 1, what):
        return None
    found: list[tree.Scalar | tree.Duration | None] = []
    for argument in call.arguments:
        if comparator in tree.RELATIVE_TO_NOW:
            duration = read_duration(argument, problems, call.name)
            found.append(duration if duration is not None and _lasting(duration, problems) else None)
        else:
            found.append(build_scalar(argument.syntax, problems))
    arguments = tuple(argument for argument in found if argument is not None)
    return arguments if len(arguments) == len(found) else None


def _one_text(call: Call, problems: Problems, what: str) -> str | None:
    expect_plain(call, problems)
    if not expect_count(call, problems, 1, 1, f"{what} in quotes"):
        return None
    return read_one_text(call.arguments[0], problems, call.name, what)


def _path(call: Call, problems: Problems, what: str, *, label: str | None = None) -> tuple[str, ...] | None:
    expect_plain(call, problems, label=label)
    if not expect_count(call, problems, 1, 1, f"{what} in quotes"):
        return None
    text = read_one_text(call.arguments[0], problems, call.name, what)
    if text is None:
        return None
    path = literals.read_path(text)
    if path is None:
        expected = "expected a name between dots (a dot that belongs to a name is written \\\\.)"
        problems.add(call.arguments[0].position, f"found an empty name in the path '{shortened(text)}', {expected}")
    elif path[0] == tree.EACH_ITEM:
        problems.add(call.arguments[0].position, "found $ at the start of a path, expected a name before it: 'items.$'")
    return path


def _has_parent(call: Call) -> bool:
    label = call.arguments[0].label
    return label is not None and label == "parent"
