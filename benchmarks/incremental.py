"""What an hourly tick costs when history grows tenfold, with 500 definitions, and for a person with 100,000 events.

    python benchmarks/incremental.py [--part history|many|hot]

history: the demo's people (50,000) with one year of orders and with ten, the same ticks over both.
many: a tick over 500 definitions of which 490 concern nobody, beside one over the ten others alone.
hot: one more event of a person with 100,000, real time's turn beside that of a person with one event.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from evaluation import fill
from sqlalchemy import Engine, text

from engage_sync.database import embedded, migrate
from engage_sync.database.engine import create_engine
from engage_sync.definitions import language, versions
from engage_sync.definitions.language import Kind
from engage_sync.definitions.model import DefinitionSpec
from engage_sync.sync import compute as computation
from engage_sync.sync.catalog import Catalog, Context

ORDER = "event('Order Completed')"
WINDOWED: dict[str, tuple[Kind, str]] = {
    "ordered_30d": ("audience", f"{ORDER}.within(30 days).count() >= 1"),
    "lapsed": ("audience", f"{ORDER}.between(30 days, 60 days).count() >= 1 AND {ORDER}.within(30 days).count() = 0"),
    "spent_90d": ("computed_trait", f"{ORDER}.within(90 days).sum(property('total'))"),
    "stores_180d": ("computed_trait", f"{ORDER}.within(180 days).unique(property('store')).count()"),
    "wine_90d": (
        "computed_trait",
        f"{ORDER}.where(property('products.$.category').contains('WINE')).within(90 days).count()",
    ),
    "once_in_a_week": (
        "audience",
        f"{ORDER}.where({ORDER}.within(parent: 7 days).count() = 0).within(30 days).exists()",
    ),
    "big_spenders": ("audience", "trait('spent_90d') >= 100"),
}
FOREVER: dict[str, tuple[Kind, str]] = {
    "lifetime_value": ("computed_trait", f"{ORDER}.sum(property('total'))"),
    "favourite_store": ("computed_trait", f"{ORDER}.mode(property('store'), 3)"),
    "last_total": ("computed_trait", f"{ORDER}.last(property('total'))"),
}
LONGER = """
    INSERT INTO events (profile_id, name, timestamp, received_at, source_id, type, message_id, properties, context)
    SELECT profile_id, name, timestamp - %s * interval '364 days', received_at, source_id, type, message_id, properties,
           context
    FROM events
"""


def spec(key: str, kind: Kind, query: str, **options: Any) -> DefinitionSpec:
    tree = language.parse(query, kind=kind)
    return DefinitionSpec(kind=kind, key=key, name=key, query=query, tree=tree, **options)


def apply(engine: Engine, specs: Sequence[DefinitionSpec]) -> None:
    with engine.begin() as connection:
        versions.apply(connection, specs)


def tick(engine: Engine, as_of: datetime, keys: Sequence[str] | None = None) -> float:
    """Milliseconds of one tick; nobody is told."""
    began = time.perf_counter()
    for report in computation.compute(engine, Context(destinations={}), keys, as_of=as_of):
        assert report.error is None, report
    return (time.perf_counter() - began) * 1000


@contextmanager
def database() -> Iterator[tuple[Engine, str, Path]]:
    home = Path(tempfile.mkdtemp(prefix="es-bench-"))
    home.chmod(0o755)
    url = embedded.start(home)
    engine = create_engine(url)
    try:
        migrate.upgrade(engine)
        yield engine, url, home
    finally:
        engine.dispose()
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


def measure(engine: Engine, start: datetime, keys: Sequence[str], hours: int = 8) -> dict[str, float]:
    """The median tick of each definition over some hours, alone."""
    found: dict[str, list[float]] = {key: [] for key in keys}
    for hour in range(1, hours + 1):
        for key in keys:
            found[key].append(tick(engine, start + timedelta(hours=hour), [key]))
    return {key: statistics.median(times) for key, times in found.items()}


def longer_history(engine: Engine, url: str, start: datetime) -> None:
    definitions = {**WINDOWED, **FOREVER}
    apply(engine, [spec(key, kind, query) for key, (kind, query) in definitions.items()])
    tick(engine, start)
    once = measure(engine, start, list(definitions))
    with psycopg.connect(url, autocommit=True) as connection:
        count = 0
        for years in (1, 2, 4):
            # Doubled, doubled again, and once more: eight years; the last two come from the oldest of these.
            connection.execute(LONGER, (years,))
        connection.execute(LONGER + " WHERE timestamp < %s", (2, start - timedelta(days=6 * 364)))
        connection.execute("VACUUM ANALYZE events")
        row = connection.execute("SELECT count(*) FROM events").fetchone()
        count = row[0] if row else 0
        connection.execute("TRUNCATE touches")
    middle = start + timedelta(hours=9)
    for report in computation.compute(engine, Context(destinations={}), as_of=middle, full=True):
        assert report.error is None, report
    longer = measure(engine, middle, list(definitions))
    print(f"history of ten years, {count:,} events:")
    for title, keys in (("in windows", WINDOWED), ("of all time", FOREVER)):
        one, ten = sum(once[key] for key in keys), sum(longer[key] for key in keys)
        each = ", ".join(f"{key} {longer[key] / once[key]:.2f}" for key in keys)
        print(f"  {title}: {one:.1f} ms with one year, {ten:.1f} ms with ten, {ten / one:.2f} × ({each})")


def many_definitions(engine: Engine, start: datetime) -> None:
    ten = [spec(key, kind, query) for key, (kind, query) in {**WINDOWED, **FOREVER}.items()]
    quiet = [
        spec(f"quiet_{number}", "audience", f"event('Quiet {number}').within({1 + number % 90} days).count() >= 1")
        for number in range(490)
    ]
    apply(engine, [*ten, *quiet])
    tick(engine, start)
    alone, together = [], []
    keys = [each.key for each in ten]
    for hour in range(1, 9):
        # In turn: what the ten have to do in an hour differs from hour to hour.
        if hour % 2:
            alone.append(tick(engine, start + timedelta(hours=hour), keys))
            tick(engine, start + timedelta(hours=hour))
        else:
            together.append(tick(engine, start + timedelta(hours=hour)))
    few, all_ = statistics.median(alone), statistics.median(together)
    print(f"500 definitions: {all_:.0f} ms, the ten that concern anybody {few:.0f} ms:", end=" ")
    print(f"{(all_ - few) / 490:.3f} ms for each of the others")


def hot_profile(engine: Engine) -> None:
    now = datetime.now(UTC)
    with engine.begin() as connection:
        source = connection.execute(text("INSERT INTO sources (slug) VALUES ('web') RETURNING id")).scalar_one()
        made = "INSERT INTO profiles (is_known) SELECT true FROM generate_series(1, 1000) RETURNING id"
        hot, *others = connection.execute(text(made)).scalars()
        connection.execute(
            text(
                """
                INSERT INTO events (profile_id, name, timestamp, received_at, source_id, type, message_id, properties)
                SELECT CASE WHEN n <= 100000 THEN :hot ELSE :other + n % 999 END, 'Order Completed',
                       clock_timestamp() - n % 100000 * interval '5 minutes', clock_timestamp(), :source, 'track',
                       n::text, jsonb_build_object('total', n % 200, 'store', n % 7)
                FROM generate_series(1, 110000) AS n
                """
            ),
            {"hot": hot, "other": others[0], "source": source},
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE events"))
    definitions = {key: WINDOWED[key] for key in ("ordered_30d", "spent_90d", "once_in_a_week")} | {
        "last_total": FOREVER["last_total"],
        "orders": ("computed_trait", f"{ORDER}.count()"),
        "lifetime_value": FOREVER["lifetime_value"],
    }
    print("one more event, milliseconds of real time's turn (median of 15):")
    for key, (kind, query) in definitions.items():
        apply(engine, [spec(key, kind, query, compute_cadence="realtime")])
        tick(engine, now + timedelta(seconds=1), [key])
        with engine.begin() as connection:
            catalog = Catalog.load(connection)
        mine = [each for each in catalog.definitions if each.key == key]
        times = {hot: [], others[5]: []}
        for _ in range(15):
            for profile, found in times.items():
                with engine.begin() as connection:
                    connection.execute(
                        text(
                            """
                            WITH event AS (
                              INSERT INTO events (profile_id, name, timestamp, received_at, source_id, type, message_id,
                                                  properties)
                              VALUES (:profile, 'Order Completed', clock_timestamp(), clock_timestamp(), :source,
                                      'track', gen_random_uuid()::text, '{"total": 7, "store": 1}')
                            )
                            INSERT INTO touches (profile_id, reasons)
                            VALUES (:profile, ARRAY['event:Order Completed'])
                            """
                        ),
                        {"profile": profile, "source": source},
                    )
                began = time.perf_counter()
                done = computation.turn(engine, Context(destinations={}), catalog, mine, sweeps=False)
                found.append((time.perf_counter() - began) * 1000)
                assert (done.touched, list(done.large)) == (1, []), done
        of_hot, of_other = (statistics.median(found) for found in times.values())
        print(f"  {key:16} {of_hot:7.1f} with 100,000 events, {of_other:5.1f} with ten")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["history", "many", "hot"])
    given = parser.parse_args()
    for part in ("history", "many"):
        if given.part in (None, part):
            with database() as (engine, url, home):
                start = fill(engine, url, home, sample=6, copies=20) - timedelta(hours=24)
                if part == "history":
                    longer_history(engine, url, start)
                else:
                    many_definitions(engine, start)
    if given.part in (None, "hot"):
        with database() as (engine, _, _):
            hot_profile(engine)


if __name__ == "__main__":
    main()
