"""How fast a file of calls is imported, beside a bare COPY of the same rows.

    python benchmarks/import_speed.py --calls 200000

Starts an embedded server of its own unless --url names a database (which must be empty). Each call is an
"Order Completed" of about 1 KB with nine products; a tenth of the people are new each ten thousand calls.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
import uuid
from pathlib import Path

import orjson
from sqlalchemy import Engine, text

from engage_sync.database import embedded, migrate
from engage_sync.database.engine import create_engine
from engage_sync.ingest.sources import ensure_sources
from engage_sync.sync.ingest import ImportOptions, import_files


def order_completed(number: int, people: int, chance: random.Random) -> bytes:
    person = chance.randrange(people)
    products = [
        {
            "product_id": f"p{chance.randrange(5000)}",
            "name": f"Product number {place}",
            "price": chance.randrange(100, 9999) / 100,
            "quantity": chance.randrange(1, 5),
            "category": f"c{chance.randrange(40)}",
        }
        for place in range(9)
    ]
    return orjson.dumps(
        {
            "type": "track",
            "event": "Order Completed",
            "messageId": str(uuid.UUID(int=chance.getrandbits(128))),
            "userId": f"user-{person}",
            "anonymousId": f"anonymous-{person}",
            "timestamp": f"2026-{chance.randrange(1, 10):02}-{chance.randrange(1, 28):02}T12:{number % 60:02}:00.000Z",
            "context": {"library": {"name": "analytics-python", "version": "2.3.2"}},
            "properties": {
                "order_id": f"o{number}",
                "total": chance.randrange(1000, 99999) / 100,
                "products": products,
            },
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def write_file(path: Path, calls: int, people: int) -> None:
    chance = random.Random(1)
    with path.open("wb") as file:
        for number in range(calls):
            file.write(order_completed(number, people, chance))


def copy_bare(engine: Engine) -> tuple[int, float]:
    """COPY of the rows that the import made, into a table with the same indexes."""
    with engine.connect() as connection:
        driver = connection.connection.cursor()
        columns = "profile_id, name, timestamp, received_at, source_id, type, message_id, properties, context"
        chunks = []
        with driver.copy(f"COPY (SELECT {columns} FROM events ORDER BY id) TO STDOUT (FORMAT binary)") as source:
            chunks = [bytes(chunk) for chunk in source]
        connection.exec_driver_sql("CREATE TABLE raw_calls (LIKE events INCLUDING ALL)")
        connection.commit()
        began = time.monotonic()
        with driver.copy(f"COPY raw_calls ({columns}) FROM STDIN (FORMAT binary)") as sink:
            for start in range(0, len(chunks), 500):
                sink.write(b"".join(chunks[start : start + 500]))
        connection.commit()
        seconds = time.monotonic() - began
        rows = connection.execute(text("SELECT count(*) FROM raw_calls")).scalar_one()
    return rows, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=5_000)
    parser.add_argument("--url")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="es-bench-") as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        engine = create_engine(chosen.url or embedded.start(home))
        try:
            migrate.upgrade(engine)
            file = Path(folder) / "calls.jsonl"
            write_file(file, chosen.calls, chosen.people)
            print(f"{chosen.calls:,} calls of {file.stat().st_size // chosen.calls:,} bytes, {chosen.people:,} people")
            run(engine, file, chosen.batch)
        finally:
            engine.dispose()
            if not chosen.url:
                embedded.stop(home)


def run(engine: Engine, file: Path, batch: int) -> None:
    with engine.begin() as connection:
        source = ensure_sources(connection, ["benchmark"])["benchmark"]
    cpu = time.process_time()
    report = import_files(engine, [file], source, {}, ImportOptions(batch_size=batch))
    cpu = time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"import: {report.stored / report.seconds:,.0f} calls/s ({report.seconds:.1f} s, ours {cpu:.1f} s), {memory} MB"
    )
    again = import_files(engine, [file], source, {}, ImportOptions(batch_size=batch))
    print(f"again:  {again.read / again.seconds:,.0f} calls/s, {again.duplicates:,} duplicates")
    rows, seconds = copy_bare(engine)
    print(f"COPY:   {rows / seconds:,.0f} rows/s; the import is at 1:{report.seconds / seconds:.1f}")


if __name__ == "__main__":
    main()
