"""Logs: an event name with fields, on stderr; lines for people on a terminal, JSON elsewhere.

Never a trait's value. And no emails: what a destination or a database complains of may quote one.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from engage_sync.settings import Settings

# Bounded on both sides of the @, so that a long text takes no longer than it is long.
_EMAIL = re.compile(r"[^\s@<>()\[\]{}\"',;:=]{1,128}@[^\s@<>()\[\]{}\"',;:=]{1,255}")


def without_emails(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog: whatever looks like an email in a text is `[email]`."""
    for name, value in event.items():
        if isinstance(value, str) and "@" in value:
            event[name] = _EMAIL.sub("[email]", value)
    return event


def configure(settings: Settings) -> None:
    """Set up structlog and the standard library's logging alike."""
    level = logging.getLevelNamesMapping().get(settings.log_level.upper(), logging.INFO)
    people = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if people else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, without_emails, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=max(level, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
