"""The one place that reads this host's clock.

Evaluation, differences and messages never call it: their instant is an argument (`as_of`), and live instants come from
the database, so that no host's drift can hide an event. What is left for this clock is what only people read (logs,
progress), and parsing of instants that people write.
"""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """This host's current instant, in UTC."""
    return datetime.now(UTC)
