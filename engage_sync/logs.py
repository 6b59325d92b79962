"""Logs: an event name with fields, on stderr; lines for people on a terminal, JSON elsewhere. Never a trait's value."""

from __future__ import annotations

import logging
import sys

import structlog

from engage_sync.settings import Settings


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
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=max(level, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
