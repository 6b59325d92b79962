"""What claiming, starting and settling a message costs the database, and that it doesn't grow with what waits.

    python benchmarks/claim_settle.py [--waiting 1000,100000,1000000] [--messages 5000] [--batch 200]

One worker takes messages through the outbox in the calls that delivery makes (claim, start with a slot of the rate,
settle and give back), so many lanes at once, and sends nothing. Each line is taken with a number of messages waiting;
then once more with 20,000 messages of one blocked person due before all others, and with another session's snapshot
open for as long as the measurement takes, so that nothing which is deleted can be cleaned up. Printed: milliseconds a
message, all statements together: as the worker waits for them, network and driver included, and of them the database's
own processor time, where the server is on this machine.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import tempfile
import time
from pathlib import Path

from delivery_rate import fill
from sqlalchemy import Engine, text

from engage_sync.database import embedded, migrate, pipeline
from engage_sync.database.engine import connect_directly, create_engine
from engage_sync.outbox import budget, claim, destinations_table, lanes, roads, settle, workers
from engage_sync.outbox.claim import Wanted
from engage_sync.outbox.lanes import Leaving

_RATE = 1_000_000.0
# One person's lane that somebody else holds, and what waits in it, older than all the rest.
_BLOCKED = (
    "UPDATE lanes SET worker_id = -1, due_at = due_at - interval '1 hour'"
    " WHERE profile_id = (SELECT min(profile_id) FROM lanes)",
    """
    INSERT INTO messages (destination_id, profile_id, definition_id, definition_version, run_id, identity_type,
                          identity_value, call_type, value, told_version, as_of)
    SELECT destination_id, profile_id, definition_id, 1, 1, identity_type, identity_value, 'track', 'true', number,
           now()
    FROM messages, generate_series(2, 20001) AS number
    WHERE profile_id = (SELECT min(profile_id) FROM lanes)
    """,
)


def turns(engine: Engine, destination: int, worker: int, messages: int, batch: int) -> dict[str, float]:
    """Take so many messages through; milliseconds a message, by step."""
    at_first = _processor_time(engine)
    spent = {"claim": 0.0, "start": 0.0, "settle": 0.0}
    done = 0
    while done < messages:
        began = time.perf_counter()
        with engine.begin() as connection:
            leased = claim.lease(connection, destination, worker, batch)
            roads_before = roads.asking_last(destination, [lane.profile_id for lane in leased])
            claimed, _ = pipeline.ask_each(connection, [claim.loading(destination, leased), roads_before])
        spent["claim"] += time.perf_counter() - began
        if not claimed:
            raise SystemExit("nothing is due any more")
        began = time.perf_counter()
        with engine.begin() as connection:
            wanted = [Wanted(lane.messages[0].id, lane.profile_id) for lane in claimed]
            slots = budget.reserving(destination, "identify", _RATE, len(wanted))
            started, _ = pipeline.ask_each(connection, [claim.starting(worker, wanted, 10.0), slots])
        spent["start"] += time.perf_counter() - began
        taken = [settle.Taken(message=lane.messages[0]) for lane in claimed if lane.messages[0].id in started]
        began = time.perf_counter()
        with engine.begin() as connection:
            locking = lanes.locking(destination, worker, [lane.profile_id for lane in claimed])
            settled = settle.settle(connection, worker, taken, beside=[locking])
            leaving = [Leaving(lane.profile_id) for lane in claimed]
            lanes.release(connection, destination, worker, leaving, 10.0, locked=settled.beside[0])
        spent["settle"] += time.perf_counter() - began
        done += len(taken)
    steps = {step: seconds / done * 1000 for step, seconds in spent.items()}
    return steps | {"database": (_processor_time(engine) - at_first) / done * 1000}


def _processor_time(engine: Engine) -> float:
    """Seconds of the processor that the server's process for our one connection has used; not a number elsewhere."""
    with engine.connect() as connection:
        process = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return math.nan
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(what: str, found: dict[str, float]) -> None:
    database = found.pop("database")
    steps = ", ".join(f"{step} {milliseconds:.3f}" for step, milliseconds in found.items())
    print(f"{what:50} {sum(found.values()):.3f} ms a message ({steps}), of the database {database:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiting", default="1000,100000,1000000")
    parser.add_argument("--messages", type=int, default=5_000)
    parser.add_argument("--batch", type=int, default=200)
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="es-bench-"))
    home.chmod(0o755)
    url = embedded.start(home)
    engine = create_engine(url, pool_size=1)
    try:
        migrate.upgrade(engine)
        with engine.begin() as connection:
            destination = destinations_table.ensure(connection, ["iterable"])["iterable"]
        alive = connect_directly(url, application="benchmark worker")
        worker = workers.register(alive)
        waiting = [int(number) for number in given.waiting.split(",")]
        for number in waiting:
            fill(engine, number)
            turns(engine, destination, worker, min(given.messages, number) // 10, given.batch)
            most = min(given.messages, number * 8 // 10)
            show(f"{number:,} waiting", turns(engine, destination, worker, most, given.batch))
        fill(engine, waiting[-1])
        with engine.begin() as connection:
            for statement in _BLOCKED:
                connection.execute(text(statement))
        show(
            "20,000 of one blocked person before them", turns(engine, destination, worker, given.messages, given.batch)
        )
        with engine.connect() as open_for_long:
            open_for_long.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            open_for_long.execute(text("SELECT count(*) FROM destinations"))
            for part in range(1, 6):
                found = turns(engine, destination, worker, given.messages, given.batch)
                show(f"another session's snapshot open, {part * given.messages:,} deleted", found)
        alive.close()
    finally:
        engine.dispose()
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
