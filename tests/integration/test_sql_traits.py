"""SQL traits: a statement's rows become traits, told by row; whatever goes wrong in one keeps its old values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from engage_sync import errors
from engage_sync.database import channels
from engage_sync.database.listener import Listener
from engage_sync.definitions.language import tree
from engage_sync.definitions.model import HOURLY, DefinitionSpec, Workspace
from engage_sync.evaluation.warehouse import Row, Warehouse
from engage_sync.messages.message import Message
from engage_sync.messages.render import Sender, render
from engage_sync.outbox import claim
from engage_sync.scheduler import Scheduler
from engage_sync.snapshots.merges import move
from engage_sync.sync import compute as computation
from engage_sync.sync import planning
from engage_sync.sync.batches import RunReport
from tests.world import IDENTIFY, TRAIT_BOTH, World, audience

LOYALTY = "SELECT user_id, tier, points FROM loyalty"


def sql_trait(key: str, sql: str, **options: Any) -> DefinitionSpec:
    rows = tree.SqlRows(sql=sql)
    return DefinitionSpec(
        kind="computed_trait", key=key, name=key, query=sql, tree=rows, **{"destinations": IDENTIFY, **options}
    )


class Shop(World):
    """People, and a table of the company's that says how loyal they are."""

    def __init__(self, engine: Engine, url: str) -> None:
        super().__init__(engine)
        self.url = url
        self.warehouse = Warehouse(url=SecretStr(url), patience=20)
        self.context = replace(self.context, warehouse=self.warehouse)
        self.do("CREATE TABLE loyalty (user_id text, email text, tier text, points numeric)")
        for name in ("ann", "bob"):
            self.person(name, user_id=name, emails=(f"{name}@x.io",))

    def do(self, statement: str, **given: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), given)

    def loyal(self, user: str, tier: str | None, points: float | None) -> None:
        self.do("DELETE FROM loyalty WHERE user_id = :user", user=user)
        self.do(
            "INSERT INTO loyalty VALUES (:user, :user || '@X.io ', :tier, :points)",
            user=user,
            tier=tier,
            points=points,
        )

    def record(self, *specs: DefinitionSpec) -> None:
        """apply, with the columns that the database describes."""
        workspace = planning.described(self.engine, Workspace(path=Path(), definitions=specs), self.warehouse)
        planning.apply(self.engine, workspace, delete=())

    def run(self) -> dict[str, RunReport]:
        reports = computation.compute(self.engine, self.context)
        return {report.key: report for report in reports}

    def error(self, key: str = "loyalty") -> str:
        return self.run()[key].error or ""


@pytest.fixture
def shop(engine: Engine, database_url: str) -> Shop:
    return Shop(engine, database_url)


def test_rows_become_traits_and_only_what_changed_is_told_again(shop: Shop) -> None:
    shop.loyal("ann", "gold", 120)
    shop.loyal("bob", "silver", None)
    shop.loyal("nobody", "gold", 1)
    shop.record(sql_trait("loyalty", LOYALTY))
    assert shop.run()["loyalty"].members == 2
    assert shop.values("loyalty") == {
        "ann": {"tier": "gold", "points": 120.0},
        "bob": {"tier": "silver", "points": None},
    }
    assert sorted(shop.deliver()) == [
        ("ann@x.io", "loyalty", "identify", {"tier": "gold", "points": 120.0}),
        ("bob@x.io", "loyalty", "identify", {"tier": "silver", "points": None}),
    ]
    shop.loyal("bob", "gold", 3)
    shop.run()
    assert shop.deliver() == [("bob@x.io", "loyalty", "identify", {"tier": "gold", "points": 3.0})]
    shop.run()
    assert shop.deliver() == []


def test_a_vanished_row_is_told_as_null(shop: Shop) -> None:
    shop.loyal("ann", "gold", 120)
    shop.record(sql_trait("loyalty", LOYALTY))
    shop.run()
    shop.deliver()
    shop.do("DELETE FROM loyalty")
    assert shop.run()["loyalty"].progress.tally.exited == 1
    assert shop.values("loyalty") == {}
    assert shop.deliver() == [("ann@x.io", "loyalty", "identify", {"tier": None, "points": None})]


def test_a_column_that_goes_is_told_as_null_and_one_that_comes_is_told(shop: Shop) -> None:
    shop.loyal("ann", "gold", 120)
    shop.record(sql_trait("loyalty", LOYALTY))
    shop.run()
    shop.deliver()
    shop.record(sql_trait("loyalty", "SELECT user_id, points, 1 AS level FROM loyalty"))
    shop.run()
    assert shop.deliver() == [("ann@x.io", "loyalty", "identify", {"tier": None, "points": 120.0, "level": 1})]


def test_people_are_found_by_email_as_well(shop: Shop) -> None:
    shop.loyal("ann", "gold", 120)
    shop.record(sql_trait("loyalty", "SELECT email, tier FROM loyalty"))
    shop.run()
    assert shop.values("loyalty") == {"ann": {"tier": "gold"}}


def test_columns_are_traits_of_the_identify_and_properties_of_the_event(shop: Shop) -> None:
    shop.loyal("ann", "gold", 120)
    shop.record(sql_trait("loyalty", LOYALTY, destinations=TRAIT_BOTH))
    shop.run()
    identify, track = _calls(shop)
    assert identify["traits"] == {"tier": "gold", "points": 120.0, "email": "ann@x.io"}
    assert track["event"] == "Trait Computed"
    assert track["properties"] == {"trait_key": "loyalty", "tier": "gold", "points": 120.0}


def test_what_refers_to_a_column_follows_in_the_same_run(shop: Shop) -> None:
    shop.record(
        audience("gold", "trait('tier') = 'gold'"),
        audience("many_points", "trait('loyalty.points') > 100"),
        sql_trait("loyalty", LOYALTY),
    )
    shop.run()
    assert shop.deliver() == []
    shop.loyal("ann", "gold", 120)
    shop.run()
    assert (shop.members("gold"), shop.members("many_points")) == ({"ann"}, {"ann"})
    shop.do("DELETE FROM loyalty")
    shop.run()
    assert (shop.members("gold"), shop.members("many_points")) == (set(), set())


def test_a_new_email_hears_it_when_it_is_read_next(shop: Shop) -> None:
    shop.loyal("ann", "gold", 120)
    shop.record(sql_trait("loyalty", LOYALTY))
    shop.run()
    shop.deliver()
    shop.gain("ann", "email", "other@x.io")
    shop.run()
    assert shop.deliver() == [("other@x.io", "loyalty", "identify", {"tier": "gold", "points": 120.0})]


def test_somebody_who_becomes_known_counts_from_the_next_reading_on(shop: Shop) -> None:
    shop.loyal("eve", "gold", 1)
    shop.record(sql_trait("loyalty", LOYALTY))
    shop.run()
    shop.person("eve", user_id="eve", emails=("eve@x.io",))
    shop.run()
    assert shop.values("loyalty") == {"eve": {"tier": "gold", "points": 1.0}}


def test_it_is_read_on_its_schedule_and_not_before(shop: Shop, database_url: str) -> None:
    listener = Listener(database_url, [channels.INBOX, channels.TOUCHES])
    scheduler = Scheduler(shop.engine, database_url, shop.context, lookback=HOURLY, limits={}, listener=listener)
    shop.record(sql_trait("loyalty", LOYALTY), sql_trait("yearly", LOYALTY.replace("tier, points", "points AS p"),
                compute_cadence="0 0 1 1 *"))  # fmt: skip
    scheduler.run_due()
    scheduler.until_alone_are_done()
    shop.loyal("ann", "gold", 120)
    scheduler.run_due()
    scheduler.until_alone_are_done()
    assert shop.values("loyalty") == {}
    shop.do("UPDATE computations SET swept_to = swept_to - interval '1 hour'")
    scheduler.run_due()
    scheduler.until_alone_are_done()
    assert (shop.values("loyalty").keys(), shop.values("yearly").keys()) == ({"ann"}, set())


def test_a_merge_carries_the_value_to_the_one_that_stays(shop: Shop) -> None:
    """Nothing touches an SQL trait's people: until the next reading nobody may seem to have lost it."""
    shop.loyal("bob", "gold", 7)
    shop.record(sql_trait("loyalty", LOYALTY), audience("gold", "trait('tier') = 'gold'"))
    shop.run()
    shop.deliver()
    with shop.engine.begin() as connection:
        move(connection, [(shop.people["bob"], shop.people["ann"])])
        connection.execute(
            text("UPDATE identities SET profile_id = :ann WHERE profile_id = :bob"),
            {"ann": shop.people["ann"], "bob": shop.people["bob"]},
        )
        connection.execute(text("DELETE FROM profiles WHERE id = :bob"), {"bob": shop.people["bob"]})
        shop._touch(connection, shop.people["ann"], "identity")
    assert shop.values("loyalty") == {"ann": {"tier": "gold", "points": 7.0}}
    computation.compute(shop.engine, shop.context, ["gold"])
    assert shop.members("gold") == {"ann"}
    assert shop.deliver() == [("ann@x.io", "gold", "identify", True)]
    shop.do("UPDATE loyalty SET user_id = 'ann'")
    shop.run()
    assert shop.deliver() == [("ann@x.io", "loyalty", "identify", {"tier": "gold", "points": 7.0})]


def test_a_column_that_comes_takes_over_from_a_trait_that_was_sent(shop: Shop) -> None:
    shop.trait("bob", "tier", "gold", datetime.now(UTC))
    gold = audience("gold", "trait('tier') = 'gold'")
    shop.record(gold)
    shop.run()
    assert shop.members("gold") == {"bob"}
    shop.loyal("ann", "gold", 1)
    shop.record(gold, sql_trait("loyalty", LOYALTY))
    shop.run()
    assert shop.members("gold") == {"ann"}


def test_a_column_that_moves_is_taken_back_by_nobody(shop: Shop) -> None:
    shop.loyal("ann", "gold", 1)
    shop.record(sql_trait("loyalty", LOYALTY))
    shop.run()
    shop.deliver()
    shop.record(
        sql_trait("loyalty", "SELECT user_id, points FROM loyalty"),
        sql_trait("status", "SELECT user_id, tier FROM loyalty"),
    )
    shop.run()
    assert sorted(shop.deliver(), key=str) == [
        ("ann@x.io", "loyalty", "identify", {"points": 1.0}),
        ("ann@x.io", "status", "identify", {"tier": "gold"}),
    ]


# --- what can't be read ------------------------------------------------------------------------------------------


@pytest.fixture
def failing(shop: Shop) -> Iterator[Shop]:
    """A shop whose trait was read once; afterwards its old values stand, and the others went on."""
    shop.loyal("ann", "gold", 120)
    shop.record(sql_trait("loyalty", LOYALTY), audience("known", "event('X').count() = 0"))
    shop.run()
    shop.deliver()
    shop.person("eve", user_id="eve", emails=("eve@x.io",))
    yield shop
    assert shop.values("loyalty") == {"ann": {"tier": "gold", "points": 120.0}}
    assert shop.deliver() == [("eve@x.io", "known", "identify", True)]


def test_two_rows_for_one_identifier(failing: Shop) -> None:
    failing.do("INSERT INTO loyalty VALUES ('ann', '', 'gold', 1)")
    assert failing.error() == "It gives 2 rows for user_id 'ann', expected one."


def test_two_rows_for_one_person(failing: Shop) -> None:
    failing.gain("ann", "user_id", "ann2")
    failing.do("INSERT INTO loyalty VALUES ('ann2', '', 'gold', 1)")
    assert failing.error() == "It gives two rows for one person, user_id 'ann' and 'ann2', expected one."
    failing.lose("ann", "user_id", "ann2")


def test_too_many_rows(failing: Shop) -> None:
    warehouse = replace(failing.warehouse, most_rows=3)
    failing.context = replace(failing.context, warehouse=warehouse)
    failing.do("INSERT INTO loyalty SELECT n::text, '', 'gold', 1 FROM generate_series(1, 4) AS n")
    assert "more than 3 rows (ENGAGE_SYNC_SQL_ROWS)" in failing.error()


def test_a_row_that_says_nobody(failing: Shop) -> None:
    failing.do("INSERT INTO loyalty VALUES (NULL, '', 'gold', 1)")
    assert "has no user_id" in failing.error()


def test_a_row_too_large_to_be_told(failing: Shop) -> None:
    failing.do("INSERT INTO loyalty VALUES ('bob', '', repeat('x', 40000), 1)")
    assert "(user_id 'bob') has 40," in failing.error()


def test_a_number_that_is_none(failing: Shop) -> None:
    failing.do("INSERT INTO loyalty VALUES ('bob', '', 'gold', 'NaN')")
    assert "NaN" in failing.error()


def test_a_table_that_is_gone(failing: Shop) -> None:
    failing.do("DROP TABLE loyalty")
    assert failing.error() == 'Its SQL can\'t be read: relation "loyalty" does not exist (line 1, column 35 of its sql)'


def test_one_that_takes_too_long(failing: Shop) -> None:
    failing.context = replace(failing.context, warehouse=replace(failing.warehouse, patience=0.3))
    failing.do("ALTER TABLE loyalty RENAME TO loyal")
    failing.do("CREATE VIEW loyalty AS SELECT loyal.*, pg_sleep(5)::text FROM loyal")
    assert "took too long" in failing.error()


def test_a_database_that_is_away(failing: Shop) -> None:
    away = replace(failing.warehouse, url=SecretStr("postgresql://engage:secret@127.0.0.1:1/none"))
    failing.context = replace(failing.context, warehouse=away)
    error = failing.error()
    assert "can't be reached" in error
    assert "secret" not in error


# --- what is refused when it is applied ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT tier FROM loyalty", "Expected exactly one of the columns user_id and email; found tier."),
        ("SELECT user_id, email, tier FROM loyalty", "found user_id and email"),
        ("SELECT user_id FROM loyalty", "Expected a column besides user_id"),
        ("SELECT user_id, tier, points AS tier FROM loyalty", "Two columns are named tier"),
        ("SELECT user_id, 1 + 1 FROM loyalty", "A column has no name"),
        ("SELECT user_id, convert_to(tier, 'UTF8') AS raw FROM loyalty", "Column raw is of type bytea"),
        ("SELECT user_id, " + ", ".join(f"{n} AS c{n}" for n in range(101)) + " FROM loyalty", "Found 101 columns"),
        ("SELECT user_id, nothing FROM loyalty", 'column "nothing" does not exist (line 1, column 17 of its sql)'),
    ],
)
def test_what_can_be_no_trait_is_refused_at_its_line(shop: Shop, sql: str, reason: str) -> None:
    with pytest.raises(errors.WorkspaceInvalid) as refused:
        shop.record(sql_trait("loyalty", sql, file="traits/loyalty.yml"))
    assert reason in str(refused.value)
    assert str(refused.value).startswith("traits/loyalty.yml:1:1: ")


def test_two_that_claim_one_column_are_both_named(shop: Shop) -> None:
    with pytest.raises(errors.WorkspaceInvalid, match="the column tier of other is a column of loyalty too"):
        shop.record(sql_trait("loyalty", LOYALTY), sql_trait("other", "SELECT user_id, tier FROM loyalty"))
    with pytest.raises(errors.WorkspaceInvalid, match="the column tier of loyalty is a definition's key too"):
        shop.record(sql_trait("loyalty", LOYALTY), audience("tier", "event('X').exists()"))


def test_a_circle_through_columns_can_not_be(shop: Shop) -> None:
    shop.record(sql_trait("loyalty", LOYALTY))
    with pytest.raises(errors.UsageError, match="loyalty can't be deleted while gold refers to it"):
        planning.apply(
            shop.engine,
            Workspace(path=Path(), definitions=(audience("gold", "trait('tier') = 'gold'"),)),
            delete=["loyalty"],
        )


# --- it never writes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "WITH gone AS (DELETE FROM loyalty RETURNING *) SELECT user_id, tier FROM gone",
        "SELECT user_id, writes(tier) AS tier FROM loyalty",
        "SELECT 'ann' AS user_id, nextval('numbers')::text AS tier",
        "SELECT 'ann' AS user_id, set_config('transaction_read_only', 'off', true) AS tier, writes('x') AS other",
        "SELECT user_id, tier FROM loyalty) AS a; DELETE FROM loyalty; SELECT * FROM (SELECT 1",
        "SELECT user_id, tier FROM loyalty) AS a; COMMIT; DELETE FROM loyalty; SELECT * FROM (SELECT 1",
        "DELETE FROM loyalty RETURNING user_id, tier",
        "COPY loyalty TO STDOUT",
        "SELECT user_id, tier INTO copied FROM loyalty",
        "SELECT user_id, tier FROM loyalty FOR UPDATE",
        "SELECT 'ann' AS user_id, pg_read_file('/etc/hostname') AS tier",
    ],
)
def test_nothing_is_ever_written_or_read_from_files(shop: Shop, sql: str) -> None:
    shop.loyal("ann", "gold", 120)
    shop.do("CREATE SEQUENCE numbers")
    shop.do("CREATE FUNCTION writes(given text) RETURNS text LANGUAGE sql AS $$ DELETE FROM loyalty; SELECT given $$")
    with pytest.raises(errors.ComputationFailed):
        _read(shop.warehouse, sql)
    with shop.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM loyalty")).scalar_one() == 1
        assert connection.execute(text("SELECT last_value, is_called FROM numbers")).one() == (1, False)


def test_values_keep_their_types(shop: Shop) -> None:
    sql = """
      SELECT 'ann' AS user_id, 1 AS whole, 1.5::numeric AS fraction, 2::numeric AS "even", true AS yes,
             DATE '2026-01-31' AS day, TIMESTAMPTZ '2026-01-31 12:00+02' AS at, '{"a": [1]}'::jsonb AS document,
             ARRAY['a', 'b'] AS list, ARRAY[1::numeric] AS numbers, NULL::text AS nothing,
             'a0000000-0000-0000-0000-000000000001'::uuid AS id
    """
    shop.record(sql_trait("typed", sql))
    shop.run()
    assert shop.values("typed")["ann"] == {
        "whole": 1, "fraction": 1.5, "even": 2.0, "yes": True, "day": "2026-01-31", "at": "2026-01-31T10:00:00Z",
        "document": {"a": [1]}, "list": ["a", "b"], "numbers": [1.0], "nothing": None,
        "id": "a0000000-0000-0000-0000-000000000001",
    }  # fmt: skip
    with shop.engine.begin() as connection:
        stored = connection.execute(text("SELECT value::text FROM snapshots")).scalar_one()
    assert '"even": 2.0' in stored


def _read(warehouse: Warehouse, sql: str) -> list[Row]:
    with warehouse.read(sql, warehouse.describe(sql), ()) as (_, found):
        return list(found)


def _calls(shop: Shop) -> list[dict[str, Any]]:
    sender = Sender(
        installation=UUID(int=1), space_slug="s", space_id="spa_1", destination_slug="iterable",
        integration="Iterable",
    )  # fmt: skip
    with shop.engine.begin() as connection:
        destination = shop.context.destinations["iterable"]
        shop_worker = connection.execute(
            text("INSERT INTO workers (role, host, process) VALUES ('deliver', 'h', 1) RETURNING id")
        ).scalar_one()
        messages: list[Message] = [
            message for lane in claim.claim(connection, destination, shop_worker, 10) for message in lane.messages
        ]
    return [call for message in messages if (call := render(message, sender)) is not None]
