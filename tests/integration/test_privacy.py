"""People who want to be left alone, or forgotten: what comes of them is dropped, and nothing of them is left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, text

from engage_sync import errors
from engage_sync.database import locks
from engage_sync.database.engine import connect_directly
from engage_sync.delivery import circuit, turns
from engage_sync.delivery.deliverer import Deliverer
from engage_sync.destinations.allowing import Allowed
from engage_sync.outbox import claim, dead_letters, destinations_table, lanes, settle, workers
from engage_sync.outbox.claim import Wanted
from engage_sync.outbox.dead_letters import Chosen
from engage_sync.outbox.lanes import Leaving
from engage_sync.outbox.settle import Failed, Taken
from engage_sync.profiles import suppression
from engage_sync.reports import privacy as reports
from engage_sync.sandbox.options import Options
from engage_sync.sandbox.server import SandboxServer
from engage_sync.settings import Settings
from engage_sync.snapshots import readback
from engage_sync.sync import erasing, ingest, privacy, queues, replaying
from engage_sync.sync.ingest import ImportOptions
from engage_sync.sync.privacy import BATCH, Outcome
from tests.factories.outbox import Outbox
from tests.factories.shop import Shop, identify, products, track
from tests.world import BOTH, audience, trait

BOUGHT = "event('Order Completed').count() >= 1"
ANN, OLD = "ann.smith@x.io", "ann.old@x.io"
# All that a row could know her by.
ANN_S = (ANN, OLD, "user-ann-17", "anon-ann-4711", "+49 170 1234567", "Ann Smithereen", "device-ann-99", "ann-crm-5")


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(Options()) as made:
        yield made


@pytest.fixture
def shop(engine: Engine, database_url: str, sandbox: SandboxServer) -> Shop:
    made = Shop(engine, database_url, sandbox)
    made.apply(audience("bought", BOUGHT, destinations=BOTH))
    return made


def suppress(shop: Shop, *asked: str) -> Outcome:
    return privacy.suppress(shop.engine, shop.context, [privacy.parse(each) for each in asked], "op")


def forget(shop: Shop, *asked: str) -> Outcome:
    people = [privacy.parse(each) for each in asked]
    return privacy.forget(shop.engine, shop.context, people, "op", {"iterable": shop.destination})


def undo(shop: Shop, *asked: str) -> privacy.Undone:
    return privacy.undo(shop.engine, shop.context, [privacy.parse(each) for each in asked], "op")


def mentions(engine: Engine, *values: str) -> list[tuple[str, str]]:
    """Each table with a row that holds one of the values, however it is written: whatever tables there are."""
    found = []
    with engine.connect() as connection:
        tables = connection.execute(
            text(
                "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
        ).scalars()
        for table in tables.all():
            rows = connection.execute(text(f"SELECT t::text FROM {table} AS t")).scalars()
            whole = "\n".join(rows).lower()
            # What is kept as bytes is shown by its digits.
            found += [(table, value) for value in values if value.lower() in whole or value.encode().hex() in whole]
    return found


def fail_everything(shop: Shop, reason: str) -> None:
    """What waits is a dead letter now."""
    with connect_directly(shop.url, application="test worker") as direct:
        worker = workers.register(direct)
        with shop.engine.begin() as connection:
            connection.execute(text("UPDATE lanes SET due_at = now()"))
            claimed = claim.claim(connection, 1, worker, 50)
            found = [message for lane in claimed for message in lane.messages]
            claim.start(connection, worker, [Wanted(each.id, each.profile_id) for each in found], 10.0)
            failed = [Failed(message=each, reason=reason, request={"body": {"email": ANN}}) for each in found]
            assert len(settle.settle(connection, worker, failed).done) == len(found)
            workers.unregister(connection, worker, 10.0)


def forgotten(shop: Shop) -> list[Any]:
    """Whom the sandbox was asked to forget, in order."""
    return [each["body"] for each in shop.sandbox.requests() if each["path"] == "/api/users/forget"]


def change(shop: Shop, statement: str) -> None:
    with shop.engine.begin() as connection:
        connection.execute(text(statement))


def eventually(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.01)


def ann(at: datetime | None = None) -> list[dict[str, Any]]:
    """Ann in full: an anonymous visit, two emails, a device, a phone, an order, an account."""
    when = {} if at is None else {"timestamp": at.isoformat()}
    external = [{"type": "crm", "id": "ann-crm-5", "collection": "users", "encoding": "none"}]
    return [
        {"type": "page", "anonymousId": "anon-ann-4711", "name": "Home", **when},
        {"type": "identify", "userId": "user-ann-17", "anonymousId": "anon-ann-4711", "traits": {"email": OLD}, **when},
        {**identify("user-ann-17", ANN, phone="+49 170 1234567", name="Ann Smithereen"), **when,
         "context": {"device": {"id": "device-ann-99"}, "externalIds": external}},
        {**track("Order Completed", "user-ann-17", properties={"total": 5, "order_id": "o1", "to": "Ann Smithereen",
                                                              "products": products("tea")}), **when},
        {"type": "group", "userId": "user-ann-17", "groupId": "acme", "traits": {"plan": "pro"}, **when},
    ]  # fmt: skip


def bob() -> list[dict[str, Any]]:
    return [
        identify("bob", "bob@y.io"),
        track("Order Completed", "bob", properties={"total": 5, "products": products("cup")}),
    ]


# --- suppressed ---------------------------------------------------------------------------------------------------


def test_nothing_of_a_suppressed_person_is_taken_in_whichever_identifier_they_come_by(shop: Shop) -> None:
    shop.process(*ann(), *bob())
    before = shop.rows("SELECT count(*) FROM events")
    assert suppress(shop, ANN).known == 1
    said = len(shop.said())
    shop.send(
        track("Seen", "user-ann-17"),
        identify(None, OLD.upper(), plan="x"),
        {"type": "page", "anonymousId": "anon-ann-4711"},
        {"type": "track", "event": "Seen", "anonymousId": "new", "context": {"traits": {"email": ANN}}},
        {"type": "alias", "userId": "ann-again", "previousId": "user-ann-17"},
        track("Seen", "bob"),
    )
    report = shop.resolve()
    assert (report.taken, report.suppressed, report.stored, report.rejected) == (6, 5, 1, 0)
    assert shop.rows("SELECT count(*) FROM events") == [(before[0][0] + 1,)]
    assert shop.rows("SELECT count(*) FROM inbox") == [(0,)]
    assert shop.rows("SELECT suppressed_calls FROM installation") == [(5,)]
    shop.compute()
    shop.deliver()
    assert shop.said()[said:] == [("track", ("bob", "Seen"))]


def test_somebody_else_on_the_same_device_is_heard_without_the_device(shop: Shop) -> None:
    shop.process(*ann())
    suppress(shop, ANN)
    shop.send({**track("Seen", "carl"), "anonymousId": "anon-ann-4711"},
              {"type": "alias", "userId": "carl", "previousId": "anon-ann-4711"})  # fmt: skip
    assert (report := shop.resolve()).stored == 2, report
    carl = "SELECT identities.type, value FROM identities JOIN events USING (profile_id) WHERE name = 'Seen'"
    assert shop.rows(carl) == [("user_id", "carl")]


def test_whoever_nobody_knows_yet_is_suppressed_too(shop: Shop) -> None:
    outcome = suppress(shop, "email:new@x.io")
    assert (outcome.known, outcome.unknown) == (0, 1)
    shop.send(identify(None, "New@x.io"))
    assert shop.resolve().suppressed == 1
    assert shop.rows("SELECT count(*) FROM profiles") == [(0,)]
    assert suppress(shop, "email:new@x.io").already == 1
    assert mentions(shop.engine, "new@x.io") == []


def test_rejected_calls_of_suppressed_people_are_not_kept(shop: Shop) -> None:
    suppress(shop, ANN)
    shop.send(
        {"type": "track", "event": "E", "anonymousId": "null", "context": {"traits": {"email": f" {ANN} x"}}},
        {"type": "track", "event": "E", "anonymousId": "null", "properties": {"email": ANN}},
    )
    report = shop.resolve()
    assert (report.suppressed, report.rejected) == (1, 1)
    assert len(shop.rows("SELECT call FROM rejects")) == 1


def test_rows_of_suppressed_people_are_dropped_from_files(shop: Shop, tmp_path: Any) -> None:
    suppress(shop, "user_id:u1")
    file = tmp_path / "calls.jsonl"
    calls = [{**track("A", user), "messageId": user, "timestamp": "2026-01-01"} for user in ("u1", "u2")]
    file.write_bytes(b"".join(orjson.dumps(call) + b"\n" for call in calls))
    report = ingest.import_files(shop.engine, [file], shop.sources["web"], {}, ImportOptions())
    assert (report.read, report.suppressed, report.stored) == (2, 1, 1)


def test_what_waits_for_a_suppressed_person_is_withdrawn_and_undoing_tells_what_is_true(shop: Shop) -> None:
    shop.process(identify("user-ann-17", ANN))
    shop.send(track("Order Completed", "user-ann-17", properties={"total": 5, "products": products("tea")}), *bob())
    shop.resolve()
    shop.compute()
    assert len([row for row in shop.waiting() if row[0] != "bob@y.io" and row[0] != "bob"]) == 3
    outcome = suppress(shop, ANN)
    assert outcome.withdrawn == 3
    assert {row[0] for row in shop.waiting()} == {"bob", "bob@y.io"}
    shop.deliver()
    assert not [said for said in shop.said()[1:] if said[1][0] in (ANN, "user-ann-17")]
    # They stay members; nobody is told.
    assert shop.rows("SELECT count(*) FROM snapshots WHERE value = 'true'") == [(2,)]
    shop.compute()
    assert shop.waiting() == []

    assert undo(shop, "user_id:user-ann-17").profiles == 1
    shop.compute()
    assert [(row[0], row[1]) for row in shop.waiting()] == [(ANN, "identify"), (ANN, "track")]
    shop.send(track("Seen", "user-ann-17"))
    assert shop.resolve().stored == 1
    assert undo(shop, ANN).unknown == 1


def test_a_call_of_somebody_else_that_would_reach_a_suppressed_person_is_not_passed_on(shop: Shop) -> None:
    shop.process(*bob())
    invitation = track("Invited", None, properties={"email": ANN}, anonymousId="bobs-phone")
    shop.send(invitation)
    shop.resolve()
    assert [row[2] for row in shop.waiting()] == ["Invited"]
    suppress(shop, ANN)
    assert shop.waiting() == []
    shop.send(invitation)
    assert shop.resolve().stored == 1
    assert shop.waiting() == []


def test_a_message_that_was_enqueued_in_the_same_moment_is_not_started_and_leaves_the_outbox(
    engine: Engine, database_url: str
) -> None:
    """A round that saw nobody suppressed commits after what waited was withdrawn."""
    outbox = Outbox(engine, database_url)
    outbox.waiting_message(ANN)
    worker = outbox.worker()
    (lane,) = outbox.claim(worker)
    with engine.begin() as connection:
        suppression.mark(connection, {lane.profile_id: 1})
    assert outbox.start(worker, lane) == {}
    with engine.begin() as connection:
        workers.unregister(connection, worker, 10.0)
    (again,) = outbox.claim(outbox.worker())
    assert [message.is_suppressed for message in again.messages] == [True]
    outbox.close()


def test_such_a_message_ends_without_a_request(shop: Shop, sandbox: SandboxServer) -> None:
    shop.process(identify("user-ann-17", ANN))
    shop.send(track("Seen", "user-ann-17"))
    shop.resolve()
    with shop.engine.begin() as connection:
        suppression.mark(connection, {row[0]: 1 for row in shop.rows("SELECT id FROM profiles")})
    report = shop.deliver()
    assert (report.delivered, report.withheld, report.waiting) == (0, 1, 0)
    assert shop.rows("SELECT count(*) FROM lanes") == [(0,)]


# --- forgotten ----------------------------------------------------------------------------------------------------


def test_after_forgetting_no_row_of_any_table_knows_them(shop: Shop) -> None:
    """Ann in every place where somebody can be: stored, told, waiting, failed, rejected, unresolved."""
    shop.apply(
        audience("bought", BOUGHT, destinations=BOTH),
        trait("last_to", "event('Order Completed').last(property('to'))"),
    )
    shop.process(*ann(), *bob())
    assert shop.dead_letters() == []
    # Failed for good, by her and by somebody else to her; the destination's words name her.
    shop.send(track("Bad", "user-ann-17", properties={"createdAt": "x", "to": "Ann Smithereen"}))
    shop.resolve()
    fail_everything(shop, f"400 no such user {ANN}")
    # Waiting, never started.
    shop.send(track("Seen", "user-ann-17", properties={"to": "Ann Smithereen"}), identify("bob", None, likes="tea"))
    shop.resolve()
    with shop.engine.begin() as connection:
        connection.execute(text("UPDATE messages SET last_error = :said"), {"said": f"503 for {ANN}"})
        destinations_table.pause(connection, "iterable", f"50 were refused; the last one: {ANN}")
        connection.execute(text("UPDATE runs SET error = :said"), {"said": "two rows for 'user-ann-17'"})
    # Not resolved yet, and unresolvable.
    shop.send({"type": "track", "event": "E", "anonymousId": "null", "properties": {"email": ANN}})
    shop.resolve()
    shop.send(track("Later", "user-ann-17"), track("Later", "bob"))
    assert {table.split("_p2")[0] for table, _ in mentions(shop.engine, *ANN_S)} >= {
        "inbox", "rejects", "identities", "traits", "events", "told", "messages", "dead_letters", "delivered",
        "snapshots", "changes", "runs", "destinations",
    }  # fmt: skip
    outcome = forget(shop, ANN)
    assert (outcome.known, outcome.unfinished) == (1, [])
    waiting = "SELECT DISTINCT call_type, identity_value FROM messages WHERE call_type = 'forget' ORDER BY 2"
    assert shop.rows(waiting) == [("forget", OLD), ("forget", ANN), ("forget", "user-ann-17")]
    assert {table for table, _ in mentions(shop.engine, *ANN_S)} == {"messages"}

    with shop.engine.begin() as connection:
        destinations_table.resume(connection, "iterable")
    shop.deliver()
    assert forgotten(shop) == [{"email": OLD}, {"email": ANN}, {"userId": "user-ann-17"}]
    assert mentions(shop.engine, *ANN_S) == []
    assert shop.sandbox.user(ANN) is None
    # Bob is as he was.
    assert shop.rows("SELECT value FROM identities WHERE type = 'email'") == [("bob@y.io",)]
    assert shop.resolve().stored == 1
    ((deleted,),) = shop.rows("SELECT deleted FROM privacy_requests")
    assert {"events", "identities", "traits", "profiles", "told", "snapshots", "changes", "delivered",
            "dead_letters", "inbox", "rejects", "account_members", "accounts", "touches"} <= set(deleted)  # fmt: skip


def test_what_somebody_else_said_with_their_email_reaches_no_destination_and_stays_what_that_one_said(
    shop: Shop,
) -> None:
    shop.process(identify("user-ann-17", ANN))
    shop.send(track("Invited", None, properties={"email": ANN}, anonymousId="bobs-phone"))
    shop.resolve()
    forget(shop, ANN)
    assert {row[1] for row in shop.waiting()} == {"forget"}
    assert shop.rows("SELECT value FROM identities") == [("bobs-phone",)]
    assert shop.rows("SELECT name FROM events") == [("Invited",)]


def test_forgetting_goes_after_what_is_in_flight_whose_answer_then_meets_nothing(shop: Shop) -> None:
    shop.process(identify("user-ann-17", ANN))
    shop.send(track("Seen", "user-ann-17"), track("Seen again", "user-ann-17"))
    shop.resolve()
    with connect_directly(shop.url, application="test worker") as direct:
        worker = workers.register(direct)
        with shop.engine.begin() as connection:
            (lane,) = claim.claim(connection, 1, worker, 50)
            first = lane.messages[0]
            assert claim.start(connection, worker, [Wanted(first.id, first.profile_id)], 10.0)
        forget(shop, ANN)
        with shop.engine.begin() as connection:
            # The person's lane is still the worker's, which finds nothing more to start in it.
            assert claim.claim(connection, 1, worker, 50) == []
            second = lane.messages[1]
            assert claim.start(connection, worker, [Wanted(second.id, second.profile_id)], 10.0) == {}
            assert settle.settle(connection, worker, [Taken(message=first)]).stale == {first.id}
            released = lanes.release(connection, 1, worker, [Leaving(lane.profile_id)], 10.0)
            assert released.waiting == {lane.profile_id}
            # Not before a request without an answer can't arrive any more.
            assert claim.claim(connection, 1, worker, 50) == []
            connection.execute(text("UPDATE lanes SET due_at = now()"))
            (again,) = claim.claim(connection, 1, worker, 50)
            assert [message.call_type for message in again.messages] == ["forget", "forget"]
            assert claim.start(connection, worker, [Wanted(again.messages[0].id, lane.profile_id)], 10.0) == {}
            connection.execute(text("UPDATE messages SET started_at = started_at - interval '10 seconds'"))
            assert claim.start(connection, worker, [Wanted(again.messages[0].id, lane.profile_id)], 10.0)
            workers.unregister(connection, worker, 10.0)
    assert shop.rows("SELECT count(*) FROM told") == [(0,)]
    assert {table for table, _ in mentions(shop.engine, ANN)} == {"messages"}


def test_nothing_is_asked_within_minutes_of_what_went_in_bulk(shop: Shop) -> None:
    shop.process(identify("user-ann-17", ANN))
    with shop.engine.begin() as connection:
        connection.execute(text("UPDATE delivered SET in_bulk = true"))
    forget(shop, ANN)
    waits = "SELECT due_at - clock_timestamp() > interval '4 minutes' FROM lanes"
    assert shop.rows(waits) == [(True,)]


def test_asking_again_does_nothing_and_a_person_nobody_knows_is_forgotten_by_destinations_too(shop: Shop) -> None:
    shop.process(identify("user-ann-17", ANN))
    assert forget(shop, ANN).known == 1
    again = forget(shop, ANN, "user_id:user-ann-17")
    assert (again.known, again.unknown, again.already) == (0, 0, 2)
    unknown = forget(shop, "new@x.io")
    assert (unknown.known, unknown.unknown) == (0, 1)
    shop.deliver()
    assert forgotten(shop) == [{"email": ANN}, {"userId": "user-ann-17"}, {"email": "new@x.io"}]
    assert mentions(shop.engine, ANN, "new@x.io") == []
    shop.send(identify(None, "new@x.io"), identify("user-ann-17"))
    assert shop.resolve().suppressed == 2


@pytest.mark.parametrize(
    "step",
    [
        "outbox_erasing.people",
        "snapshots_erasing.people",
        "profiles_erasing.events",
        "profiles_erasing.people",
        "locks.pass_all_definitions",
        "privacy.finish",
    ],
)
def test_forgetting_that_died_at_any_step_is_finished_by_asking_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    shop.process(*ann())
    module, function = step.split(".")

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(getattr(erasing, module), function, dies)
        with pytest.raises(KeyboardInterrupt):
            forget(shop, ANN)
    # Whatever is left, nothing is said to her, and nothing of hers is taken in.
    shop.send(track("Seen", "user-ann-17"))
    assert shop.resolve().suppressed == 1
    shop.compute()
    shop.deliver()
    again = forget(shop, "user_id:user-ann-17" if step in ("privacy.finish", "locks.pass_all_definitions") else ANN)
    assert (again.known, again.already, again.unfinished) == (0, 0, [])
    assert mentions(shop.engine, *ANN_S) == []
    assert sorted(map(str, forgotten(shop))) == sorted(
        map(str, [{"email": OLD}, {"email": ANN}, {"userId": "user-ann-17"}])
    )
    assert {said[1][0] for said in shop.said() if said[0] != "forget"} <= {ANN, OLD, "user-ann-17"}


def test_the_scheduler_finishes_what_somebody_left(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.process(*ann())
    with monkeypatch.context() as patch:
        patch.setattr(erasing, "erase", lambda engine, requests: list(requests))
        assert len(forget(shop, ANN).unfinished) == 1
    assert erasing.resume(shop.engine) == 0
    with shop.engine.begin() as connection:
        connection.execute(text("UPDATE privacy_requests SET asked_at = asked_at - interval '61 seconds'"))
    assert erasing.resume(shop.engine) == 1
    shop.deliver()
    assert mentions(shop.engine, *ANN_S) == []


def test_what_a_computation_wrote_that_saw_them_is_found_when_it_ends(shop: Shop) -> None:
    """A round that began before writes about them behind the first deletion; nobody is finished until it ended."""
    shop.process(*ann())
    ((profile,),) = shop.rows("SELECT profile_id FROM identities WHERE value = :ann", ann=ANN)
    ((definition,),) = shop.rows("SELECT id FROM definitions")
    with ThreadPoolExecutor(1) as threads, shop.engine.begin() as round_:
        locks.wait(round_, locks.LockClass.DEFINITION, definition)
        forgetting = threads.submit(forget, shop, ANN)
        eventually(lambda: shop.rows("SELECT count(*) FROM profiles WHERE id = :id", id=profile) == [(0,)])
        round_.execute(
            text(
                """
                INSERT INTO told (identity_value, identity_type, destination_id, definition_id, call_type, profile_id,
                                  version, enqueued)
                VALUES (:ann, 'email', 1, :definition, 'identify', :profile, 7, 'true')
                """
            ),
            {"ann": ANN, "definition": definition, "profile": profile},
        )
        round_.execute(
            text(
                """
                INSERT INTO messages (destination_id, profile_id, definition_id, definition_version, run_id,
                                      identity_type, identity_value, call_type, value, told_version, as_of)
                VALUES (1, :profile, :definition, 1, 1, 'email', :ann, 'identify', 'true', 7, now())
                """
            ),
            {"ann": ANN, "definition": definition, "profile": profile},
        )
        assert not forgetting.done()
        round_.commit()
        assert forgetting.result(30).unfinished == []
    shop.deliver()
    assert mentions(shop.engine, *ANN_S) == []
    assert shop.rows("SELECT count(*) FROM suppressed_profiles") == [(0,)]


def test_what_a_destination_said_of_them_before_is_not_taken_up_afterwards(shop: Shop) -> None:
    """Read back while they were still known, adopted when they weren't."""
    shop.send(*ann(), *bob())
    shop.resolve()
    people = [readback.Identity(ANN, "email"), readback.Identity("bob@y.io", "email")]
    ((definition,),) = shop.rows("SELECT id FROM definitions")
    with shop.engine.begin() as connection:
        found = readback.standings(connection, 1, [definition], people, user_id_once=False)
    forget(shop, ANN)
    with shop.engine.begin() as connection:
        held = [(each, "true") for each in found]
        adopted = readback.adopt(connection, 1, definition, ["identify", "track"], held)
    assert list(adopted) == [people[1]]
    assert not [table for table, _ in mentions(shop.engine, ANN) if table not in ("messages", "dead_letters")]


def test_a_call_that_is_being_resolved_in_the_same_moment_is_forgotten_with_the_rest(shop: Shop) -> None:
    shop.process(identify("user-ann-17", ANN))
    with ThreadPoolExecutor(1) as threads, shop.engine.begin() as resolving:
        locks.wait(resolving, locks.LockClass.RESOLVER)
        forgetting = threads.submit(forget, shop, ANN)
        resolving.execute(
            text(
                """
                INSERT INTO identities (profile_id, type, value)
                SELECT profile_id, 'email', :old FROM identities WHERE value = :ann
                """
            ),
            {"ann": ANN, "old": OLD},
        )
        resolving.commit()
        assert forgetting.result(30).known == 1
    shop.send(identify(None, OLD))
    assert shop.resolve().suppressed == 1
    shop.deliver()
    assert {"email": OLD} in forgotten(shop)
    assert mentions(shop.engine, *ANN_S) == []


def test_profiles_that_were_merged_away_go_too(shop: Shop) -> None:
    shop.process(identify("user-ann-17", None), track("Order Completed", None, email=ANN, properties={"total": 1}))
    shop.process(identify("user-ann-17", ANN))
    assert shop.rows("SELECT count(*) FROM lost_profiles") == [(1,)]
    assert forget(shop, ANN).known == 1
    shop.deliver()
    for table in ("merges", "lost_profiles", "changes", "delivered", "profiles"):
        assert shop.rows(f"SELECT count(*) FROM {table}") == [(0,)], table
    assert mentions(shop.engine, *ANN_S) == []


def test_who_shares_an_account_is_computed_anew_and_an_account_of_nobody_goes(shop: Shop) -> None:
    shop.apply(audience("shoppers", BOUGHT, of_accounts=True))
    both = [{"type": "group", "userId": user, "groupId": "acme", "traits": {"plan": "pro"}} for user in ("a", "b")]
    shop.process(identify("a", "a@y.io"), identify("b", "b@y.io"), *both,
                 {"type": "group", "userId": "a", "groupId": "alone", "traits": {"owner": "a@y.io"}},
                 track("Order Completed", "a", properties={"total": 5, "products": products("tea")}))  # fmt: skip
    assert shop.rows("SELECT count(*) FROM snapshots WHERE value = 'true'") == [(3,)]
    forget(shop, "a@y.io")
    assert shop.rows("SELECT group_id FROM accounts") == [("acme",)]
    shop.compute()
    # It was a's order that made b a member; without it, the account has none.
    assert shop.rows("SELECT count(*) FROM snapshots WHERE value = 'true'") == [(0,)]
    shop.deliver()
    assert mentions(shop.engine, "a@y.io") == []


def test_members_are_counted_without_them(shop: Shop) -> None:
    shop.process(*ann(), *bob())
    forget(shop, ANN)
    assert shop.rows("SELECT members FROM computations") == [(1,)]
    shop.compute()
    assert shop.rows("SELECT members FROM computations") == [(1,)]


# --- destinations -------------------------------------------------------------------------------------------------


def test_a_destination_that_refuses_leaves_a_dead_letter_until_it_takes_it_or_is_given_up(
    shop: Shop, sandbox: SandboxServer
) -> None:
    shop.process(identify(None, ANN))
    forget(shop, ANN)
    fail_everything(shop, f"400 no such user: {ANN}")
    with shop.engine.connect() as connection:
        (found,) = reports.recorded(connection)
    assert (found.status, [(each.status, each.reason) for each in found.destinations]) == (
        "refused", [("refused", "400 no such user: [removed]")],
    )  # fmt: skip
    assert {table for table, _ in mentions(shop.engine, ANN)} == {"dead_letters"}
    replayed = replaying.replay(shop.engine, shop.context, Chosen())
    with shop.engine.begin() as connection:
        assert (replayed.waiting, reports.recorded(connection)[0].status) == (1, "waiting")
    shop.deliver()
    assert mentions(shop.engine, ANN) == []
    with shop.engine.connect() as connection:
        assert reports.recorded(connection)[0].status == "done"


def test_a_refused_request_that_is_discarded_leaves_nothing(shop: Shop) -> None:
    forget(shop, ANN)
    fail_everything(shop, "400")
    with shop.engine.begin() as connection:
        assert dead_letters.discard(connection, Chosen()) == 1
        (found,) = reports.recorded(connection)
    assert [each.status for each in found.destinations] == ["discarded"]
    assert mentions(shop.engine, ANN) == []


def test_where_only_some_domains_are_let_through_nobody_else_is_named(shop: Shop) -> None:
    forget(shop, ANN)
    made = Deliverer(
        shop.engine, {"iterable": shop.destination}, Settings(), direct_url=shop.url,
        allowed={"iterable": Allowed(["shop.io"])},
    )  # fmt: skip
    asyncio.run(made.run_until_empty())
    assert forgotten(shop) == []
    with shop.engine.connect() as connection:
        assert [each.status for each in reports.recorded(connection)[0].destinations] == ["withheld"]
    assert mentions(shop.engine, ANN) == []


def test_many_stand_in_line_at_the_rate_of_the_destination(shop: Shop) -> None:
    """Else they would fill the hands of a worker, which can send three of them a second, and all others would wait."""
    forget(shop, *(f"p{number}@x.io" for number in range(30)))
    ((span,),) = shop.rows("SELECT extract(epoch FROM max(due_at) - min(due_at))::float8 FROM lanes")
    assert 9 < span < 11
    forget(shop, "p30@x.io")
    ((last,),) = shop.rows("SELECT extract(epoch FROM max(due_at) - clock_timestamp())::float8 FROM lanes")
    assert 8 < last < 11


def test_more_than_a_day_takes_stand_in_line_for_days(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop.destination, "daily_limits", {"forget": 10})
    forget(shop, *(f"p{number}@x.io" for number in range(4)))
    change(shop, "UPDATE privacy_answers SET status = 'taken', answered_at = clock_timestamp() - interval '23 hours'")
    forget(shop, *(f"q{number}@x.io" for number in range(20)))
    days = shop.rows(
        "SELECT round(extract(epoch FROM due_at - clock_timestamp()) / 86400)::int AS day, count(*) FROM lanes"
        " WHERE profile_id IN (SELECT profile_id FROM messages WHERE identity_value LIKE 'q%') GROUP BY 1 ORDER BY 1"
    )
    assert days == [(0, 6), (1, 10), (2, 4)]
    with shop.engine.connect() as connection:
        (line,) = queues.lines(connection, {"iterable": shop.destination}).values()
    assert (line.destination, line.waiting, line.lasting) == ("iterable", 20, "about 2 days")


def test_a_long_line_that_is_due_at_once_keeps_nobody_else_waiting(shop: Shop) -> None:
    """As after a long pause: many more than a worker has hands."""
    forget(shop, *(f"p{number}@x.io" for number in range(BATCH)))
    change(shop, "UPDATE lanes SET due_at = clock_timestamp() - interval '1 hour'")
    for number in range(60):
        shop.send(identify(f"u{number}", f"u{number}@y.io"))
    shop.resolve()
    others = len(shop.waiting()) - BATCH
    assert others >= 60
    # As urgent as they are: who came first goes first.
    change(shop, "UPDATE lanes SET priority = 1")

    async def run() -> None:
        stop = asyncio.Event()
        settings = Settings(max_in_flight=8)
        made = Deliverer(shop.engine, {"iterable": shop.destination}, settings, direct_url=shop.url)
        running = asyncio.create_task(made.run(stop))
        await asyncio.to_thread(eventually, lambda: len(shop.said()) - len(forgotten(shop)) >= others)
        assert len(forgotten(shop)) < BATCH / 4
        # They go on meanwhile, in no hurry and without a pause.
        before = len(forgotten(shop))
        await asyncio.to_thread(eventually, lambda: len(forgotten(shop)) >= before + 6)
        stop.set()
        await running

    asyncio.run(run())
    assert {each["status"] for each in shop.sandbox.requests()} == {200}


def test_the_limit_of_a_day_gives_nobody_up_and_slows_and_holds_nothing_else(
    shop: Shop, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "FIRST_PAUSE", 0.2)
    # By single people, and soon.
    monkeypatch.setattr(circuit, "_NOTHING", ((1, 0.1),))
    sandbox.add_faults({"path": "/api/users/forget", "kind": "status", "status": 429, "times": 9})
    shop.send(*bob())
    shop.resolve()
    forget(shop, *(f"p{number}@x.io" for number in range(12)))
    report = shop.deliver(retry_for=0.1)
    assert (report.failed, report.waiting) == (0, 0)
    statuses = [each["status"] for each in shop.sandbox.requests() if each["path"] == "/api/users/forget"]
    assert (statuses.count(429), statuses.count(200)) == (9, 12)
    with shop.engine.connect() as connection:
        (recorded,) = {each.status for each in reports.recorded(connection)}
    assert recorded == "done"
    assert shop.rows("SELECT name FROM rate_budgets WHERE lowered_at IS NOT NULL") == [("forget",)]
    assert shop.rows("SELECT count(*) FROM outages") == [(0,)]
    assert shop.dead_letters() == []


def test_a_destination_that_is_no_longer_configured_is_on_record(shop: Shop) -> None:
    shop.process(*bob())
    people = [privacy.parse("bob@y.io")]
    privacy.forget(shop.engine, shop.context, people, "op", {})
    with shop.engine.connect() as connection:
        (found,) = reports.recorded(connection)
    assert [(each.destination, each.status) for each in found.destinations] == [("iterable", "unconfigured")]
    assert (found.request.asked_by, found.request.was_known, found.request.profiles) == ("op", True, ())


# --- the key ------------------------------------------------------------------------------------------------------


def test_hashes_differ_by_key_and_another_key_is_refused_everywhere(shop: Shop) -> None:
    suppress(shop, ANN)
    assert shop.rows("SELECT count(*) FROM suppressions") == [(1,)]
    other = replace(shop.context, privacy_key=b"another")
    shop.send(identify(None, ANN))
    with pytest.raises(errors.UsageError, match="ENGAGE_SYNC_PRIVACY_KEY is not the one"):
        ingest.resolve_inbox(shop.engine, {}, privacy_key=b"another")
    with pytest.raises(errors.UsageError, match="ENGAGE_SYNC_PRIVACY_KEY is not the one"):
        privacy.suppress(shop.engine, other, [privacy.parse("b@x.io")], "op")
    assert shop.rows("SELECT count(*) FROM suppressions") == [(1,)]
    undo(shop, ANN)
    privacy.suppress(shop.engine, other, [privacy.parse("b@x.io")], "op")


@pytest.mark.parametrize(("asked", "expected"), [
    ("Ann@X.io ", ("email", "ann@x.io")), ("email: Ann@X.io", ("email", "ann@x.io")), ("user_id:U1", ("user_id", "U1")),
    ("crm:a:b", ("crm", "a:b")), ("use_abc", ("public_id", "use_abc")),
])  # fmt: skip
def test_identifiers_as_people_write_them(asked: str, expected: tuple[str, str]) -> None:
    assert privacy.parse(asked) == expected


@pytest.mark.parametrize("asked", ["", "u1", "email:", "email:nobody", "user_id:null", ":x", "public_id:x"])
def test_what_is_no_identifier(asked: str) -> None:
    with pytest.raises(errors.UsageError):
        privacy.parse(asked)


def test_what_was_forgotten_may_come_in_again_but_not_back(shop: Shop) -> None:
    shop.process(*ann())
    forget(shop, ANN)
    shop.deliver()
    done = undo(shop, "user_id:user-ann-17")
    assert (done.forgotten, done.profiles) == (1, 0)
    shop.send(*ann())
    assert shop.resolve().stored == 5
    shop.compute()
    assert forget(shop, ANN).known == 1
    shop.deliver()
    assert mentions(shop.engine, *ANN_S) == []


def test_undoing_waits_until_forgetting_is_finished(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.process(*ann())
    with monkeypatch.context() as patch:
        patch.setattr(erasing, "erase", lambda engine, requests: list(requests))
        forget(shop, ANN)
    with pytest.raises(errors.UsageError, match="being forgotten just now"):
        undo(shop, ANN)


def test_who_was_suppressed_can_still_be_forgotten_and_is_suppressed_once(shop: Shop) -> None:
    shop.process(*ann())
    suppress(shop, OLD)
    assert forget(shop, ANN).known == 1
    shop.deliver()
    assert mentions(shop.engine, *ANN_S) == []
    assert shop.rows("SELECT DISTINCT request_id FROM suppressions") == [(2,)]
    assert undo(shop, OLD).requests == [2]
    assert shop.rows("SELECT count(*) FROM suppressions") == [(0,)]
