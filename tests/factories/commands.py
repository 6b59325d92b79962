"""Commands of engage-sync, each in a process of its own that is forked from one which has imported everything.

Importing takes a second of processor time, and tests run hundreds of commands; all else is as in a shell: arguments,
environment, exit code, standard output and error. `up` and the roles are started as anybody starts them
(tests/factories/processes.py).
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from engage_sync.cli.app import MODULES

_ROOT = Path(__file__).resolve().parents[2]
# What commands import only when they need it.
_IMPORTED = (
    *(f"engage_sync.cli.{module}" for module in MODULES),
    "engage_sync.runtime",
    "engage_sync.health",
    "engage_sync.delivery.deliverer",
    "engage_sync.database.embedded",
)


def run(
    arguments: Sequence[str], environment: Mapping[str, str], *, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """`engage-sync` with these arguments in a folder (None: the current one), with no more environment than that."""
    with tempfile.TemporaryDirectory() as written:
        out, err = Path(written, "out"), Path(written, "err")
        asked = {"arguments": list(arguments), "environment": dict(environment), "out": str(out), "err": str(err)}
        code = _server().ask({**asked, "folder": str(folder or Path.cwd())})
        return subprocess.CompletedProcess(list(arguments), code, out.read_text(), err.read_text())


class _Server:
    def __init__(self) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.factories.commands"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._popen.kill)

    def ask(self, asked: Mapping[str, Any]) -> int:
        """Run a command; its exit code."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(json.dumps(asked) + "\n")
        self._popen.stdin.flush()
        return int(self._popen.stdout.readline())


@cache
def _server() -> _Server:
    return _Server()


# --- the process that is forked -----------------------------------------------------------------------------------


def _serve(requests: IO[str], answers: IO[str]) -> None:
    for module in _IMPORTED:
        __import__(module)
    for line in requests:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _be(asked)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def _be(asked: Mapping[str, Any]) -> None:
    """Become the command, and never return."""
    from engage_sync.cli import main

    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for file, number in ((asked["out"], 1), (asked["err"], 2)):
            os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT), number)
        os.environ.clear()
        os.environ.update(asked["environment"])
        os.chdir(asked["folder"])
        sys.argv = ["engage-sync", *asked["arguments"]]
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    # Standard output becomes the command's: answers go by a descriptor of their own.
    _serve(sys.stdin, os.fdopen(os.dup(1), "w"))
