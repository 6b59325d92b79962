"""What an SQL trait's last reading said of a person, as its reader sees it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from engage_sync.snapshots.merges import move
from engage_sync.sync.explaining import explain
from tests.integration.test_explain import printed
from tests.integration.test_sql_traits import LOYALTY, Shop, sql_trait
from tests.world import audience


@pytest.fixture
def shop(engine: Engine, database_url: str) -> Shop:
    return Shop(engine, database_url)


def ask(shop: Shop, who: str = "user_id:ann", key: str = "loyalty", **options: Any) -> dict[str, Any]:
    return explain(shop.engine, key, who, **options)


def shown(found: dict[str, Any]) -> str:
    """The lines, with instants and numbers of runs left out."""
    made = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", "(then)", printed(found))
    return re.sub(r"run \d+", "run N", made)


def matched(shop: Shop, who: str = "user_id:ann") -> Any:
    return ask(shop, who)["reading"]["matched_by"]


def test_the_row_how_it_was_matched_and_what_was_told(shop: Shop) -> None:
    shop.loyal("ann", "gold", 120)
    shop.record(sql_trait("loyalty", LOYALTY))
    report = shop.run()["loyalty"]
    shop.deliver()
    shop.gain("ann", "email", "other@x.io")
    found = ask(shop)
    assert shown(found) == (
        "loyalty (SQL trait 'loyalty'), as of (then)\n"
        ": user_id ann, email ann@x.io, email other@x.io\n"
        "\n"
        '✓ value: {"tier":"gold","points":120.0}\n'
        "Changes only when it is read again: on the schedule, or by engage-sync compute loyalty.\n"
        "\n"
        "✓ row of user_id ann, in the reading as of (then) (run N)\n"
        '  tier = "gold"\n'
        "  points = 120.0\n"
        "  email other@x.io was learnt after that; its row counts from the next reading on\n"
        "\n"
        'Snapshot: value: {"tier":"gold","points":120.0} since (then); last computed as of (then)\n'
        "Told:\n"
        '  iterable  ann@x.io  identify: confirmed {"tier":"gold","points":120.0}'
    )
    assert found["reading"]["last"]["run_id"] == report.run_id
    assert (found["expression"], found["accounts"], found["next_change"]) == (None, None, None)


def test_who_has_no_row_hears_so_and_who_was_never_read_too(shop: Shop) -> None:
    shop.record(sql_trait("loyalty", LOYALTY))
    found = ask(shop)
    assert (found["reading"]["last"], found["snapshot"]["is_computed"]) == (None, False)
    assert "Not read yet: engage-sync compute loyalty" in printed(found)
    shop.loyal("ann", "gold", 1)
    shop.run()
    assert "✗ no value\n" in printed(ask(shop, "user_id:bob"))
    assert "✗ no row for this person in the reading as of (then) (run N)" in shown(ask(shop, "user_id:bob"))
    shop.do("DELETE FROM loyalty")
    shop.run()
    assert (ask(shop)["value"], matched(shop)) == (None, None)


def test_another_identifier_with_the_same_row_is_noted_and_nobody_is_told(shop: Shop) -> None:
    shop.gain("ann", "user_id", "ann2")
    shop.loyal("ann", "gold", 120)
    shop.record(sql_trait("loyalty", LOYALTY))
    shop.run()
    shop.deliver()
    assert matched(shop) == {"type": "user_id", "value": "ann"}
    shop.do("UPDATE loyalty SET user_id = 'ann2'")
    assert shop.run()["loyalty"].progress.messages == 0
    assert matched(shop) == {"type": "user_id", "value": "ann2"}
    shop.record(sql_trait("loyalty", "SELECT email, tier, points FROM loyalty"))
    shop.run()
    assert matched(shop) == {"type": "email", "value": "ann@x.io"}
    assert shop.deliver() == []
    shop.lose("ann", "email", "ann@x.io")
    assert "✓ row of email ann@x.io, no longer this person's, in the reading" in printed(ask(shop))


def test_a_reading_that_fails_leaves_the_row_and_says_why(shop: Shop) -> None:
    shop.loyal("ann", "gold", 120)
    shop.record(sql_trait("loyalty", LOYALTY))
    shop.run()
    shop.do("ALTER TABLE loyalty RENAME TO loyal")
    shop.error()
    found = ask(shop)
    assert found["value"] == {"tier": "gold", "points": 120.0}
    assert "The last reading failed since, so that what was read before stands: Its SQL can't be read" in printed(found)
    shop.do("ALTER TABLE loyal RENAME TO loyalty")
    shop.record(sql_trait("loyalty", "SELECT user_id, points FROM loyalty"))
    found = ask(shop)
    assert found["reading"]["notes"] == ["Version 2 is not read yet; what stands is that of version 1"]
    shop.run()
    assert "  tier = null   (a column of an earlier version: told as null)" in printed(ask(shop))


def test_a_merge_brings_row_and_identifier_along_until_it_is_read_again(shop: Shop) -> None:
    shop.loyal("bob", "gold", 7)
    shop.record(sql_trait("loyalty", LOYALTY))
    shop.run()
    with shop.engine.begin() as connection:
        move(connection, [(shop.people["bob"], shop.people["ann"])])
        given = {"ann": shop.people["ann"], "bob": shop.people["bob"]}
        connection.execute(text("UPDATE identities SET profile_id = :ann WHERE profile_id = :bob"), given)
        connection.execute(text("DELETE FROM profiles WHERE id = :bob"), given)
        shop._touch(connection, shop.people["ann"], "identity")
    assert matched(shop) == {"type": "user_id", "value": "bob"}
    came = (
        "in an earlier reading than the reading as of (then) (run N): it came with a profile that was merged into this"
    )
    assert f"✓ row of user_id bob, {came} one at (then)\n" in shown(ask(shop))
    shop.run()
    assert not ask(shop)["reading"]["is_merged"]


def test_of_the_past_it_says_what_is_known_and_what_is_not(shop: Shop) -> None:
    shop.record(sql_trait("loyalty", LOYALTY))
    before = datetime.now(UTC) - timedelta(hours=1)
    shop.loyal("ann", "silver", 1)
    first = shop.run()["loyalty"]
    between = datetime.now(UTC)
    shop.loyal("ann", "gold", 2)
    shop.run()
    later = datetime.now(UTC)
    shop.loyal("ann", "gone", 3)
    shop.run()
    found = ask(shop, as_of=between)
    assert found["value"] == {"tier": "silver", "points": 1.0}
    assert (found["reading"]["last"]["run_id"], found["reading"]["matched_by"]) == (first.run_id, None)
    said = shown(found)
    assert "✓ row in the reading as of (then) (run N)\n" in said
    assert "Known of that instant: the value that was kept, since when, and the reading before that instant" in said
    assert "Not known of that instant: by which user_id or email the row was matched then" in said
    assert ask(shop, as_of=later)["value"] == {"tier": "gold", "points": 2.0}
    found = ask(shop, as_of=before)
    assert (found["value"], found["reading"]["last"]) == (None, None)
    assert "Known of that instant: it had not been read yet; it was first read as of (then)." in shown(found)


def test_what_refers_to_a_column_is_explained_and_says_that_it_is_read(shop: Shop) -> None:
    shop.loyal("ann", "gold", 120)
    shop.record(
        sql_trait("loyalty", LOYALTY),
        audience("gold", "trait('tier') = 'gold' AND event('Login').count() = 0"),
        audience("any_gold", "ANY (trait('tier') = 'gold')", of_accounts=True),
    )
    now = datetime.now(UTC)
    shop.group("ann", "acme", now)
    shop.group("bob", "acme", now)
    shop.run()
    found = ask(shop, key="gold")
    assert found["value"]
    assert found["referenced"] == [
        {"key": "loyalty", "kind": "computed_trait", "by_sql": True, "next_change": None, "of": []}
    ]
    assert "  loyalty, which it refers to, is read by SQL: it changes when it is read again." in printed(found)
    assert ask(shop, "user_id:bob", "any_gold")["value"]
