"""Migrations that processes of older versions go on over (`COMPATIBLE_SINCE`) only add to the schema."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from engage_sync.database import migrate

VERSIONS = Path(__file__).parents[2] / "migrations" / "versions"
ADDING = {"create_table", "create_index", "add_column", "execute", "f"}
# In a statement of its own: what an older process may still read or write goes, or means something else.
TAKING = re.compile(
    r"\b(DROP|RENAME|TRUNCATE|DELETE|SET\s+NOT\s+NULL|ADD\s+CONSTRAINT|ALTER\s+COLUMN\s+\w+\s+TYPE)\b", re.I
)


def breaks(source: str) -> list[str]:
    """What in a migration's upgrade an older process would stumble over."""
    tree = ast.parse(source)
    (upgrade,) = (each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == "upgrade")
    found: list[str] = []
    for call in (each for each in ast.walk(upgrade) if isinstance(each, ast.Call)):
        if not (isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "op"):
            continue
        if call.func.attr not in ADDING:
            found.append(f"op.{call.func.attr}")
        if call.func.attr == "add_column":
            given = {keyword.arg: ast.unparse(keyword.value) for column in call.args[1:] if isinstance(column, ast.Call)
                     for keyword in column.keywords}  # fmt: skip
            if given.get("nullable") != "True" and "server_default" not in given:
                found.append(f"a column without a default: {ast.unparse(call)}")
        if call.func.attr == "execute":
            statement = ast.unparse(call)
            found += [f"{match[0]} in {statement}" for match in TAKING.finditer(statement)]
    return found


@pytest.mark.parametrize(
    "file",
    [file for file in sorted(VERSIONS.glob("[0-9]*.py")) if file.name.partition("_")[0] > migrate.COMPATIBLE_SINCE],
    ids=lambda file: file.stem,
)
def test_what_came_since_only_adds(file: Path) -> None:
    assert breaks(file.read_text()) == []


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("op.drop_column('a', 'b')", ["op.drop_column"]),
        ("op.alter_column('a', 'b', nullable=False)", ["op.alter_column"]),
        ("op.add_column('a', sa.Column('b', sa.Text(), nullable=False))",
         ["a column without a default: op.add_column('a', sa.Column('b', sa.Text(), nullable=False))"]),
        ("op.execute('ALTER TABLE a DROP COLUMN b')", ["DROP in op.execute('ALTER TABLE a DROP COLUMN b')"]),
        ("op.execute('ALTER TABLE a SET (fillfactor = 80)')", []),
        ("op.add_column('a', sa.Column('b', sa.Text(), nullable=True))", []),
    ],
)  # fmt: skip
def test_what_takes_away_is_found(statement: str, found: list[str]) -> None:
    assert breaks(f"def upgrade():\n    {statement}\n") == found
