"""The commented example workspace that `init` writes."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from engage_sync import errors

# By the names they get; a dot file in the package would be missed by tools that skip such files.
FILES = {
    "engage.yml": "engage.yml",
    "audiences/order_completed_last_30days.yml": "audiences/order_completed_last_30days.yml",
    "traits/total_spent_90d.yml": "traits/total_spent_90d.yml",
    "tests/buyers.yml": "tests/buyers.yml",
    ".env": "env",
}
GITIGNORE = ".gitignore"


def write_example(path: Path, write_key: str, api_token: str, privacy_key: str) -> list[Path]:
    """Writes a workspace that loads as it stands into the folder, made if need be; returns the files written.

    .env gets the secrets: `write_key` of the source `web`, `api_token` of the management API, and `privacy_key`. A
    .gitignore that is there already gets the lines that it lacks. Raises UsageError, and writes nothing, if any other
    of the files exists.
    """
    if path.exists() and not path.is_dir():
        raise errors.UsageError(f"{path} is a file; expected a folder for the workspace")
    existing = [name for name in FILES if (path / name).exists() or (path / name).is_symlink()]
    if existing:
        raise errors.UsageError(f"{', '.join(existing)} already in {path}; take another folder, or move these away")
    template = resources.files(__package__).joinpath("template")
    written = []
    for name, template_name in FILES.items():
        text = template.joinpath(*template_name.split("/")).read_text(encoding="utf-8")
        if name == ".env":
            secrets = {"{write_key}": write_key, "{api_token}": api_token, "{privacy_key}": privacy_key}
            for name_in_text, secret in secrets.items():
                text = text.replace(name_in_text, secret)
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, text, secret=name == ".env")
        written.append(target)
    if _keep_out_of_git(path / GITIGNORE, template.joinpath("gitignore").read_text(encoding="utf-8")):
        written.append(path / GITIGNORE)
    return written


def _keep_out_of_git(gitignore: Path, text: str) -> bool:
    """Whether the file had to be made or changed, so that no secret gets into git."""
    if not gitignore.exists():
        _write(gitignore, text, secret=False)
        return True
    present = gitignore.read_text(encoding="utf-8")
    missing = [line for line in text.splitlines() if not line.startswith("#") and line not in present.splitlines()]
    if missing:
        separator = "" if not present or present.endswith("\n") else "\n"
        gitignore.write_text(present + separator + "\n".join(missing) + "\n", encoding="utf-8")
    return bool(missing)


def _write(target: Path, text: str, *, secret: bool) -> None:
    # O_EXCL: a file that came into being meanwhile is not overwritten either.
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o666)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
