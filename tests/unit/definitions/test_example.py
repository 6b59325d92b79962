from __future__ import annotations

import stat
from pathlib import Path

import pytest

from engage_sync import errors
from engage_sync.definitions.example import write_example


def test_nothing_is_written_where_a_file_is_there_already(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MINE=1\n")
    with pytest.raises(errors.UsageError, match=r"^\.env already in "):
        write_example(tmp_path, "wk", "token", "key")
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("")
    with pytest.raises(errors.UsageError, match="is a file; expected a folder"):
        write_example(tmp_path / "here", "wk", "token", "key")


def test_the_secrets_are_in_env_which_only_the_owner_reads(tmp_path: Path) -> None:
    write_example(tmp_path, "wk-123", "token-456", "key-789")
    environment = (tmp_path / ".env").read_text()
    assert "WEB_WRITE_KEY=wk-123\n" in environment
    assert "ITERABLE_API_KEY=sandbox-key\n" in environment
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert "ENGAGE_SYNC_API_TOKEN=token-456\n" in environment
    in_git = "".join(path.read_text() for path in tmp_path.rglob("*.yml"))
    assert "wk-123" not in in_git
    assert "token-456" not in in_git


def test_a_gitignore_keeps_its_lines_and_gets_those_it_lacks(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("build/\n.env")
    write_example(tmp_path, "wk", "token", "key")
    assert (tmp_path / ".gitignore").read_text() == "build/\n.env\n.engage-sync/\n*.rejects.jsonl\n"
