"""Any number of each role on one Postgres: who dies is replaced, who is stopped ends in time, nothing is lost."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from engage_sync.database.engine import connect_directly
from engage_sync.sandbox.server import SandboxServer
from tests.factories.outbox import Outbox
from tests.factories.processes import WRITE_KEY, Fleet, eventually
from tests.world import World, audience

UPDATE = "/api/users/update"
# From a leader's death to the next one's first work.
LONGEST_WITHOUT_LEADER = 10.0


def rows(engine: Engine, statement: str, **given: Any) -> list[tuple[Any, ...]]:
    with engine.begin() as connection:
        return [tuple(row) for row in connection.execute(text(statement), given)]


def emails_asked(sandbox: SandboxServer) -> Counter[str]:
    return Counter(request["body"]["email"] for request in sandbox.requests() if request["path"] == UPDATE)


# --- schedule -----------------------------------------------------------------------------------------------------

# Writing a snapshot takes a minute while `slow` has a row: a leader dies in the middle of a tick.
SLOW = """
    CREATE TABLE slow ();
    CREATE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF EXISTS (SELECT FROM slow) THEN PERFORM pg_sleep(60); END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER take_long BEFORE INSERT ON snapshots FOR EACH ROW EXECUTE FUNCTION take_long()
"""
IN_THE_MIDDLE = (
    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    " AND query NOT LIKE '%pg_stat_activity%'"
)
TICKS = "SELECT status, entered FROM runs WHERE cause = 'tick' ORDER BY id"


def test_a_leader_that_dies_in_the_middle_of_a_tick_is_replaced_and_the_tick_runs_once(
    fleet: Fleet, engine: Engine
) -> None:
    world = World(engine)
    world.person("ann", emails=("ann@x.io",))
    world.apply(audience("idle", "event('Order Completed').within(1 day).count() = 0"))
    world.compute()
    first = fleet.start("schedule")
    eventually(lambda: first.said("scheduler_leads"))
    second = fleet.start("schedule")
    world.person("bob", emails=("bob@x.io",))
    with engine.begin() as connection:
        connection.exec_driver_sql(SLOW)
        connection.execute(text("INSERT INTO slow DEFAULT VALUES"))
        # The tick of the hour before is due, and bob is new in it.
        connection.execute(text("UPDATE computations SET swept_to = swept_to - interval '1 hour'"))
    eventually(lambda: rows(engine, IN_THE_MIDDLE))
    assert second.said("scheduler_leads") == [], "one leads, the other stands by"
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM slow"))
    first.kill()

    assert eventually(lambda: second.said("scheduler_leads")) < LONGEST_WITHOUT_LEADER
    # Also what the dead one's server process was still at keeps nobody from it.
    eventually(lambda: rows(engine, TICKS), LONGEST_WITHOUT_LEADER)
    waiting = rows(engine, "SELECT identity_value, value FROM messages ORDER BY id")
    second.stop()
    assert rows(engine, TICKS) == [("done", 1)]
    assert waiting == [("ann@x.io", True), ("bob@x.io", True)]
    assert world.members("idle") == {"ann", "bob"}


def test_the_server_ends_the_sessions_of_hosts_that_vanish(database_url: str, engine: Engine) -> None:
    """Their locks would else be held for the two hours that TCP waits by itself."""
    asked = "SELECT name, source FROM pg_settings WHERE name LIKE 'tcp\\_%' ORDER BY name"
    with connect_directly(database_url, application="test") as connection:
        direct = connection.execute(asked).fetchall()
    expected = ["tcp_keepalives_count", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout"]
    assert direct == rows(engine, asked) == [(name, "session") for name in expected]


# --- deliver ------------------------------------------------------------------------------------------------------


@pytest.fixture
def outbox(engine: Engine, database_url: str) -> Iterator[Outbox]:
    made = Outbox(engine, database_url)
    yield made
    made.close()


def under_way(outbox: Outbox) -> dict[int, int]:
    """How many requests each process has started and not settled, by process id."""
    found = outbox.rows(
        "SELECT workers.process, count(*) FROM lanes JOIN workers ON workers.id = lanes.worker_id"
        " JOIN messages USING (profile_id, destination_id) WHERE messages.started_at IS NOT NULL GROUP BY 1"
    )
    return {row[0]: row[1] for row in found}


def is_empty(outbox: Outbox) -> bool:
    return [outbox.count(table) for table in ("messages", "lanes")] == [0, 0]


def is_slow(sandbox: SandboxServer, seconds: float) -> None:
    """Iterable takes everything, and says so later."""
    sandbox.add_faults({"path": "*", "kind": "delay", "seconds": seconds, "when": "after"})


def test_of_two_workers_one_dies_with_requests_under_way_and_all_of_it_arrives(
    fleet: Fleet, outbox: Outbox, sandbox: SandboxServer
) -> None:
    people = 32
    is_slow(sandbox, 0.6)
    settings = {"ENGAGE_SYNC_REQUEST_TIMEOUT": "2", "ENGAGE_SYNC_MAX_IN_FLIGHT": "8"}
    workers = [fleet.start("deliver", waits=False, **settings) for _ in range(2)]
    fleet.until_started(*workers)
    for number in range(people):
        outbox.waiting_message(f"p{number}@x.io", call_type="track")
    eventually(lambda: set(under_way(outbox)) == {worker.pid for worker in workers})
    dying, living = workers
    dying.kill()
    lost = under_way(outbox)[dying.pid]
    eventually(lambda: is_empty(outbox))
    living.stop()

    assert lost > 0
    requests = Counter((request["body"]["email"], request["body"]["id"]) for request in sandbox.requests())
    assert len(requests) == people, "again under the same id"
    assert sum(requests.values()) - people <= lost, "again is only what the dead one was at"
    assert len({event["id"] for event in sandbox.events()}) == len(sandbox.events()) == people
    assert (outbox.count("delivered"), outbox.count("dead_letters"), outbox.count("workers")) == (people, 0, 0)


def test_a_worker_that_is_stopped_ends_what_is_under_way_and_leaves_the_rest(
    fleet: Fleet, outbox: Outbox, sandbox: SandboxServer
) -> None:
    people = 30
    is_slow(sandbox, 1.5)
    worker = fleet.start("deliver", ENGAGE_SYNC_MAX_IN_FLIGHT="8")
    for number in range(people):
        outbox.waiting_message(f"p{number}@x.io")
    eventually(lambda: under_way(outbox))
    assert worker.stop() < 8, "what is under way takes a second and a half, and nothing new begins"
    sent = emails_asked(sandbox)
    assert outbox.count("delivered") == len(sent) < people
    assert outbox.rows("SELECT DISTINCT attempts, started_at FROM messages") == [(0, None)]
    assert outbox.rows("SELECT count(*) FROM lanes WHERE worker_id IS NOT NULL") == [(0,)]
    assert outbox.count("workers") == 0
    sandbox.clear_faults()
    fleet.run("deliver", "--until-empty")
    assert emails_asked(sandbox) == Counter({f"p{number}@x.io": 1 for number in range(people)})


# --- serve --------------------------------------------------------------------------------------------------------


def test_servers_that_are_stopped_or_killed_lose_no_call_that_they_took(fleet: Fleet, engine: Engine) -> None:
    """Whatever was answered with 200 is in the inbox, however its server ended."""
    ports = [_free_port(), fleet.port]
    servers = [fleet.start("serve", waits=False, ENGAGE_SYNC_PORT=str(port)) for port in ports]
    fleet.until_started(*servers)
    accepted: list[str] = []
    done = threading.Event()
    clients = [
        threading.Thread(target=_send, args=(f"http://127.0.0.1:{port}", accepted, done))
        for port in ports
        for _ in range(4)
    ]
    try:
        for client in clients:
            client.start()
        eventually(lambda: len(accepted) > 200)
        servers[0].kill()
        before = len(accepted)
        eventually(lambda: len(accepted) > before + 100)
        seconds = servers[1].stop()
    finally:
        done.set()
        for client in clients:
            client.join()
    assert seconds < 10
    stored = {row[0] for row in rows(engine, "SELECT call ->> 'messageId' FROM inbox")}
    assert set(accepted) <= stored


def _send(url: str, accepted: list[str], done: threading.Event) -> None:
    """Calls one after the other, until told to stop or nobody answers; those that got a 200 are noted."""
    with httpx.Client(auth=(WRITE_KEY, ""), timeout=5) as client:
        number = 0
        while not done.is_set():
            number += 1
            message = f"{threading.get_ident()}-{number}"
            body = {"userId": "u1", "event": "Seen", "messageId": message}
            try:
                answer = client.post(f"{url}/v1/track", json=body)
            except httpx.HTTPError:
                return
            if answer.status_code == 200:
                accepted.append(message)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
