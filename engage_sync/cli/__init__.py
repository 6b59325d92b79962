"""The command `engage-sync`: parse, call a use case or a report, print. No SQL and no decisions here."""

from __future__ import annotations

import gc
import os
import sys

from engage_sync import errors


def main() -> None:
    """Run the command line; never ends with a stack trace for what a person can mend."""
    # While modules are imported nothing becomes garbage; collecting would be a quarter of the time. `app` enables it.
    gc.disable()
    from sqlalchemy.exc import InterfaceError, OperationalError

    from engage_sync.cli import app, output

    code = 1
    try:
        app.app()
    except errors.EngageSyncError as failure:
        output.say(str(failure))
        code = failure.exit_code
    except (OperationalError, InterfaceError) as failure:
        from engage_sync.database.engine import unavailable

        output.say(str(unavailable(failure)))
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # Whoever read our output has enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
