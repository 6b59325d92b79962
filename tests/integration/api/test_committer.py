"""Group commits against a real database: who shares one, who hears what, and how it stops."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import psycopg
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine, event

from engage_sync import errors
from engage_sync.api.backlog import Backlog
from engage_sync.api.committer import FEW_CALLS, GroupCommitter
from engage_sync.api.metrics import AcceptMetrics
from engage_sync.database import channels
from tests.integration.api.conftest import Inbox

CALL = b'{"type": "page", "userId": "u1"}'


@pytest.fixture
def source(engine: Engine) -> int:
    from engage_sync.ingest.sources import ensure_sources

    with engine.begin() as connection:
        return ensure_sources(connection, ["web"])["web"]


class Running:
    """A committer at work, with the registry of its metrics."""

    def __init__(self, engine: Engine, *, wait: float = 0.02, max_calls: int = 5_000) -> None:
        self.registry = CollectorRegistry()
        self.committer = GroupCommitter(
            engine,
            wait=wait,
            backlog=Backlog(engine, limit=1_000_000),
            metrics=AcceptMetrics(self.registry),
            max_calls=max_calls,
        )
        self.stop = asyncio.Event()

    def commits(self) -> float | None:
        return self.registry.get_sample_value("engage_sync_inbox_commit_calls_count")


def with_committer(running: Running, body: Callable[[GroupCommitter], Awaitable[None]]) -> None:
    async def both() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(running.committer.run(running.stop))
            await body(running.committer)
            running.stop.set()

    asyncio.run(both())


def numbered(count: int) -> list[bytes]:
    return [json.dumps({"n": number}).encode() for number in range(count)]


def test_what_comes_together_is_committed_together(engine: Engine, inbox: Inbox, source: int) -> None:
    running = Running(engine)

    async def submit(committer: GroupCommitter) -> None:
        await asyncio.gather(*(committer.submit(source, [call]) for call in numbered(50)))

    with_committer(running, submit)
    assert inbox.calls() == [{"n": number} for number in range(50)]
    assert running.commits() == 1


def test_a_full_commit_does_not_wait_for_more(engine: Engine, inbox: Inbox, source: int) -> None:
    running = Running(engine, wait=60, max_calls=10)

    async def submit(committer: GroupCommitter) -> None:
        await asyncio.gather(*(committer.submit(source, [CALL] * 5) for _ in range(4)))

    with_committer(running, submit)
    assert len(inbox.calls()) == 20
    assert running.commits() == 2


def test_a_request_larger_than_a_commit_is_stored_whole(engine: Engine, inbox: Inbox, source: int) -> None:
    running = Running(engine, max_calls=10)

    async def submit(committer: GroupCommitter) -> None:
        await committer.submit(source, [CALL] * 35)

    with_committer(running, submit)
    assert len(inbox.calls()) == 35
    assert running.commits() == 1


def test_what_postgres_refuses_is_refused_alone(engine: Engine, inbox: Inbox, source: int) -> None:
    outcomes: list[object] = []

    async def submit(committer: GroupCommitter) -> None:
        requests = [[call] for call in numbered(9)]
        requests[4] = [CALL, b"not json"]
        outcomes.extend(
            await asyncio.gather(*(committer.submit(source, calls) for calls in requests), return_exceptions=True)
        )

    with_committer(Running(engine), submit)
    assert [type(outcome) for outcome in outcomes] == [*[type(None)] * 4, errors.CallInvalid, *[type(None)] * 4]
    assert sorted(call["n"] for call in inbox.calls()) == [0, 1, 2, 3, 5, 6, 7, 8]


def test_all_who_wait_hear_of_a_database_that_fails_and_the_next_are_stored(
    engine: Engine, database_url: str, inbox: Inbox, source: int
) -> None:
    outcomes: list[object] = []

    async def submit(committer: GroupCommitter) -> None:
        @event.listens_for(engine, "before_cursor_execute", once=True)
        def lose_the_connection(*_: object) -> None:
            with psycopg.connect(database_url, autocommit=True) as operator:
                operator.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

        outcomes.extend(
            await asyncio.gather(*(committer.submit(source, [CALL]) for _ in range(3)), return_exceptions=True)
        )
        await committer.submit(source, [b'{"n": 1}'])

    with_committer(Running(engine), submit)
    assert [type(outcome) for outcome in outcomes] == [errors.DatabaseUnavailable] * 3
    assert inbox.calls() == [{"n": 1}]


def test_stopping_commits_what_waits_and_takes_no_more(engine: Engine, inbox: Inbox, source: int) -> None:
    running = Running(engine, wait=60)

    async def both() -> None:
        work = asyncio.create_task(running.committer.run(running.stop))
        submitted = asyncio.create_task(running.committer.submit(source, [CALL]))
        await asyncio.sleep(0)  # the call is in the queue, and would wait there for a minute
        running.stop.set()
        await asyncio.gather(work, submitted)
        with pytest.raises(errors.DatabaseUnavailable):
            await running.committer.submit(source, [CALL])

    asyncio.run(both())
    assert len(inbox.calls()) == 1


def test_a_committer_that_is_cancelled_leaves_nobody_waiting(engine: Engine, source: int) -> None:
    running = Running(engine, wait=60)

    async def both() -> None:
        work = asyncio.create_task(running.committer.run(running.stop))
        submitted = asyncio.create_task(running.committer.submit(source, [CALL]))
        await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(errors.DatabaseUnavailable):
            await submitted

    asyncio.run(both())


def test_a_commit_wakes_the_resolver_once(engine: Engine, database_url: str, source: int) -> None:
    async def submit(committer: GroupCommitter) -> None:
        await asyncio.gather(*(committer.submit(source, [CALL]) for _ in range(20)))

    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {channels.INBOX}")
        with_committer(Running(engine), submit)
        heard = list(listener.notifies(timeout=1, stop_after=2))
    assert len(heard) == 1


def test_a_200_is_durable_even_where_the_database_was_told_not_to_be(
    engine: Engine, database_url: str, source: int
) -> None:
    @event.listens_for(engine, "connect")
    def relax(connection: psycopg.Connection, _record: object) -> None:
        connection.execute("SET SESSION synchronous_commit = off")
        connection.commit()

    engine.dispose()
    with psycopg.connect(database_url, autocommit=True) as watching:
        # Deferred: it looks when the transaction is being committed.
        watching.execute(
            """
            CREATE TABLE promised (value text);
            CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO promised VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER look AFTER INSERT ON inbox DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION look()
            """
        )

    async def submit(committer: GroupCommitter) -> None:
        # One that is small enough for a single statement, and one that isn't.
        await committer.submit(source, [CALL])
        await committer.submit(source, [CALL] * (FEW_CALLS + 1))

    with_committer(Running(engine), submit)
    with psycopg.connect(database_url) as watching:
        assert watching.execute("SELECT value, count(*) FROM promised GROUP BY value").fetchall() == [
            ("on", FEW_CALLS + 2)
        ]


def test_the_backlog_is_looked_at_until_stopped_and_survives_a_database_that_is_away(
    engine: Engine, source: int
) -> None:
    stop = asyncio.Event()

    class StoppedAfterOneLook(Backlog):
        async def run_once(self) -> None:
            await super().run_once()
            stop.set()

    backlog = StoppedAfterOneLook(engine, limit=1_000)
    backlog.add(1_001)
    assert backlog.is_full
    asyncio.run(backlog.run(stop))
    assert (backlog.waiting, backlog.is_full) == (0, False)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE inbox")
    backlog.add(5)
    asyncio.run(backlog.run_once())
    assert backlog.waiting == 5
