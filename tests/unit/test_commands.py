"""Each command is found in the module that is said to have it, and imports little else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from engage_sync.cli import app


@pytest.mark.parametrize("module", app.MODULES)
def test_a_module_registers_what_is_said_of_it(module: str) -> None:
    assert tuple(app.commands_of(module)) == app.MODULES[module]


def test_a_command_imports_neither_other_commands_nor_alembic_nor_the_server() -> None:
    program = (
        "import sys; sys.argv = ['engage-sync', 'members', '--help']\n"
        "from engage_sync.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "engage_sync.cli.reading" in loaded
    others = {f"engage_sync.cli.{module}" for module in app.MODULES} - {"engage_sync.cli.reading"}
    assert loaded & (others | {"alembic", "uvloop", "pyreqwest", "engage_sync.api", "engage_sync.sandbox"}) == set()
