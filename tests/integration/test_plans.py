"""What the planner makes of the hot statements: they look up what they need, however much is stored."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, text

from engage_sync.database import pipeline
from engage_sync.definitions import language
from engage_sync.evaluation import dirty
from engage_sync.evaluation.compiler import Evaluation, Scope, compile_as_if, compile_evaluation
from engage_sync.evaluation.dirty import Sweep, Watch
from engage_sync.evaluation.windows import Crossing
from engage_sync.snapshots import shadow
from engage_sync.sync import compute as computation
from tests.world import World, audience

PEOPLE = 20_000
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def world(engine: Engine) -> World:
    """Twenty thousand people with ten orders each over a year, and a log with as many touches."""
    made = World(engine)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO profiles (is_known) SELECT true FROM generate_series(1, :n)"), {"n": PEOPLE}
        )
        connection.execute(
            text(
                """
                INSERT INTO events (profile_id, name, timestamp, received_at, source_id, type, message_id, properties)
                SELECT n % :people + 1, 'Order Completed', :now - n * interval '157 seconds', :now, :source, 'track',
                       n::text, jsonb_build_object('total', n % 100)
                FROM generate_series(0, :people * 10 - 1) AS n
                """
            ),
            {"people": PEOPLE, "now": NOW, "source": made.source},
        )
        connection.execute(
            text(
                """
                INSERT INTO touches (profile_id, reasons)
                SELECT n, ARRAY['event:Other'] FROM generate_series(1, :people) AS n
                """
            ),
            {"people": PEOPLE},
        )
    with engine.begin() as connection:
        # A thousand accounts of twenty people.
        connection.execute(
            text("INSERT INTO accounts (group_id) SELECT 'g' || n FROM generate_series(1, :n) AS n"),
            {"n": PEOPLE // 20},
        )
        connection.execute(
            text(
                """
                INSERT INTO account_members (profile_id, account_id, timestamp)
                SELECT n, n % (:people / 20) + 1, :now FROM generate_series(1, :people) AS n
                """
            ),
            {"people": PEOPLE, "now": NOW},
        )
        connection.execute(
            text(
                """
                INSERT INTO account_traits (account_id, name, value, timestamp)
                SELECT id, 'plan', '"gold"', :now FROM accounts
                """
            ),
            {"now": NOW},
        )
    made.apply(
        audience("of_accounts", "ANY (event('Order Completed').within(30 days).count() >= 2)", of_accounts=True),
        audience("bought", "event('Order Completed').within(30 days).count() >= 2"),
        audience("congratulate", "trait('birthday').within_next(7 days)"),
    )
    made.compute(as_of=NOW)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    return made


@pytest.fixture
def plans(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The plans of all that goes through the pipeline, as they are executed."""
    found: list[str] = []
    ask_each = pipeline.ask_each

    def explained(connection: Any, queries: Any) -> Any:
        driver = connection.connection.driver_connection
        for query in queries:
            statement = pipeline._text(query.statement)
            if "set_config" in statement:
                driver.execute(statement)
            elif statement.lstrip().split(None, 1)[0] in ("WITH", "SELECT") and "advisory" not in statement:
                rows = driver.execute("EXPLAIN " + statement, pipeline._given(query.parameters)).fetchall()
                found.append("\n".join(row[0] for row in rows))
        return ask_each(connection, queries)

    monkeypatch.setattr(pipeline, "ask_each", explained)
    return found


def scans(plan: str) -> set[str]:
    """The tables that a plan reads whole, but for small ones (an empty partition costs nothing)."""
    found = re.findall(r"Seq Scan on (\w+).*?cost=[\d.]+\.\.(\d+)", plan)
    return {table for table, cost in found if int(cost) > 100}


def test_a_tick_reads_only_what_it_needs(world: World, plans: list[str]) -> None:
    made = computation.compute(world.engine, world.context, as_of=NOW + timedelta(hours=1))
    assert {report.error for report in made} == {None}
    of_sets = [plan for plan in plans if "ix_events_name_timestamp" in plan and "CTE watch" in plan]
    assert len(of_sets) == 1
    assert "xid_idx" in of_sets[0]
    assert [scans(plan) for plan in plans] == [set() for _ in plans]


@pytest.mark.parametrize("generic", [False, True])
def test_dirty_sets_use_the_index_of_each_edge(world: World, generic: bool) -> None:
    """Also under a generic plan, which Postgres may take for a statement that it prepared."""
    with world.engine.begin() as connection:
        connection.execute(text(f"SET LOCAL plan_cache_mode = force_{'generic' if generic else 'custom'}_plan"))
        definitions = {row.key: row.id for row in connection.execute(text("SELECT key, id FROM definitions"))}
        edge = Crossing(event="Order Completed", start=NOW - timedelta(days=30), end=NOW - timedelta(days=30, hours=-1))
        seen: list[str] = []
        driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
        ask = pipeline.ask

        def explain(_: Any, query: Any) -> Any:
            driver.execute("DEALLOCATE ALL")
            statement = pipeline._text(query.statement)
            names = list(query.parameters)
            for place, name in enumerate(names, 1):
                statement = statement.replace(f"%({name})s", f"${place}")
            given = pipeline._given(query.parameters)
            values = ", ".join(driver_literal(driver, given[name]) for name in names)
            driver.execute(f"PREPARE sets AS {statement}".encode())
            seen.extend(row[0] for row in driver.execute(f"EXPLAIN EXECUTE sets ({values})".encode()).fetchall())
            return ask(connection, query)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(pipeline, "ask", explain)
            dirty.sets(
                connection,
                [Watch(definition_id=definitions["bought"], reasons=frozenset({"event:Order Completed", "identity"}))],
                [Sweep(definition_id=definitions["bought"], crossing=edge, future_only=False)],
                20_000,
                dated=[definitions["congratulate"]],
                until=NOW,
            )
    plan = "\n".join(seen)
    assert "ix_events_name_timestamp" in plan
    assert scans(plan) == set()


@pytest.mark.parametrize(
    "query",
    [
        "event('Order Completed').within(30 days).count() >= 2",
        "event('Order Completed').within(30 days).count() = 0 AND trait('plan') = 'gold'",
        "ANY (event('Order Completed').within(30 days).count() >= 2)",
        "ALL (event('Order Completed').count() = 0 OR trait('plan') = 'gold')",
    ],
)
def test_the_accounts_of_a_person_are_looked_up(world: World, query: str) -> None:
    made = compile_evaluation(
        language.parse(query, kind="audience", of_accounts=True),
        include_anonymous=False,
        scope=Scope.PROFILES,
        catalog={},
    )
    with world.engine.begin() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(
            row[0] for row in connection.exec_driver_sql("EXPLAIN " + made.sql, made.arguments(NOW, list(range(1, 21))))
        )
    assert scans(plan) == set()
    assert "pk_events" in plan


@pytest.mark.parametrize("supposed", [shadow.PAST, Evaluation(sql="TABLE snapshots", parameters={})])
def test_what_is_supposed_is_looked_up_as_the_live_snapshots_are(world: World, supposed: Evaluation) -> None:
    query = "trait('bought') = 'true' AND event('Order Completed').where(trait('bought') = property('total')).exists()"
    made = compile_evaluation(
        language.parse(query, kind="audience"), include_anonymous=False, scope=Scope.PROFILES, catalog={"bought": 1}
    )
    asked = compile_as_if(made, supposed)
    with world.engine.connect() as connection, shadow.prepared(connection), connection.begin():
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        given = asked.arguments(NOW, list(range(1, 20)))
        plan = "\n".join(row[0] for row in connection.exec_driver_sql("EXPLAIN " + asked.sql, given))
    assert "CTE" not in plan
    assert ("engage_past_pkey" in plan) is (supposed is shadow.PAST)
    assert ("snapshots" in plan) is not (supposed is shadow.PAST)


def driver_literal(connection: psycopg.Connection[Any], value: Any) -> str:
    return psycopg.sql.Literal(value).as_string(connection)


@pytest.mark.parametrize(
    "query",
    [
        "event('Order Completed').within(30 days).count() >= 2",
        "event('Order Completed').within(30 days).count() = 0",
        "event('Order Completed').where(property('total') > 50).sum(property('total')) > 100",
        "event('Order Completed').where(event('Order Completed').within(parent: 7 days).exists()).exists()",
        "event('Order Completed').last(property('total')) = 3 AND trait('plan') = 'gold'",
    ],
)
def test_a_person_is_looked_up(world: World, query: str) -> None:
    made = compile_evaluation(
        language.parse(query, kind="audience"), include_anonymous=False, scope=Scope.PROFILES, catalog={}
    )
    with world.engine.begin() as connection:
        given = made.arguments(NOW, list(range(1, 200)))
        plan = "\n".join(row[0] for row in connection.exec_driver_sql("EXPLAIN " + made.sql, given))
    assert scans(plan) == set()
    assert "pk_events" in plan
