"""When a destination takes nearly nothing: it is held for all workers, but for a probe now and then, till one succeeds.

Writes `outages`. The time of an outage doesn't count against what it held (claim.start leaves it out).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, text

from engage_sync.database import channels, pipeline

# The first probe comes so many seconds after the opening; each further one waits twice as long, up to the longest.
# Whoever failed to get through leaves each probe for so long to others, who may.
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 60.0
_REASON_CHARACTERS = 500
# What another worker's probe told so many seconds ago says nothing of today.
_STALE = 600.0


class Kind(StrEnum):
    """`FAILING`: it doesn't answer, or not sensibly. `REFUSING`: it refuses whatever it is told."""

    FAILING = "failing"
    REFUSING = "refusing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outage:
    """One that lasts; instants are the database's. `probes` have failed since it began."""

    destination: str
    kind: Kind
    reason: str
    since: datetime
    probes: int
    probe_at: datetime


# Never before the end of the last one: no time may count twice.
_OPEN = text(
    """
    INSERT INTO outages (destination_id, since, kind, reason, probe_at)
    SELECT :destination,
           greatest(clock.now - CAST(:ago AS float8) * interval '1 second',
                    (SELECT max(until) FROM outages WHERE destination_id = :destination)),
           :kind, :reason, clock.now + CAST(:pause AS float8) * interval '1 second'
    FROM (SELECT clock_timestamp() AS now) AS clock
    ON CONFLICT DO NOTHING
    RETURNING since
    """
)
_PROBE = text(
    """
    UPDATE outages
    SET probes = probes + 1,
        probe_at = clock_timestamp() + interval '1 second' *
          least(CAST(:longest AS float8), CAST(:pause AS float8) * power(2, least(probes + 1, 20)))
    WHERE destination_id = :destination AND until IS NULL
      AND probe_at <= clock_timestamp() - CAST(:patience AS float8) * interval '1 second'
      AND EXISTS (SELECT FROM lanes WHERE lanes.destination_id = :destination AND lanes.worker_id IS NULL
                    AND lanes.due_at <= statement_timestamp())
    RETURNING kind
    """
)
_CLOSE = text(
    """
    UPDATE outages SET until = clock_timestamp() WHERE destination_id = :destination AND until IS NULL
    RETURNING extract(epoch FROM until - since)::float8 AS seconds
    """
)
# A worker that gets through has lanes in hand while there is much to send, if not at every instant; and since this one
# gave up, nobody but such a worker can have ended an outage.
_OTHERS_SEND = text(
    """
    SELECT NOT EXISTS (SELECT FROM outages WHERE destination_id = :destination AND until IS NULL)
       AND (EXISTS (SELECT FROM lanes WHERE destination_id = :destination AND worker_id IS NOT NULL
                      AND worker_id <> :worker)
            OR EXISTS (SELECT FROM workers WHERE id <> :worker)
               AND EXISTS (SELECT FROM outages WHERE destination_id = :destination
                             AND until > clock_timestamp() - CAST(:within AS float8) * interval '1 second')) AS send
    """
)
_HURRY = text("UPDATE outages SET probe_at = clock_timestamp(), probes = 0 WHERE until IS NULL")
_CURRENT = text(
    """
    SELECT destinations.slug, kind, reason, since, probes, probe_at
    FROM outages JOIN destinations ON destinations.id = outages.destination_id
    WHERE until IS NULL ORDER BY destinations.slug
    """
)


def time_held(destination: str, since: str, now: str) -> str:
    """SQL: for how long of the time between two instants a destination was held. The arguments are SQL, too."""
    return f"""(
      SELECT coalesce(sum(coalesce(outages.until, {now}) - greatest(outages.since, {since})), interval '0')
      FROM outages WHERE outages.destination_id = {destination} AND coalesce(outages.until, {now}) > {since}
    )"""  # noqa: S608 - names of columns, from this package


def begin(connection: Connection, destination_id: int, kind: Kind, reason: str, *, ago: float) -> bool:
    """Hold a destination to which nothing got through since `ago` seconds; say whether it wasn't held already.

    Of one that fails, whoever didn't fail is woken to probe it at once: this worker may be cut off from it alone.
    """
    given = {"destination": destination_id, "kind": str(kind), "reason": reason[:_REASON_CHARACTERS]}
    pause = 0.0 if kind is Kind.FAILING else FIRST_PAUSE
    begun = bool(pipeline.rows(connection, _OPEN, {**given, "ago": ago, "pause": pause}))
    if begun:
        channels.notify(connection, channels.OUTBOX)
    return begun


def take_probe(connection: Connection, destination_id: int, *, patience: float = 0.0) -> Kind | None:
    """The right to send one message that is due to a destination that is held, when it is time; None: not now.

    Until `patience` seconds later it is left to others.
    """
    given = {"destination": destination_id, "pause": FIRST_PAUSE, "longest": LONGEST_PAUSE, "patience": patience}
    rows = pipeline.rows(connection, _PROBE, given)
    return Kind(rows[0].kind) if rows else None


def others_send(connection: Connection, destination_id: int, worker_id: int, *, apart: float) -> bool:
    """Whether the destination isn't held, and other workers get through, as far as can be seen.

    `apart`: for how many seconds this worker hasn't.
    """
    given = {"destination": destination_id, "worker": worker_id, "within": min(apart, _STALE)}
    rows = pipeline.rows(connection, _OTHERS_SEND, given)
    return bool(rows[0].send)


def end(connection: Connection, destination_id: int) -> float | None:
    """A probe got through: everything may go again. Returns how many seconds it lasted; None: it wasn't held."""
    rows = pipeline.rows(connection, _CLOSE, {"destination": destination_id})
    if not rows:
        return None
    channels.notify(connection, channels.OUTBOX)
    return float(rows[0].seconds)


def hurry(connection: Connection) -> None:
    """The next probes go at once."""
    pipeline.rows(connection, _HURRY, {})


def current(connection: Connection) -> list[Outage]:
    """Those that last, by destination."""
    return [
        Outage(
            destination=row.slug,
            kind=Kind(row.kind),
            reason=row.reason,
            since=row.since,
            probes=row.probes,
            probe_at=row.probe_at,
        )
        for row in pipeline.rows(connection, _CURRENT, {})
    ]
