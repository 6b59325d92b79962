"""A profile's one email is replaced by another: in destinations that change emails, and in those that don't."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine

from engage_sync.database import pipeline
from engage_sync.outbox.dead_letters import Chosen
from engage_sync.sandbox.options import ProjectType
from engage_sync.sandbox.server import Options, SandboxServer
from engage_sync.snapshots import telling
from engage_sync.sync import replaying
from tests.factories.shop import Shop, identify, track
from tests.world import BOTH, audience, trait

BOUGHT = "event('Order Completed').count() >= 1"
ONE = {"user_id": 1, "email": 1}


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as made:
        yield made


@pytest.fixture
def shop(engine: Engine, database_url: str, sandbox: SandboxServer) -> Shop:
    """Whose destination changes emails; nothing is forwarded to it but that."""
    return connected_to_nothing(Shop(engine, database_url, sandbox, limits=ONE, email_change="update"))


def connected_to_nothing(shop: Shop) -> Shop:
    shop.context.routes.sources.clear()  # type: ignore[attr-defined]
    return shop


def bought(user: str = "u1", **more: Any) -> dict[str, Any]:
    return track("Order Completed", user, properties={"total": 5}, **more)


def emails(shop: Shop) -> list[str]:
    return [row[0] for row in shop.rows("SELECT value FROM identities WHERE type = 'email' ORDER BY id")]


def test_the_email_changes_in_the_destination_and_nothing_is_said_twice(shop: Shop, sandbox: SandboxServer) -> None:
    spent = trait("spent", "event('Order Completed').sum(property('total'))")
    shop.apply(audience("bought", BOUGHT, destinations=BOTH), spent)
    shop.process(identify("u1", "a@x.io"), bought())
    before = len(sandbox.requests())
    report = shop.process(identify("u1", "B@x.io"))
    assert emails(shop) == ["b@x.io"]
    assert shop.said()[before:] == [("updateEmail", ("a@x.io", "b@x.io"))]
    assert (report.delivered, report.failed) == (1, 0)
    (user,) = sandbox.users()
    assert user["email"] == user["dataFields"]["email"] == "b@x.io"
    assert (user["dataFields"]["bought"], user["dataFields"]["spent"]) == (True, 5.0)

    shop.process(bought())
    assert shop.said()[before + 1 :] == [("update", ("b@x.io", {"spent": 10.0}))]


def test_without_the_setting_the_old_email_is_told_the_end_and_the_new_one_what_is_true(
    engine: Engine, database_url: str, sandbox: SandboxServer
) -> None:
    shop = connected_to_nothing(Shop(engine, database_url, sandbox, limits=ONE))
    shop.apply(audience("bought", BOUGHT))
    shop.process(identify("u1", "a@x.io"), bought())
    shop.process(identify("u1", "b@x.io"))
    assert sorted(shop.said()[1:]) == [
        ("update", ("a@x.io", {"bought": False})),
        ("update", ("b@x.io", {"bought": True})),
    ]


def test_with_several_emails_a_person_a_new_one_replaces_none(
    engine: Engine, database_url: str, sandbox: SandboxServer
) -> None:
    shop = Shop(engine, database_url, sandbox, email_change="update")
    shop.process(identify("u1", "a@x.io"), identify("u1", "b@x.io"))
    assert emails(shop) == ["a@x.io", "b@x.io"]


def test_the_change_goes_before_whatever_names_the_new_email(
    engine: Engine, database_url: str, sandbox: SandboxServer
) -> None:
    shop = Shop(engine, database_url, sandbox, limits=ONE, email_change="update")
    shop.apply(audience("bought", BOUGHT))
    shop.process(identify("u1", "a@x.io"), track("Seen", "u1"), bought(), identify("u1", "b@x.io"), track("Left", "u1"))
    assert shop.said() == [
        ("update", ("a@x.io", {})),
        ("track", ("u1", "Seen")),
        ("trackPurchase", ("u1", [])),
        ("updateEmail", ("a@x.io", "b@x.io")),
        ("update", ("b@x.io", {})),
        ("track", ("u1", "Left")),
        ("update", ("b@x.io", {"bought": True})),
    ]


def test_what_waits_for_the_old_email_is_said_to_the_new_one(shop: Shop, sandbox: SandboxServer) -> None:
    shop.apply(audience("bought", BOUGHT, destinations=BOTH))
    shop.send(identify("u1", "a@x.io"), bought())
    shop.resolve()
    shop.compute()
    shop.send(identify("u1", "b@x.io"))
    shop.resolve()
    shop.compute()
    assert [(who, type_) for who, type_, _ in shop.waiting()] == [
        ("b@x.io", "email_change"),
        ("b@x.io", "identify"),
        ("b@x.io", "track"),
    ]
    report = shop.deliver()
    # Iterable didn't know the old email: there was nothing to change.
    assert (report.delivered, report.failed) == (3, 0)
    assert [user["email"] for user in sandbox.users()] == ["b@x.io"]
    assert shop.rows("SELECT identity_value, enqueued, confirmed FROM told") == [("b@x.io", None, True)] * 2
    shop.compute()
    assert shop.waiting() == []


def told_the_old_email(shop: Shop) -> None:
    """Somebody bought, and a worker died as it told their email, a@x.io."""
    shop.apply(audience("bought", BOUGHT))
    shop.send(identify("u1", "a@x.io"), bought())
    shop.resolve()
    shop.compute()
    start_everything(shop)


def start_everything(shop: Shop) -> None:
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE messages SET attempts = 1, started_at = now() - interval '1 minute'")


def test_what_is_under_way_to_the_old_email_is_not_said_again(shop: Shop, sandbox: SandboxServer) -> None:
    told_the_old_email(shop)
    shop.send(identify("u1", "b@x.io"))
    shop.resolve()
    shop.compute()
    shop.deliver()
    assert shop.said() == [("update", ("a@x.io", {"bought": True})), ("updateEmail", ("a@x.io", "b@x.io"))]
    assert shop.rows("SELECT identity_value, enqueued, confirmed FROM told") == [("b@x.io", None, True)]


@pytest.mark.parametrize("emails_since", [["b@x.io"], ["b@x.io", "c@x.io"], ["b@x.io", "a@x.io"]])
def test_what_was_under_way_to_the_old_email_and_is_refused_is_told_to_the_new_one(
    shop: Shop, sandbox: SandboxServer, emails_since: list[str]
) -> None:
    told_the_old_email(shop)
    for email in emails_since:
        shop.send(identify("u1", email))
        shop.resolve()
    sandbox.add_faults({"path": "/api/users/update", "kind": "status", "status": 409, "times": 1})
    assert shop.deliver().failed == 1
    shop.compute()
    shop.deliver()
    assert shop.said()[-1] == ("update", (emails_since[-1], {"bought": True}))
    assert shop.rows("SELECT DISTINCT identity_value, enqueued, confirmed, is_unknown FROM told") == [
        (emails_since[-1], None, True, False)
    ]


def test_what_was_under_way_to_the_old_email_and_is_withheld_is_told_to_the_new_one(
    shop: Shop, sandbox: SandboxServer
) -> None:
    """By the time another worker looks, `allow` lets only the new email through."""
    told_the_old_email(shop)
    shop.send(identify("u1", "b@y.io"))
    shop.resolve()
    assert shop.deliver(allow=["y.io"]).withheld == 2
    shop.compute()
    shop.deliver(allow=["y.io"])
    assert shop.said() == [("update", ("b@y.io", {"bought": True}))]
    # The old one may have heard it, for all that we know.
    assert shop.rows("SELECT identity_value, enqueued, is_unknown FROM told ORDER BY 1") == [
        ("a@x.io", None, True), ("b@y.io", None, False)
    ]  # fmt: skip


def test_a_change_that_is_withheld_leaves_two_emails(shop: Shop, sandbox: SandboxServer) -> None:
    shop.apply(audience("bought", BOUGHT))
    shop.process(identify("u1", "a@x.io"), bought())
    shop.send(identify("u1", "b@y.io"))
    shop.resolve()
    shop.compute()
    assert shop.deliver(allow=["y.io"]).withheld == 1
    shop.compute()
    # The old email's end waits for the day on which `allow` goes.
    assert shop.deliver(allow=["y.io"]).withheld == 1
    assert shop.said() == [("update", (email, {"bought": True})) for email in ("a@x.io", "b@y.io")]
    assert shop.rows("SELECT identity_value, enqueued, confirmed, is_unknown FROM told ORDER BY 1") == [
        ("a@x.io", None, True, True), ("b@y.io", None, True, False)
    ]  # fmt: skip


def test_what_was_under_way_and_is_refused_is_told_to_the_old_email_where_the_change_is_refused_too(
    shop: Shop, sandbox: SandboxServer
) -> None:
    shop.apply(audience("gold", "trait('plan') = 'gold'"))
    shop.process(identify("u1", "a@x.io", plan="gold"))
    shop.send(identify("u1", "a@x.io", plan="silver"))
    shop.resolve()
    shop.compute()
    start_everything(shop)
    shop.send(identify("u1", "b@x.io"))
    shop.resolve()
    sandbox.add_faults({"path": "/api/users/update", "kind": "status", "status": 409, "times": 1})
    sandbox.add_faults({"path": "/api/users/updateEmail", "kind": "status", "status": 409})
    assert shop.deliver().failed == 2
    shop.compute()
    shop.deliver()
    assert {who: fields["gold"] for type_, (who, fields) in shop.said()[3:]}["a@x.io"] is False


def test_a_run_under_way_as_the_email_changes_says_nothing_to_the_old_one_afterwards(
    shop: Shop, sandbox: SandboxServer
) -> None:
    shop.apply(audience("bought", BOUGHT))
    shop.send(identify("u1", "a@x.io"), bought())
    shop.resolve()
    with shop.engine.begin() as connection:
        # Where a run has read the emails and not committed yet: it stops there for as long as we hold the lock.
        connection.exec_driver_sql(
            "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_advisory_xact_lock(99); RETURN new; END $$"
        )
        connection.exec_driver_sql("CREATE TRIGGER stop BEFORE INSERT ON told FOR EACH ROW EXECUTE FUNCTION stop()")
    shop.send(identify("u1", "b@x.io"))
    with ThreadPoolExecutor() as threads, shop.engine.connect() as holding:
        holding.exec_driver_sql("SELECT pg_advisory_lock(99)")
        computing = threads.submit(shop.compute)
        wait_until(lambda: waiting_for_locks(shop) == 1)
        changing = threads.submit(shop.resolve)
        wait_until(lambda: changing.done() or waiting_for_locks(shop) == 2)
        holding.exec_driver_sql("SELECT pg_advisory_unlock(99)")
        computing.result()
        changing.result()
    shop.deliver()
    shop.compute()
    shop.deliver()
    assert [user["email"] for user in sandbox.users()] == ["b@x.io"]
    assert shop.said()[-1] == ("update", ("b@x.io", {"bought": True}))


def test_what_is_settled_as_the_email_changes_moves_along(shop: Shop) -> None:
    shop.apply(audience("bought", BOUGHT))
    shop.process(identify("u1", "a@x.io"), bought())
    shop.send(identify("u1", "b@x.io"))
    settled_meanwhile(shop, shop.resolve)
    assert shop.rows("SELECT identity_value, confirmed FROM told") == [("b@x.io", True)]


def test_what_is_settled_as_somebody_takes_an_identity_over_follows_along(shop: Shop) -> None:
    shop.apply(audience("bought", BOUGHT))
    shop.process(identify("u1", "a@x.io"), bought())
    ((definition, profile),) = shop.rows("SELECT definition_id, profile_id FROM told")
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE told SET profile_id = 0")

    def follow() -> None:
        with shop.engine.begin() as connection:
            pipeline.ask(connection, telling.following([(definition, profile)]))

    settled_meanwhile(shop, follow)
    assert shop.rows("SELECT profile_id FROM told") == [(profile,)]


def settled_meanwhile(shop: Shop, act: Callable[[], object]) -> None:
    """Do it while a settlement, which it has to wait for, has written what was told, and not committed yet."""
    with ThreadPoolExecutor() as threads, shop.engine.connect() as settling:
        settling.exec_driver_sql("UPDATE told SET confirmed_version = version")
        acting = threads.submit(act)
        wait_until(lambda: acting.done() or waiting_for_locks(shop) == 1)
        settling.commit()
        acting.result()


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(400):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it didn't come to that within 20 seconds")


def waiting_for_locks(shop: Shop) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ((count,),) = shop.rows(query)
    return int(count)


def test_the_change_does_not_overtake_what_went_in_bulk(
    engine: Engine, database_url: str, sandbox: SandboxServer
) -> None:
    shop = connected_to_nothing(Shop(engine, database_url, sandbox, limits=ONE, email_change="update", bulk="always"))
    shop.apply(audience("bought", BOUGHT))
    shop.process(identify("u1", "a@x.io"), bought())
    shop.send(identify("u1", "b@x.io"))
    shop.resolve()
    assert shop.deliver_once().delivered == 0
    ((waits,),) = shop.rows("SELECT extract(epoch FROM due_at - now())::float8 FROM lanes")
    assert 290 < waits <= 300
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE delivered SET delivered_at = delivered_at - interval '5 minutes'")
        connection.exec_driver_sql("UPDATE lanes SET due_at = now()")
    assert shop.deliver_once().delivered == 1
    assert [user["email"] for user in sandbox.users()] == ["b@x.io"]


def test_a_refused_change_is_a_dead_letter_and_both_emails_are_told_what_is_true_of_them(
    shop: Shop, sandbox: SandboxServer
) -> None:
    shop.apply(audience("bought", BOUGHT))
    shop.process(identify("u1", "a@x.io"), bought())
    sandbox.add_faults({"path": "/api/users/updateEmail", "kind": "status", "status": 409})
    assert shop.process(identify("u1", "b@x.io")).failed == 1
    (letter,) = shop.dead_letters()
    assert letter[:3] == ("b@x.io", "email_change", "a@x.io")
    shop.compute()
    shop.deliver()
    assert sorted(shop.said()[2:]) == [
        ("update", ("a@x.io", {"bought": False})),
        ("update", ("b@x.io", {"bought": True})),
    ]
    replayed = replaying.replay(shop.engine, shop.context, Chosen())
    assert (replayed.waiting, replayed.obsolete) == (0, 1)


def test_an_email_that_was_told_something_before_is_a_user_of_its_own(shop: Shop, sandbox: SandboxServer) -> None:
    shop.apply(audience("bought", BOUGHT))
    shop.process(identify("u2", "b@x.io"), bought("u2"))
    shop.process(identify("u2", "c@x.io"))
    shop.process(identify("u1", "a@x.io"), bought("u1"))
    # b became c in Iterable, so b is nobody's there now.
    shop.process(identify("u1", "b@x.io"))
    shop.process(identify("u2", "d@x.io"))
    assert {user["email"]: user["dataFields"]["bought"] for user in sandbox.users()} == {
        "b@x.io": True,
        "d@x.io": True,
    }


def test_there_and_back_again(shop: Shop, sandbox: SandboxServer) -> None:
    shop.apply(audience("bought", BOUGHT))
    shop.process(identify("u1", "a@x.io"), bought())
    shop.process(identify("u1", "b@x.io"), identify("u1", "a@x.io"))
    assert shop.said()[1:] == [("updateEmail", ("a@x.io", "b@x.io")), ("updateEmail", ("b@x.io", "a@x.io"))]
    assert [user["email"] for user in sandbox.users()] == ["a@x.io"]
    assert emails(shop) == ["a@x.io"]


def test_a_late_identify_does_not_bring_an_old_email_back(shop: Shop) -> None:
    shop.send(identify("u1", "old@x.io") | {"timestamp": "2026-01-01T00:00:00Z"})
    shop.send(identify("u1", "new@x.io") | {"timestamp": "2026-01-03T00:00:00Z"})
    shop.resolve()
    shop.send(identify("u1", "late@x.io") | {"timestamp": "2026-01-02T00:00:00Z"})
    shop.resolve()
    assert emails(shop) == ["new@x.io"]


def test_only_what_a_user_s_identify_says_replaces_their_email(shop: Shop) -> None:
    shop.send(identify("u1", "a@x.io") | {"anonymousId": "n1"})
    shop.resolve()
    shop.send(track("Gift Sent", "u1", email="friend@x.io"))
    shop.send(identify(None, "other@x.io") | {"anonymousId": "n1"})
    shop.resolve()
    rows = shop.rows(
        "SELECT user_id.value, email.value FROM identities AS user_id JOIN identities AS email USING (profile_id)"
        " WHERE user_id.type = 'user_id' AND email.type = 'email'"
    )
    assert rows == [("u1", "a@x.io")]


def test_an_email_that_somebody_else_holds_replaces_none(shop: Shop) -> None:
    shop.send(identify("u1", "a@x.io"), identify("u2", "b@x.io"))
    shop.resolve()
    shop.send(identify("u1", "b@x.io"))
    assert shop.resolve().merges == 0
    assert emails(shop) == ["a@x.io", "b@x.io"]


@pytest.mark.parametrize("project_type", ["user_id", "hybrid"])
def test_projects_that_know_users_by_id_change_the_email_like_any_field(
    engine: Engine, database_url: str, project_type: ProjectType
) -> None:
    with SandboxServer(Options(project_type=project_type)) as sandbox:
        shop = Shop(engine, database_url, sandbox, limits=ONE, email_change="update", project_type=project_type)
        shop.apply(audience("bought", BOUGHT))
        shop.process(identify("u1", "a@x.io"), bought())
        shop.process(identify("u1", "b@x.io"))
        (user,) = sandbox.users()
        assert (user["userId"], user["email"], user["dataFields"]["bought"]) == ("u1", "b@x.io", True)
        assert shop.dead_letters() == []
