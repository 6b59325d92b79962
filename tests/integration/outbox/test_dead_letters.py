from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from engage_sync import errors
from engage_sync.outbox import dead_letters, destinations_table, settle
from engage_sync.outbox.dead_letters import Chosen
from engage_sync.outbox.destinations_table import Paused
from engage_sync.outbox.settle import Failed
from tests.factories.outbox import Outbox


def failing(outbox: Outbox) -> None:
    """All that waits fails."""
    worker = outbox.worker()
    failed = [Failed(message=each, reason="no") for lane in outbox.claim(worker) for each in lane.messages]
    with outbox.engine.begin() as connection:
        settle.settle(connection, worker, failed)
        connection.execute(text("DELETE FROM lanes"))


def test_listing_is_newest_first_and_filters(outbox: Outbox) -> None:
    other = outbox.audience("others")
    outbox.waiting_message("ann@x.io")
    failing(outbox)
    outbox.waiting_message("bob@x.io", definition=other)
    failing(outbox)
    with outbox.engine.begin() as connection:
        assert [each.identity_value for each in dead_letters.listing(connection, Chosen())] == ["bob@x.io", "ann@x.io"]
        assert [each.key for each in dead_letters.listing(connection, Chosen(), limit=1)] == ["others"]
        (found,) = dead_letters.listing(connection, Chosen(key="buyers", destination="iterable"))
        assert (found.destination, found.reason, found.status, found.value) == ("iterable", "no", "open", True)
        assert dead_letters.discard(connection, Chosen(ids=[found.id])) == 1
        assert [each.id for each in dead_letters.listing(connection, Chosen(status="discarded"))] == [found.id]
        assert dead_letters.find(connection, found.id).status == "discarded"
        assert len(dead_letters.listing(connection, Chosen(status=None))) == 2


def test_filters_hold_together_and_misspelt_names_are_errors(outbox: Outbox) -> None:
    for name in ("ann", "bob"):
        outbox.waiting_message(f"{name}@x.io")
        outbox.waiting_message(f"{name}@x.io", call_type="track")
    failing(outbox)
    with outbox.engine.begin() as connection:

        def found(**filters: Any) -> list[tuple[str, str]]:
            chosen = Chosen(**filters)
            return [(each.identity_value, each.call_type) for each in dead_letters.listing(connection, chosen)]

        ann = outbox.profile(connection, "ann@x.io")
        assert found(profile=ann) == [("ann@x.io", "track"), ("ann@x.io", "identify")]
        assert found(profile=ann, call_type="track", reason="NO") == [("ann@x.io", "track")]
        assert found(reason="yes") == []
        (failed_at, *_) = sorted(each.failed_at for each in dead_letters.listing(connection, Chosen()))
        assert len(found(since=failed_at)) == 4
        assert found(until=failed_at) == []
        counted = {(row["key"], row["call_type"]): row["letters"] for row in dead_letters.reasons(connection, Chosen())}
        assert counted == {("buyers", "identify"): 2, ("buyers", "track"): 2}
        for wrong in (Chosen(destination="itreable"), Chosen(key="buyer")):
            with pytest.raises(errors.NotFound):
                dead_letters.discard(connection, wrong)
        with pytest.raises(errors.NotFound, match="no dead letter 99"):
            dead_letters.find(connection, 99)


def test_pausing_and_resuming(outbox: Outbox) -> None:
    with outbox.engine.begin() as connection:
        assert destinations_table.pause(connection, "iterable", "key refused")
        assert not destinations_table.pause(connection, "iterable", "again")
        (paused,) = destinations_table.paused(connection)
        assert paused == Paused(slug="iterable", since=paused.since, reason="key refused")
        assert destinations_table.resume(connection, "iterable")
        assert not destinations_table.resume(connection, "iterable")
        assert destinations_table.paused(connection) == []
        with pytest.raises(errors.NotFound, match="no destination 'elsewhere'"):
            destinations_table.pause(connection, "elsewhere", "")
