"""The files of a workspace: which there are, and their text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engage_sync.definitions.language import Position
from engage_sync.definitions.model import Kind
from engage_sync.definitions.yaml_text import YamlFile, read_yaml

ENDINGS = (".yml", ".yaml")
FOLDERS: Mapping[str, Kind] = {"audiences": "audience", "traits": "computed_trait"}
MAX_BYTES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class WorkspaceFiles:
    """All files, read; what couldn't be read is among each file's own problems."""

    engage: YamlFile
    definitions: tuple[tuple[Kind, YamlFile], ...]

    def all(self) -> list[YamlFile]:
        return [self.engage, *(file for _, file in self.definitions)]


def read_files(path: Path, environment: Mapping[str, str]) -> WorkspaceFiles:
    """engage.yml first, then audiences and traits by the names of their files."""
    definitions = [
        (kind, _read(path, found, environment)) for folder, kind in FOLDERS.items() for found in _yaml_in(path / folder)
    ]
    return WorkspaceFiles(engage=_read_engage(path, environment), definitions=tuple(definitions))


def _read_engage(path: Path, environment: Mapping[str, str]) -> YamlFile:
    for ending in ENDINGS:
        if (path / f"engage{ending}").is_file():
            return _read(path, path / f"engage{ending}", environment)
    missing = YamlFile(name="engage.yml")
    missing.tell(Position(1, 1), f"there is no engage.yml in {path}; make a workspace with engage-sync init")
    return missing


def _yaml_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = (each for each in folder.iterdir() if each.suffix.lower() in ENDINGS and not each.name.startswith("."))
    return sorted(each for each in found if not each.is_dir())


def _read(workspace: Path, path: Path, environment: Mapping[str, str]) -> YamlFile:
    name = path.relative_to(workspace).as_posix()
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
    return read_yaml(name, text.replace("\r\n", "\n"), environment)
