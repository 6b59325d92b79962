"""One YAML file read with the place of everything in it: plain data for validation, places for messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from engage_sync import errors
from engage_sync.definitions.language import Position
from engage_sync.definitions.language.problems import shortened
from engage_sync.definitions.places import Place, place_of

Path: TypeAlias = tuple[str | int, ...]

MAX_NODES = 20_000  # aliases can make a small file endless
MAX_DEPTH = 30

ENVIRONMENT = re.compile(r"\$\$\{|\$\{([^}]*)\}?")
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(kw_only=True)
class YamlFile:
    """`data` is what the file says, with the environment filled in; None when it can't be read.

    `keys` and `values` are places by path, such as ("destinations", "iterable", "type"); `replaced` are the paths of
    values that came from the environment in part, `broken` those of them that lack a variable.
    """

    name: str
    data: dict[str, Any] | None = None
    keys: dict[Path, Position] = field(default_factory=dict)
    values: dict[Path, Position] = field(default_factory=dict)
    texts: dict[Path, Place] = field(default_factory=dict)
    replaced: set[Path] = field(default_factory=set)
    broken: set[Path] = field(default_factory=set)
    problems: list[errors.Problem] = field(default_factory=list)

    def tell(self, position: Position, message: str) -> None:
        self.problems.append(self.problem(position, message))

    def problem(self, position: Position, message: str) -> errors.Problem:
        return errors.Problem(path=self.name, line=position.line, column=position.column, message=message)

    def at_key(self, path: Path) -> Position:
        """The place of a key, or of the nearest thing above it that has one."""
        return self._nearest(path, self.keys)

    def at_value(self, path: Path) -> Position:
        return self._nearest(path, self.values)

    def in_text(self, path: Path, line: int, column: int) -> Position:
        """The place of a line and column (from 1) within a text of the file."""
        place = self.texts.get(path)
        if place is None or path in self.replaced:
            return self.at_value(path)
        return place.at(line, column)

    @staticmethod
    def _nearest(path: Path, places: Mapping[Path, Position]) -> Position:
        above = (path[:length] for length in range(len(path), -1, -1))
        return next((places[each] for each in above if each in places), Position(1, 1))


def read_yaml(
    name: str, text: str, environment: Mapping[str, str], *, is_unneeded: Callable[[Path], bool] | None = None
) -> YamlFile:
    """Reads the text of the file of this name. Raises nothing: what is wrong is among the problems.

    A variable that the environment lacks is a problem, unless `is_unneeded` says of the value's path that nobody will
    use it: the variable's own name then stands for it.
    """
    file = YamlFile(name=name)
    root = _compose(file, text)
    if file.problems:
        return file
    if root is None:
        file.tell(Position(1, 1), "the file is empty, expected keys such as name:")
    elif not isinstance(root, MappingNode):
        file.tell(_start(root), f"found {_what(root)}, expected keys such as name:")
    else:
        file.data = _Reader(file=file, text=text, environment=environment, is_unneeded=is_unneeded).mapping(root, ())
    return file


def _compose(file: YamlFile, text: str) -> Node | None:
    try:
        return YAML(typ="safe", pure=True).compose(text)  # type: ignore[no-any-return]
    except ReaderError as error:
        before = text[: error.position] if isinstance(error.position, int) else ""
        position = Position(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        file.tell(position, "found a character that YAML doesn't allow")
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
        file.tell(position, _explained(text, position, error.problem or "can't be read as YAML"))
    except RecursionError:
        file.tell(Position(1, 1), "found keys nested too deep")
    except (YAMLError, ValueError) as error:
        file.tell(Position(1, 1), f"can't be read as YAML: {shortened(str(error), 80)}")
    return None


def _explained(text: str, position: Position, problem: str) -> str:
    lines = text.split("\n")
    line = lines[position.line - 1] if position.line <= len(lines) else ""
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent:
        return "found a tab in the indentation, expected spaces"
    if "another document" in problem:
        return "found --- in the middle, expected one document in a file"
    if "mapping values are not allowed" in problem and ": " in line[: position.column - 1]:
        # As in sources(exclude: 'a'), which YAML takes for a key and a value.
        return "found a second ': ' on the line; expected text that holds one in quotes, or below the key after |"
    return f"malformed YAML: {problem}"


@dataclass(kw_only=True)
class _Reader:
    file: YamlFile
    text: str
    environment: Mapping[str, str]
    is_unneeded: Callable[[Path], bool] | None
    nodes: int = 0

    def mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.file.values[path] = _start(node)
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self.file.tell(_start(key_node), f"found {_what(key_node)} as a key, expected a name")
                continue
            key = str(key_node.value)
            below = (*path, key)
            if below in self.file.keys:
                first = self.file.keys[below].line
                self.file.tell(_start(key_node), f"found the key {shortened(key)} twice, first on line {first}")
                continue
            self.file.keys[below] = _start(key_node)
            found[key] = self.value(value_node, below)
        return found

    def value(self, node: Node, path: Path) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(path) > MAX_DEPTH:
            if not any("too much" in problem.message for problem in self.file.problems):
                self.file.tell(_start(node), "found too much: keys nested too deep, or aliases without end")
            return None
        self.file.values[path] = _start(node)
        if isinstance(node, MappingNode):
            return self.mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        place = place_of(node, self.text)
        self.file.texts[path] = place
        return self.filled(_scalar(node, self.file), path, place)

    def filled(self, value: Any, path: Path, place: Place) -> Any:
        """The value with `${NAME}` from the environment."""
        if not isinstance(value, str) or "${" not in value:
            return value
        self.file.replaced.add(path)
        told = len(self.file.problems)
        is_unneeded = self.is_unneeded is not None and self.is_unneeded(path)
        filled = "".join(self.pieces(value, place, is_unneeded=is_unneeded))
        if len(self.file.problems) > told:
            self.file.broken.add(path)
        return filled

    def pieces(self, value: str, place: Place, *, is_unneeded: bool) -> Iterator[str]:
        end = 0
        for match in ENVIRONMENT.finditer(value):
            yield value[end : match.start()]
            position = place.at_offset(match.start())
            yield "${" if match[0] == "$${" else self.variable(match, position, is_unneeded=is_unneeded)
            end = match.end()
        yield value[end:]

    def variable(self, match: re.Match[str], position: Position, *, is_unneeded: bool) -> str:
        name = match[1]
        if not ENVIRONMENT_NAME.fullmatch(name) or not match[0].endswith("}"):
            found = shortened(match[0])
            self.file.tell(position, f"found {found}, expected ${{NAME}}, or $${{ for the plain characters")
        elif name not in self.environment:
            if is_unneeded:
                return name
            self.file.tell(position, f"{name} is not in the environment; set it, or put it into .env")
        else:
            return self.environment[name]
        return ""


def _start(node: Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def _what(node: Node) -> str:
    if isinstance(node, SequenceNode):
        return "a list"
    return "keys and values" if isinstance(node, MappingNode) else f"the value {shortened(str(node.value))}"


def _scalar(node: ScalarNode, file: YamlFile) -> str | int | float | bool | None:
    """The value by YAML 1.2's core types; dates stay text, as no key here takes one."""
    value = str(node.value)
    match str(node.tag).rpartition(":")[2]:
        case "null":
            return None
        case "bool":
            return value.lower() in ("true", "yes", "on", "y")
        case "int":
            return _integer(value)
        case "float":
            return _float(value)
        case "str" | "timestamp":
            return value
        case _:
            file.tell(_start(node), f"found the tag {shortened(str(node.tag))}, expected a plain value")
            return value


def _integer(value: str) -> int | str:
    digits = value.replace("_", "")
    try:
        return int(digits, 0) if digits.lstrip("+-")[:2].lower() in ("0x", "0o", "0b") else int(digits)
    except ValueError:
        return value


def _float(value: str) -> float | str:
    try:
        return float(value.replace("_", ""))
    except ValueError:
        return value
