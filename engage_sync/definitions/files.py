"""The files of a workspace: which there are, and their text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engage_sync.definitions.language import Position
from engage_sync.definitions.model import Kind
from engage_sync.definitions.yaml_text import Path as KeyPath
from engage_sync.definitions.yaml_text import YamlFile, read_yaml

ENDINGS = (".yml", ".yaml")
FOLDERS: Mapping[str, Kind] = {"audiences": "audience", "traits": "computed_trait"}
TESTS = "tests"
MAX_BYTES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class WorkspaceFiles:
    """All files, read; what couldn't be read is among each file's own problems."""

    engage: YamlFile
    definitions: tuple[tuple[Kind, YamlFile], ...]

    def all(self) -> list[YamlFile]:
        return [self.engage, *(file for _, file in self.definitions)]


def read_files(path: Path, environment: Mapping[str, str], *, without_secrets: bool = False) -> WorkspaceFiles:
    """engage.yml first, then audiences and traits by the names of their files.

    `without_secrets`: variables may be missing that only who accepts or sends calls has a use for.
    """
    definitions = [
        (kind, _read(path, found, environment)) for folder, kind in FOLDERS.items() for found in _yaml_in(path / folder)
    ]
    engage = _read_engage(path, environment, _is_for_traffic if without_secrets else None)
    return WorkspaceFiles(engage=engage, definitions=tuple(definitions))


def read_tests(path: Path, environment: Mapping[str, str], chosen: Sequence[Path] | None = None) -> list[YamlFile]:
    """The files in tests/ by their names, or those that are chosen, wherever they lie."""
    return [_read(path, found, environment) for found in (_yaml_in(path / TESTS) if chosen is None else chosen)]


def _is_for_traffic(path: KeyPath) -> bool:
    """Whether a value of engage.yml is of use only to who accepts calls or sends them: keys, secrets, addresses."""
    return path[:1] == ("sources",) or (path[:1] == ("destinations",) and path[2:3] == ("settings",))


def _read_engage(path: Path, environment: Mapping[str, str], is_unneeded: Callable[[KeyPath], bool] | None) -> YamlFile:
    for ending in ENDINGS:
        if (path / f"engage{ending}").is_file():
            return _read(path, path / f"engage{ending}", environment, is_unneeded)
    missing = YamlFile(name="engage.yml")
    missing.tell(Position(1, 1), f"there is no engage.yml in {path}; make a workspace with engage-sync init")
    return missing


def _yaml_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = (each for each in folder.iterdir() if each.suffix.lower() in ENDINGS and not each.name.startswith("."))
    return sorted(each for each in found if not each.is_dir())


def _read(
    workspace: Path,
    path: Path,
    environment: Mapping[str, str],
    is_unneeded: Callable[[KeyPath], bool] | None = None,
) -> YamlFile:
    is_inside = path.absolute().is_relative_to(workspace.absolute())
    name = path.absolute().relative_to(workspace.absolute()).as_posix() if is_inside else str(path)
    unreadable = YamlFile(name=name)
    try:
        content = path.read_bytes()
        if len(content) > MAX_BYTES:
            unreadable.tell(Position(1, 1), f"found {len(content)} bytes, expected at most {MAX_BYTES}")
            return unreadable
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].split(b"\n")
        unreadable.tell(Position(len(before), len(before[-1]) + 1), "found a byte that isn't UTF-8")
        return unreadable
    except OSError as error:
        unreadable.tell(Position(1, 1), f"can't be read: {error.strerror}")
        return unreadable
    return read_yaml(name, text.replace("\r\n", "\n"), environment, is_unneeded=is_unneeded)
