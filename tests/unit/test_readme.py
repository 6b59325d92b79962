"""The README's table names every setting, with its default and its meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from engage_sync.settings import Settings

README = Path(__file__).resolve().parents[2] / "README.md"


def test_table_of_settings_is_whole() -> None:
    rows = [line for line in README.read_text().splitlines() if line.startswith("| `ENGAGE_SYNC_")]
    table = {cells[0].strip("`"): cells[1:] for cells in map(_cells, rows)}
    assert table == {
        f"ENGAGE_SYNC_{name.upper()}": [_shown(field.default), field.description]
        for name, field in Settings.model_fields.items()
    }


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def _shown(default: Any) -> str:
    assert default is not PydanticUndefined
    if default is None:
        return "unset"
    return "the current folder" if default == Path() else str(default)
