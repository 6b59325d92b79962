from __future__ import annotations

import pytest
from sqlalchemy import text

from engage_sync import errors
from engage_sync.outbox import dead_letters, destinations_table, settle
from engage_sync.outbox.dead_letters import Replayed
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


def statuses(outbox: Outbox) -> list[str]:
    return [row[0] for row in outbox.rows("SELECT status FROM dead_letters ORDER BY id")]


def test_listing_is_newest_first_and_filters(outbox: Outbox) -> None:
    other = outbox.audience("others")
    outbox.waiting_message("ann@x.io")
    failing(outbox)
    outbox.waiting_message("bob@x.io", definition=other)
    failing(outbox)
    with outbox.engine.begin() as connection:
        assert [each.identity_value for each in dead_letters.listing(connection)] == ["bob@x.io", "ann@x.io"]
        assert [each.key for each in dead_letters.listing(connection, limit=1)] == ["others"]
        (found,) = dead_letters.listing(connection, key="buyers", destination="iterable")
        assert (found.destination, found.reason, found.status, found.value) == ("iterable", "no", "open", True)
        assert dead_letters.listing(connection, destination="elsewhere") == []
        assert dead_letters.discard(connection, [found.id]) == 1
        assert [each.id for each in dead_letters.listing(connection, status="discarded")] == [found.id]
        assert len(dead_letters.listing(connection, status=None)) == 2


def test_replayed_message_waits_again_under_its_old_version(outbox: Outbox) -> None:
    outbox.waiting_message(value=7)
    failing(outbox)
    with outbox.engine.begin() as connection:
        replayed, after = dead_letters.replay(connection)
        assert replayed == Replayed(waiting=1, obsolete=0)
        assert dead_letters.replay(connection, after=after or 0) == (Replayed(waiting=0, obsolete=0), None)
    assert outbox.told() == [("ann@x.io", "identify", 1, 7, None, 0)]
    (lane,) = outbox.claim(outbox.worker())
    assert [(message.value, message.told_version) for message in lane.messages] == [(7, 1)]
    assert statuses(outbox) == ["replayed"]


def test_identify_that_was_overtaken_is_obsolete_but_an_event_still_happened(outbox: Outbox) -> None:
    for call_type in ("identify", "track"):
        outbox.waiting_message(value=True, call_type=call_type)
    failing(outbox)
    for call_type in ("identify", "track"):
        outbox.waiting_message(value=False, call_type=call_type)
    with outbox.engine.begin() as connection:
        replayed, _ = dead_letters.replay(connection)
    assert replayed == Replayed(waiting=1, obsolete=1)
    assert statuses(outbox) == ["obsolete", "replayed"]
    assert [row[3] for row in outbox.told()] == [False, False]


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
