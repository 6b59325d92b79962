"""What operators see of delivery: destinations, the outbox, doctor's findings and the gauges say the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from engage_sync import health
from engage_sync.api import metrics
from engage_sync.outbox import budget, destinations_table, outages
from engage_sync.outbox.outages import Kind
from engage_sync.reports import delivery
from engage_sync.settings import Settings
from engage_sync.sync import retention
from tests.factories.outbox import Outbox


@pytest.fixture
def outbox(engine: Engine, database_url: str) -> Iterator[Outbox]:
    made = Outbox(engine, database_url)
    yield made
    made.close()


def gauge(outbox: Outbox, name: str, **labels: str) -> float | None:
    with outbox.engine.connect() as connection:
        found = [
            sample.value
            for metric in metrics.read_gauges(connection)
            for sample in metric.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
    return found[0] if found else None


def state(outbox: Outbox) -> dict[str, object]:
    with outbox.engine.connect() as connection:
        (found,) = delivery.destinations(connection)
    return found


def test_held_destination_is_seen_everywhere_with_reason_and_since_when(outbox: Outbox) -> None:
    outbox.waiting_message()
    assert (state(outbox)["state"], state(outbox)["waiting"]) == ("sending", 1)
    assert gauge(outbox, "engage_sync_destination_held", destination="iterable") == 0
    with outbox.engine.begin() as connection:
        outages.begin(connection, outbox.destination, Kind.FAILING, "503 down", ago=90)
        (finding,) = [each for each in health._database(connection, Settings()) if each.check == "destination iterable"]
    assert not finding.ok
    assert finding.detail.endswith("0 probes failed: 503 down")
    found = state(outbox)
    assert (found["state"], found["reason"], found["failed_probes"]) == ("held", "503 down", 0)
    assert gauge(outbox, "engage_sync_destination_held", destination="iterable") == 1
    assert gauge(outbox, "engage_sync_destination_held_since_timestamp_seconds", destination="iterable") is not None
    with outbox.engine.begin() as connection:
        destinations_table.pause(connection, "iterable", "by hand")
    assert (state(outbox)["state"], state(outbox)["reason"]) == ("paused", "by hand")
    assert gauge(outbox, "engage_sync_destination_paused", destination="iterable") == 1


def test_lowered_rate_is_seen(outbox: Outbox) -> None:
    with outbox.engine.begin() as connection:
        budget.reserve(connection, outbox.destination, "identify", 500, 1)
        budget.lower(connection, outbox.destination, "identify")
    assert state(outbox)["rates"] == {"identify": 0.9}
    assert gauge(outbox, "engage_sync_rate_share", destination="iterable", budget="identify") == pytest.approx(0.9)


def test_outbox_shows_when_each_message_is_tried_next_and_until_when(outbox: Outbox) -> None:
    failing, behind = outbox.waiting_message("ann@x.io"), outbox.waiting_message("ann@x.io", call_type="track")
    due = outbox.waiting_message("bob@x.io")
    with outbox.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE messages SET attempts = 3, last_error = '503', first_started_at = now() - interval '1 hour'"
                " WHERE id = :id"
            ),
            {"id": failing},
        )
        connection.execute(
            text(
                "UPDATE lanes SET due_at = now() + interval '5 minutes'"
                " WHERE profile_id = (SELECT profile_id FROM messages WHERE id = :id)"
            ),
            {"id": failing},
        )
    with outbox.engine.connect() as connection:
        rows = {row["id"]: row for row in delivery.outbox(connection, retry_for=4 * 3600)}
        assert [row["id"] for row in delivery.outbox(connection, retry_for=1, retrying=True)] == [failing]
        now = connection.execute(text("SELECT now()")).scalar_one()
    assert list(rows) == [due, behind, failing]
    assert [rows[each]["state"] for each in rows] == ["due", "behind a retry", "retrying"]
    assert timedelta(minutes=4) < rows[failing]["next_at"] - now < timedelta(minutes=6)
    assert timedelta(hours=2.9) < rows[failing]["gives_up_at"] - now < timedelta(hours=3.1)
    assert rows[due]["gives_up_at"] is None


def test_an_outage_moves_the_end_of_what_it_holds(outbox: Outbox) -> None:
    message = outbox.waiting_message()
    with outbox.engine.begin() as connection:
        connection.execute(text("UPDATE messages SET attempts = 1, first_started_at = now() - interval '30 hours'"))
        outages.begin(connection, outbox.destination, Kind.FAILING, "down", ago=29 * 3600)
    with outbox.engine.connect() as connection:
        (row,) = delivery.outbox(connection, retry_for=4 * 3600)
        now = connection.execute(text("SELECT now()")).scalar_one()
    assert (row["id"], row["state"]) == (message, "held")
    assert timedelta(hours=2.9) < row["gives_up_at"] - now < timedelta(hours=3.1)


def test_outages_that_are_over_go_in_time(outbox: Outbox) -> None:
    with outbox.engine.begin() as connection:
        connection.execute(
            text(
                """
                INSERT INTO outages (destination_id, since, until, kind, reason, probe_at)
                SELECT :destination, now() - ago * interval '1 day', now() - (ago - 1) * interval '1 day', 'failing',
                       '', now() FROM unnest(ARRAY[30, 3]) AS ago
                """
            ),
            {"destination": outbox.destination},
        )
        outages.begin(connection, outbox.destination, Kind.FAILING, "", ago=0)
    assert retention.clean(outbox.engine, timedelta(days=14))["outages"] == 1
    assert outbox.count("outages") == 2
