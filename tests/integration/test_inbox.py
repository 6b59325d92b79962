from __future__ import annotations

import orjson
from sqlalchemy import Engine, text

from engage_sync.database import channels, pipeline
from engage_sync.ingest import inbox
from engage_sync.ingest.sources import ensure_sources

CALL = {"type": "track", "event": "E", "userId": "u", "messageId": "m"}


def test_calls_leave_in_the_order_they_came(engine: Engine) -> None:
    with engine.begin() as connection:
        source = ensure_sources(connection, ["web"])["web"]
        inbox.store(connection, source, [{**CALL, "userId": str(number)} for number in range(3)])
        inbox.store(connection, source, [orjson.dumps({**CALL, "userId": "3"})])
        assert inbox.waiting(connection) == 4
        taken = inbox.take(connection, 3)
        assert [orjson.loads(row.call)["userId"] for row in taken] == ["0", "1", "2"]
        assert {row.source_id for row in taken} == {source}
        pipeline.ask(connection, inbox.removing([row.id for row in taken]))
        assert [orjson.loads(row.call)["userId"] for row in inbox.take(connection, 9)] == ["3"]


def test_received_at_is_the_clock_of_the_database_at_the_insert(engine: Engine) -> None:
    with engine.begin() as connection:
        before = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        inbox.store_many(connection, [(1, CALL), (2, CALL)])
        first, second = inbox.take(connection, 2)
        after = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    assert before < first.received_at <= second.received_at < after
    assert (first.source_id, second.source_id) == (1, 2)


def test_rejected_call_keeps_its_text_and_reason(engine: Engine) -> None:
    with engine.begin() as connection:
        inbox.store(connection, 1, [CALL])
        (row,) = inbox.take(connection, 1)
        inbox.reject(
            connection,
            [inbox.Rejected(source_id=1, received_at=row.received_at, call=row.call, reason="no identifier")],
        )
        pipeline.ask(connection, inbox.removing([row.id]))
        assert inbox.waiting(connection) == 0
        (kept,) = connection.execute(text("SELECT source_id, received_at, call::jsonb, reason FROM rejects"))
    assert tuple(kept) == (1, row.received_at, CALL, "no identifier")


def test_sources_keep_their_ids(engine: Engine) -> None:
    with engine.begin() as connection:
        first = ensure_sources(connection, ["web", "app"])
        assert ensure_sources(connection, ["app", "web", "new", "web"]) == {**first, "new": max(first.values()) + 1}


def test_notify_wakes_a_listener_after_the_commit(engine: Engine) -> None:
    with engine.connect() as listener:
        listener = listener.execution_options(isolation_level="AUTOCOMMIT")
        listener.exec_driver_sql(f"LISTEN {channels.INBOX}")
        with engine.begin() as connection:
            channels.notify(connection, channels.INBOX)
        driver = listener.connection.driver_connection
        assert driver is not None
        assert [note.channel for note in driver.notifies(timeout=5, stop_after=1)] == [channels.INBOX]
