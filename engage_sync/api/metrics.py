"""What /metrics shows: counters of the tracking API, and gauges read from the database at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import sqlalchemy.exc
import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy import Connection, Engine, text

from engage_sync.outbox import budget

log = structlog.get_logger(__name__)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CALLS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000)

# Exact while a person needs the number; counting more would cost each scrape.
_COUNTED = 1_000_000
_INBOX = text("SELECT count(*) FROM (SELECT FROM inbox LIMIT :limit) AS counted")
_OUTBOX = text(
    """
    SELECT destinations.slug, waiting.messages
    FROM destinations CROSS JOIN LATERAL (
        SELECT count(*) AS messages
        FROM (SELECT FROM messages WHERE messages.destination_id = destinations.id LIMIT :limit) AS counted
    ) AS waiting
    """
)
_DEAD_LETTERS = text(
    """
    SELECT destinations.slug, count(dead_letters.id)
    FROM destinations LEFT JOIN dead_letters
      ON dead_letters.destination_id = destinations.id AND dead_letters.status = 'open'
    GROUP BY destinations.slug
    """
)
_DROPPED = text("SELECT suppressed_calls FROM installation")
_FORGETS = text(
    """
    SELECT destinations.slug, count(privacy_answers.id)
    FROM destinations LEFT JOIN privacy_answers
      ON privacy_answers.destination_id = destinations.id AND privacy_answers.status IN ('waiting', 'refused')
    GROUP BY destinations.slug
    """
)
_STATES = text(
    """
    SELECT destinations.slug, paused_at IS NOT NULL, extract(epoch FROM outages.since)::float8
    FROM destinations
    LEFT JOIN outages ON outages.destination_id = destinations.id AND outages.until IS NULL
    ORDER BY destinations.slug
    """
)
_DEFINITIONS = text(
    """
    SELECT definitions.key, definitions.kind, computations.members,
           extract(epoch FROM computations.computed_at)::float8 AS computed, holds.run_id IS NOT NULL AS is_held
    FROM definitions JOIN computations ON computations.definition_id = definitions.id
    LEFT JOIN holds ON holds.definition_id = definitions.id
    WHERE definitions.deleted_at IS NULL
    """
)
# Whatever was silent when they were last counted.
_SILENT = text(
    """
    SELECT sources.slug, coalesce(holds.event, '') AS event, count(*) AS definitions
    FROM holds JOIN sources ON sources.id = holds.source_id
    JOIN definitions ON definitions.id = holds.definition_id AND definitions.deleted_at IS NULL
    GROUP BY sources.slug, holds.event
    """
)


class AcceptMetrics:
    """Counters of one process's tracking API and webhooks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.accepted = Counter(
            "engage_sync_calls_accepted", "Calls answered with 200.", ["source", "type"], registry=registry
        )
        self.webhooks = Counter(
            "engage_sync_webhooks_accepted",
            "Webhooks answered with 200, by the sender's name of the event; unknown where that is none we know.",
            ["source", "event"],
            registry=registry,
        )
        self.refused = Counter(
            "engage_sync_requests_refused", "Requests answered with an error.", ["code"], registry=registry
        )
        self.commit_seconds = Histogram(
            "engage_sync_inbox_commit_seconds", "Time of one group commit.", buckets=_SECONDS, registry=registry
        )
        self.commit_calls = Histogram(
            "engage_sync_inbox_commit_calls", "Calls in one group commit.", buckets=_CALLS, registry=registry
        )
        self.failed_commits = Counter(
            "engage_sync_inbox_commits_failed", "Group commits that the database did not take.", registry=registry
        )


class DatabaseGauges:
    """A prometheus collector over `read`; without the database it shows `engage_sync_database_up 0` and no more."""

    def __init__(self, engine: Engine, read: Callable[[Connection], Iterable[Metric]]) -> None:
        self._engine = engine
        self._read = read

    def collect(self) -> Iterator[Metric]:
        try:
            with self._engine.connect() as connection:
                found = list(self._read(connection))
        except (sqlalchemy.exc.DBAPIError, sqlalchemy.exc.TimeoutError) as failure:
            log.warning("gauges_unknown", error=type(failure).__name__)
            found = []
            up = 0
        else:
            up = 1
        yield GaugeMetricFamily("engage_sync_database_up", "Whether the database answers.", value=up)
        yield from found


def _states(connection: Connection) -> Iterator[Metric]:
    """Whether each destination is sent to, and since when it isn't: what an alert should look at."""
    paused = GaugeMetricFamily("engage_sync_destination_paused", "1 until somebody resumes it.", labels=["destination"])
    held = GaugeMetricFamily(
        "engage_sync_destination_held",
        "1 while nothing gets through but probes, if any.",
        labels=["destination"],
    )
    since = GaugeMetricFamily(
        "engage_sync_destination_held_since_timestamp_seconds", "When that began.", labels=["destination"]
    )
    for slug, is_paused, held_since in connection.execute(_STATES):
        paused.add_metric([slug], float(is_paused))
        held.add_metric([slug], float(held_since is not None))
        if held_since is not None:
            since.add_metric([slug], held_since)
    yield from (paused, held, since)
    shares = GaugeMetricFamily(
        "engage_sync_rate_share",
        "What is used of a rate that a destination complained of.",
        labels=["destination", "budget"],
    )
    for each in budget.lowered(connection):
        shares.add_metric([each.destination, each.name], each.share)
    yield shares


def read_gauges(connection: Connection) -> Iterator[Metric]:
    """What waits, what failed, and how old each definition's last computation is. Counts end at a million."""
    limit = {"limit": _COUNTED}
    inbox = connection.execute(_INBOX, limit).scalar_one()
    yield GaugeMetricFamily("engage_sync_inbox_waiting", "Calls not resolved yet.", value=inbox)
    outbox = GaugeMetricFamily("engage_sync_outbox_waiting", "Messages not delivered yet.", labels=["destination"])
    for slug, messages in connection.execute(_OUTBOX, limit):
        outbox.add_metric([slug], messages)
    yield outbox
    dead = GaugeMetricFamily("engage_sync_dead_letters", "Open dead letters.", labels=["destination"])
    for slug, letters in connection.execute(_DEAD_LETTERS):
        dead.add_metric([slug], letters)
    yield dead
    dropped = connection.execute(_DROPPED).scalar_one()
    yield CounterMetricFamily("engage_sync_calls_suppressed", "Calls of suppressed people, dropped.", value=dropped)
    forgets = GaugeMetricFamily(
        "engage_sync_forgets_open", "Identifiers that a destination has still to forget.", labels=["destination"]
    )
    for slug, number in connection.execute(_FORGETS):
        forgets.add_metric([slug], number)
    yield forgets
    yield from _states(connection)
    members = GaugeMetricFamily("engage_sync_definition_members", "Profiles in it.", labels=["key", "kind"])
    computed = GaugeMetricFamily(
        "engage_sync_definition_computed_timestamp_seconds", "When it was last computed.", labels=["key", "kind"]
    )
    held = GaugeMetricFamily(
        "engage_sync_definition_held", "1 while a guard holds its next change.", labels=["key", "kind"]
    )
    for key, kind, size, seconds, is_held in connection.execute(_DEFINITIONS):
        members.add_metric([key, kind], size)
        held.add_metric([key, kind], int(is_held))
        if seconds is not None:
            computed.add_metric([key, kind], seconds)
    yield members
    yield computed
    yield held
    silent = GaugeMetricFamily(
        "engage_sync_definitions_held_by_silence",
        "Definitions that a guard holds as this source, or this event of it, went silent.",
        labels=["source", "event"],
    )
    for slug, event, definitions in connection.execute(_SILENT):
        silent.add_metric([slug, event], definitions)
    yield silent
