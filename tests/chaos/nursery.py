"""`python -m tests.chaos.nursery`: forks processes that need not import anything any more, as that takes seconds.

Reads JSON lines: {"module", "arguments", "environment", "stdout", "stderr"} begins `python -m module` with these files
appended to, and is answered with its process id; {"poll": id} is answered with its exit code, or null while it lives.
Until that was asked, an id that ended isn't given to another process.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
import traceback
from typing import Any, Final

from engage_sync.cli.app import MODULES

_IMPORTED: Final = (
    *(f"engage_sync.cli.{module}" for module in MODULES),
    "engage_sync.daemon",
    "engage_sync.api",
    "tests.chaos.witnesses",
)


def main() -> None:
    for name in _IMPORTED:
        importlib.import_module(name)
    # Not by iterating over a buffered file, of which a child would have a copy.
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        answer = _poll(asked["poll"]) if "poll" in asked else _begin(asked)
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


def _begin(asked: dict[str, Any]) -> int:
    born = os.fork()
    if born:
        return born
    code = 1
    try:
        _become(asked)
        runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _become(asked: dict[str, Any]) -> None:
    os.setsid()
    for number, (name, flags) in enumerate(
        ((os.devnull, os.O_RDONLY), *((asked[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND) for name in _OUTPUTS))
    ):
        opened = os.open(name, flags, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = [asked["module"], *asked["arguments"]]


_OUTPUTS: Final = ("stdout", "stderr")


def _poll(process: int) -> int | None:
    found, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


if __name__ == "__main__":
    main()
