"""Full computation against SQL written by hand, and the hourly tick against the full computation.

    python benchmarks/evaluation.py [--sample 6] [--copies 203] [--rounds 3] [--database URL]

Imports the demo's history (155,000 baskets of 2,469 households), keeps every sixth basket and repeats all of it under
new ids (203 times: 5 million orders, 500,000 households; `--sample 1 --copies 32`: as many orders of 79,000), and
computes the demo's definitions. Every pair runs in turn on the same data; a definition's rows must equal those of the
SQL by hand. `--database` uses a database that an earlier run filled (see `--keep`).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, text

from engage_sync.database import embedded, migrate
from engage_sync.database.engine import create_engine
from engage_sync.definitions import versions
from engage_sync.definitions.workspace import load_workspace
from engage_sync.evaluation.compiler import Scope
from engage_sync.evaluation.evaluator import evaluation
from engage_sync.ingest.sources import ensure_sources
from engage_sync.sync import compute as computation
from engage_sync.sync.catalog import Catalog, Context
from engage_sync.sync.ingest import import_files

DEMO = Path(__file__).resolve().parent.parent / "examples" / "demo"
sys.path.insert(0, str(DEMO))

ORDERS = "SELECT {} FROM events e WHERE name = 'Order Completed' AND timestamp <= %(t)s{}"
KNOWN = " JOIN profiles p ON p.id = x.profile_id AND p.is_known"


def _window(days: int) -> str:
    return f" AND timestamp >= %(t)s - interval '{days} days'"


def _trait(key: str) -> str:
    definition = f"(SELECT id FROM definitions WHERE key = '{key}')"
    return f"(SELECT profile_id, value FROM snapshots WHERE definition_id = {definition})"


def _folded(reducer: str, rows: str) -> str:
    """Values are walked to once, before they are folded: OFFSET 0 keeps the planner from doing it at each mention."""
    return f"SELECT profile_id, {reducer}(v) AS v FROM ({rows} OFFSET 0) r GROUP BY profile_id"


def _category(*names: str) -> str:
    contains = " OR ".join(f"strpos(engage_text(product -> 'category'), '{name}') > 0" for name in names)
    return (
        " AND EXISTS (SELECT FROM jsonb_array_elements(CASE WHEN jsonb_typeof(properties -> 'products') = 'array'"
        f" THEN properties -> 'products' ELSE '[]' END) AS product WHERE {contains})"
    )


def _members(rows: str) -> str:
    return f"SELECT x.profile_id, 'true'::jsonb AS value FROM ({rows}) x{KNOWN}"


def _values(rows: str, value: str) -> str:
    return f"SELECT x.profile_id, {value} AS value FROM ({rows}) x{KNOWN} WHERE x.v IS NOT NULL"


# The best that we know to write for each definition of the demo, with the same safe readings of values.
BY_HAND = {
    "at_risk": _members(
        "SELECT profile_id FROM (" + ORDERS.format("profile_id", " AND timestamp BETWEEN %(t)s - interval '74 days'"
        " AND %(t)s - interval '14 days'") + " GROUP BY profile_id HAVING count(*) >= 4) y WHERE NOT EXISTS ("
        + ORDERS.format("1", _window(14) + " AND e.profile_id = y.profile_id") + ")"
    ),
    "big_spenders": _members(
        "SELECT profile_id FROM " + _trait("total_spent_90d") + " s WHERE engage_number(value) >= 1000"
    ),
    "families_with_small_baskets": _members(
        "SELECT o.profile_id FROM " + _trait("orders_30d") + " o JOIN " + _trait("average_basket_90d")
        + " a USING (profile_id) JOIN traits k ON k.profile_id = o.profile_id AND k.name = 'kids_count'"
        " WHERE engage_number(o.value) >= 4 AND engage_number(a.value) < 30"
        " AND (engage_number(k.value) IN (1, 2) OR engage_text(k.value) = '3+')"
    ),
    "gold_customers": _members(ORDERS.format("profile_id", " GROUP BY profile_id HAVING count(*) >= 100")),
    "newborn_at_home": _members(
        ORDERS.format("DISTINCT profile_id", _window(60) + _category("DIAPERS", "INFANT FORMULA", "BABY FOODS"))
    ),
    "order_completed_last_30days": _members(ORDERS.format("DISTINCT profile_id", _window(30))),
    "valuable_and_at_risk": _members(
        "SELECT a.profile_id FROM " + _trait("at_risk") + " a JOIN " + _trait("lifetime_value")
        + " l USING (profile_id) WHERE engage_text(a.value) = 'true' AND engage_number(l.value) >= 2500"
    ),
    "wine_lovers": _members(
        "SELECT profile_id FROM " + _trait("wine_orders_90d") + " s WHERE engage_number(value) >= 3"
    ),
    "average_basket_90d": _values(
        _folded("avg", ORDERS.format("profile_id, engage_number(properties -> 'total') AS v", _window(90))),
        "engage_float(x.v)",
    ),
    "favourite_store": _values(
        "SELECT DISTINCT ON (profile_id) profile_id, v FROM ("
        + ORDERS.format("profile_id, engage_text(properties -> 'store') AS v, count(*) AS n", " GROUP BY 1, 2")
        + ") c WHERE n >= 3 AND v IS NOT NULL ORDER BY profile_id, n DESC, v",
        "to_jsonb(x.v)",
    ),
    "lifetime_value": _values(
        _folded("sum", ORDERS.format("profile_id, engage_number(properties -> 'total') AS v", "")),
        "engage_float(x.v)",
    ),
    "orders_30d": _values(
        ORDERS.format("profile_id, count(*) AS v", _window(30) + " GROUP BY profile_id"), "to_jsonb(x.v)"
    ),
    "total_spent_90d": _values(
        _folded("sum", ORDERS.format("profile_id, engage_number(properties -> 'total') AS v", _window(90))),
        "engage_float(x.v)",
    ),
    "wine_orders_90d": _values(
        ORDERS.format("profile_id, count(*) AS v", _window(90) + _category("WINE") + " GROUP BY profile_id"),
        "to_jsonb(x.v)",
    ),
}  # fmt: skip


def fill(engine: Engine, url: str, folder: Path, *, sample: int, copies: int) -> datetime:
    """Import the history once, thin it out and repeat it in the database; returns the instant at which it ends."""
    from history import write_history

    history = write_history(folder, now=datetime.now(UTC))
    with engine.begin() as connection:
        source = ensure_sources(connection, ["shop"])["shop"]
    report = import_files(engine, [history.identifies, history.orders], source, {"user_id": 1})
    print(
        f"import: {report.stored:,} calls in {report.seconds:.1f} s, {report.read / report.seconds:,.0f} a second"
        f" (rejected {report.rejected})"
    )
    repeat(url, sample, copies)
    return history.end


def repeat(url: str, sample: int, copies: int) -> None:
    """Every `sample`th order, and the same people and orders under new ids; indexes are made anew afterwards."""
    with psycopg.connect(url, autocommit=True) as connection:
        began = time.perf_counter()
        connection.execute("DELETE FROM events WHERE mod(id, %s) <> 0", (sample,))
        connection.execute("DROP INDEX ix_events_name_timestamp, ix_events_future")
        connection.execute("ALTER TABLE events DROP CONSTRAINT pk_events")
        row = connection.execute("SELECT max(id) FROM profiles").fetchone()
        assert row is not None
        step = row[0]
        for copy in range(1, copies):
            given = {"step": step * copy, "copy": copy, "first": step}
            for statement in (
                "INSERT INTO profiles (id, is_known) OVERRIDING SYSTEM VALUE"
                " SELECT id + %(step)s, is_known FROM profiles WHERE id <= %(first)s",
                "INSERT INTO identities (profile_id, type, value)"
                " SELECT profile_id + %(step)s, type, %(copy)s || '-' || value FROM identities"
                " WHERE profile_id <= %(first)s",
                "INSERT INTO traits SELECT profile_id + %(step)s, name, value, timestamp FROM traits"
                " WHERE profile_id <= %(first)s",
                "INSERT INTO events (profile_id, name, timestamp, received_at, source_id, type, message_id, properties,"
                " context) SELECT profile_id + %(step)s, name, timestamp, received_at, source_id, type, message_id,"
                " properties, context FROM events WHERE profile_id <= %(first)s",
            ):
                connection.execute(statement.encode(), given)
        connection.execute("SET maintenance_work_mem = '1GB'")
        connection.execute("ALTER TABLE events ADD CONSTRAINT pk_events PRIMARY KEY (profile_id, name, timestamp, id)")
        connection.execute("CREATE INDEX ix_events_name_timestamp ON events (name, timestamp) INCLUDE (profile_id)")
        connection.execute("CREATE INDEX ix_events_future ON events (name, timestamp) WHERE timestamp > received_at")
        connection.execute("VACUUM ANALYZE")
        rows = connection.execute("SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM profiles)").fetchone()
        assert rows is not None
        print(f"repeated to {rows[0]:,} events of {rows[1]:,} profiles in {time.perf_counter() - began:.0f} s")


def against_hand(engine: Engine, catalog: Catalog, as_of: datetime, rounds: int) -> float:
    """Evaluate each definition for everybody, in turn with the SQL by hand; returns the sum of our milliseconds."""
    total = 0.0
    print(f"{'definition':30} {'rows':>8} {'ours ms':>9} {'hand ms':>9} {'ratio':>6}")
    for definition in catalog.definitions:
        compiled = evaluation(definition.spec.tree, include_anonymous=False, scope=Scope.ALL, catalog=catalog.ids)
        hand = BY_HAND[definition.key]
        ours_times, hand_times = [], []
        with engine.begin() as connection:
            difference = (
                f"SELECT (SELECT count(*) FROM ({compiled.sql}) o), (SELECT count(*) FROM"
                f" (({compiled.sql}) EXCEPT ({hand})) d), (SELECT count(*) FROM (({hand}) EXCEPT ({compiled.sql})) d)"
            )
            rows, more, less = connection.exec_driver_sql(difference, {**compiled.arguments(as_of), "t": as_of}).one()
            if more or less:
                raise SystemExit(f"{definition.key}: {more} rows only in ours, {less} only by hand")
            for _ in range(rounds):
                ours_times.append(_timed(connection, compiled.sql, compiled.arguments(as_of)))
                hand_times.append(_timed(connection, hand, {"t": as_of}))
        ours, by_hand = statistics.median(ours_times), statistics.median(hand_times)
        print(f"{definition.key:30} {rows:8,} {ours:9.1f} {by_hand:9.1f} {ours / by_hand:6.2f}", flush=True)
        total += ours
    return total


def ticks(engine: Engine, context: Context, start: datetime) -> None:
    """The 24 ticks of the last day, each definition's median, beside a full computation, which must change nothing."""
    tick_ms: dict[str, list[float]] = {}
    evaluated: dict[str, list[int]] = {}
    for hour in range(1, 25):
        for report in computation.compute(engine, context, as_of=start + timedelta(hours=hour)):
            tick_ms.setdefault(report.key, []).append(_duration(engine, report.run_id))
            evaluated.setdefault(report.key, []).append(report.progress.evaluated)
    again = computation.compute(engine, context, as_of=start + timedelta(hours=24), full=True)
    full_ms = {report.key: _duration(engine, report.run_id) for report in again}
    print(f"{'definition':30} {'people':>8} {'tick ms':>9} {'full ms':>9} {'full/tick':>9}")
    for key, times in tick_ms.items():
        tick = statistics.median(times)
        print(
            f"{key:30} {statistics.median(evaluated[key]):8,.0f} {tick:9.1f} {full_ms[key]:9.1f}"
            f" {full_ms[key] / tick:9.1f}"
        )
    total = sum(map(statistics.median, tick_ms.values()))
    print(f"{'all':30} {'':8} {total:9.1f} {sum(full_ms.values()):9.1f} {sum(full_ms.values()) / total:9.1f}")
    changed = sum(report.progress.messages + report.progress.tally.changed for report in again)
    changed += sum(report.progress.tally.entered + report.progress.tally.exited for report in again)
    print(f"a full computation after the ticks changes {changed}")
    if changed:
        raise SystemExit("a full computation must change nothing")


def _timed(connection: Any, sql: str, arguments: dict[str, Any]) -> float:
    # A run stages its rows with INSERT, which PostgreSQL executes without parallel workers: so do both sides here.
    connection.exec_driver_sql("SET LOCAL max_parallel_workers_per_gather = 0")
    began = time.perf_counter()
    connection.exec_driver_sql(f"SELECT count(*), sum(length(value::text)) FROM ({sql}) AS evaluated", arguments).one()
    return (time.perf_counter() - began) * 1000


def _duration(engine: Engine, run: int | None) -> float:
    with engine.begin() as connection:
        statement = text("SELECT duration_ms FROM runs WHERE id = :run")
        return float(connection.execute(statement, {"run": run}).scalar_one())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=6)
    parser.add_argument("--copies", type=int, default=203)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database", help="one that an earlier run filled")
    parser.add_argument("--keep", action="store_true", help="keep the embedded server and say its URL")
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="es-bench-"))
    home.chmod(0o755)
    url = given.database or embedded.start(home)
    engine = create_engine(url)
    try:
        if given.database is None:
            migrate.upgrade(engine)
            end = fill(engine, url, home, sample=given.sample, copies=given.copies)
        else:
            with engine.begin() as connection:
                end = connection.execute(text("SELECT max(timestamp) FROM events")).scalar_one()
        workspace = load_workspace(
            DEMO,
            {
                **os.environ,
                "SHOP_WRITE_KEY": "k",
                "ITERABLE_API_KEY": "k",
                "ITERABLE_BASE_URL": "http://127.0.0.1:8091",
            },
        )
        with engine.begin() as connection:
            versions.apply(connection, workspace.definitions)
            catalog = Catalog.load(connection)
        # Nobody is told: what is measured is evaluation and the writing of snapshots and changes.
        context = Context(destinations={})
        start = end - timedelta(hours=24)
        began = time.perf_counter()
        first = computation.compute(engine, context, as_of=start)
        seconds = time.perf_counter() - began
        values = sum(report.progress.tally.entered for report in first)
        print(f"first computation: {seconds:.1f} s, {values:,} differences, {values / seconds:,.0f} a second in all")
        evaluating = against_hand(engine, catalog, start, given.rounds) / 1000
        print(f"without evaluating: {values / (seconds - evaluating):,.0f} differences written a second")
        ticks(engine, context, start)
        if given.keep:
            print(f"--database {url}")
    finally:
        engine.dispose()
        if given.database is None and not given.keep:
            embedded.stop(home)
            shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
